//! The data directory: one process has it, and what lies in it besides log, catalogue and objects.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use castback_schemas::edge::HashKey;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use crate::random;

/// How long a start waits for the lock of a process that may be ending.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// It can't be made, or is not ours.
    #[error("the data directory {} can't be used", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// Another process has it.
    #[error("another castback process uses the data directory {}: stop it first, or give this one its own with --data", .0.display())]
    InUse(PathBuf),
    /// A file in it can't be read.
    #[error("{} can't be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file in it can't be written.
    #[error("{} can't be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The secret is not what this program writes.
    #[error("{} holds no secret: expected 64 hexadecimal digits", .0.display())]
    Secret(PathBuf),
}

type Result<T> = std::result::Result<T, DataDirError>;

/// A data directory that this process has for itself, as long as the value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, readable for its owner only, and takes it.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let unusable = |error| DataDirError::Directory(path.to_owned(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let path = fs::canonicalize(path).map_err(unusable)?;
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = open.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path)),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// [`DataDir::take`] that gives a process that was killed just now the time to end: its lock goes with the last of
    /// its threads.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] after [`PATIENCE`], and whatever else stands in the way at once.
    pub(crate) async fn take_when_free(path: &Path) -> Result<Self> {
        let end = Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            match Self::take(path) {
                Err(DataDirError::InUse(path)) if Instant::now() < end => {
                    if !told {
                        tracing::info!(data.path = %path.display(), "another process has the data directory: waiting for its end");
                        told = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                taken => return taken,
            }
        }
    }

    /// Where the embedded log lies.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The address of the SQLite catalogue.
    pub(crate) fn database_url(&self) -> String {
        let file = Url::from_file_path(self.path.join("castback.db"));
        // An absolute path always has an address.
        file.map(|url| format!("sqlite://{}", url.path())).unwrap_or_default()
    }

    /// Whether the SQLite catalogue was made.
    pub(crate) fn has_catalogue(&self) -> bool {
        self.path.join("castback.db").exists()
    }

    /// The address of the folder of objects.
    pub(crate) fn object_store_url(&self) -> String {
        Url::from_directory_path(self.path.join("objects")).map(|url| url.to_string()).unwrap_or_default()
    }

    /// The installation's secret: from `file` if one is named, else the directory's own, made from `fresh` at the
    /// first start.
    pub(crate) fn secret(&self, file: Option<&Path>, fresh: [u8; 32]) -> Result<HashKey> {
        let path = file.map_or_else(|| self.path.join("secret-key"), Path::to_owned);
        if file.is_none() && !path.exists() {
            write_private(&path, &random::digits(&fresh))?;
        }
        let text = fs::read_to_string(&path).map_err(|error| DataDirError::Read(path.clone(), error))?;
        let bytes = bytes_of(text.trim()).ok_or(DataDirError::Secret(path))?;
        Ok(HashKey::from_bytes(bytes))
    }

    /// The operator's key of an earlier start.
    pub(crate) fn operator_key(&self) -> Result<Option<SecretString>> {
        operator_key(&self.path)
    }

    /// Keeps the operator's key for the clients on this machine.
    pub(crate) fn keep_operator_key(&self, key: &SecretString) -> Result<()> {
        write_private(&self.path.join("operator-key"), key.expose_secret())
    }

    /// Says where the server listens.
    pub(crate) fn keep_address(&self, address: SocketAddr) -> Result<()> {
        write_private(&self.path.join("address"), &format!("http://{address}"))
    }

    /// Forgets where the server listened: it has stopped.
    pub(crate) fn forget_address(&self) -> Result<()> {
        let path = self.path.join("address");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DataDirError::Write(path, error)),
            _ => Ok(()),
        }
    }
}

/// Where a server of this machine listens, if one runs in `data`.
pub(crate) fn address(data: &Path) -> Result<Option<String>> {
    read(&data.join("address"))
}

/// The operator's key in `data`.
pub(crate) fn operator_key(data: &Path) -> Result<Option<SecretString>> {
    Ok(read(&data.join("operator-key"))?.map(SecretString::from))
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataDirError::Read(path.to_owned(), error)),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| DataDirError::Write(path.to_owned(), error))
}

fn bytes_of(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_is_one_process_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/data");
        let first = DataDir::take(&path).unwrap();
        assert!(matches!(DataDir::take(&path), Err(DataDirError::InUse(_))));
        drop(first);
        DataDir::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_process_that_ends_is_waited_for_and_one_that_lives_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let former = DataDir::take(folder.path()).unwrap();
        // Asked after the other, which has found it held then.
        let ends = async { drop(former) };
        let (taken, ()) = tokio::join!(DataDir::take_when_free(folder.path()), ends);
        let living = taken.unwrap();
        assert!(matches!(DataDir::take_when_free(folder.path()).await, Err(DataDirError::InUse(_))));
        drop(living);
    }

    #[test]
    fn the_secret_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::take(folder.path()).unwrap();
        let first = data.secret(None, [7; 32]).unwrap();
        assert!(data.secret(None, [8; 32]).unwrap() == first, "a restart keeps the secret");
        assert_eq!(first.as_bytes(), &[7; 32]);
        let mode = fs::metadata(folder.path().join("secret-key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = folder.path().join("other");
        assert!(matches!(data.secret(Some(&other), [0; 32]), Err(DataDirError::Read(..))), "a named one is not made");
        fs::write(&other, "short").unwrap();
        assert!(matches!(data.secret(Some(&other), [0; 32]), Err(DataDirError::Secret(_))));
    }

    #[test]
    fn address_and_key_are_found_by_clients() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::take(folder.path()).unwrap();
        assert!(address(folder.path()).unwrap().is_none() && data.operator_key().unwrap().is_none());
        data.keep_address("127.0.0.1:8080".parse().unwrap()).unwrap();
        data.keep_operator_key(&SecretString::from("cb_key")).unwrap();
        assert_eq!(address(folder.path()).unwrap().as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(data.operator_key().unwrap().unwrap().expose_secret(), "cb_key");
        data.forget_address().unwrap();
        data.forget_address().unwrap();
        assert!(address(folder.path()).unwrap().is_none());
    }

    #[test]
    fn odd_paths_are_addresses_too() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::take(&folder.path().join("a b%?é")).unwrap();
        assert!(data.database_url().starts_with("sqlite:///") && !data.database_url().contains([' ', '?']));
        assert!(data.object_store_url().ends_with("/objects/"));
    }
}
