//! How much room the disk has left.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// Below this much free space nothing is appended: 64 MiB. The store writes its journal ahead in
/// pieces of that size, and a failed write costs a reopening; a refusal costs nothing.
pub(super) const RESERVE: u64 = 64 << 20;

/// Says how much room is left. A trait so that tests can fill a disk without filling one.
pub(super) trait Space: Send + Sync + Debug {
    /// Bytes that an unprivileged process may still write beneath `dir`.
    fn free(&self, dir: &Path) -> io::Result<u64>;
}

/// The file system that holds the directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileSystem;

impl Space for FileSystem {
    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stats = rustix::fs::statvfs(dir)?;
        Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_directory_has_room_and_a_missing_one_is_an_error() {
        assert!(FileSystem.free(Path::new("/")).unwrap() > 0);
        assert!(FileSystem.free(Path::new("/no/such/directory")).is_err());
    }
}
