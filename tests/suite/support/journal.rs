//! The load client's own file: `sent` before a record leaves, `acked` after its 2xx, each on the disk before going on.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::server::write_durably;

/// The journal being written.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

/// What the journal says, read back from the file.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) sent: BTreeSet<String>,
    pub(crate) acked: BTreeSet<String>,
    /// Sent, then sent again because no answer came: there 0 or 1 times before the second try.
    pub(crate) indeterminate: usize,
}

impl Journal {
    pub(crate) fn create(path: &Path) -> Self {
        let file = OpenOptions::new().create_new(true).append(true).open(path).expect("a new journal");
        Self { path: path.to_owned(), file }
    }

    pub(crate) fn sent<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        self.write("sent", ids);
    }

    pub(crate) fn acked<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        self.write("acked", ids);
    }

    fn write<'a>(&mut self, word: &str, ids: impl Iterator<Item = &'a str>) {
        let lines = ids.fold(String::new(), |lines, id| lines + word + " " + id + "\n");
        write_durably(&mut self.file, lines.as_bytes());
    }

    pub(crate) fn read_back(&self) -> Entries {
        let text = std::fs::read_to_string(&self.path).expect("the journal");
        let mut entries = Entries::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("sent", id)) => {
                    let again = !entries.sent.insert(id.to_owned());
                    entries.indeterminate += usize::from(again && !entries.acked.contains(id));
                }
                Some(("acked", id)) => {
                    entries.acked.insert(id.to_owned());
                }
                _ => panic!("not a line of the journal: {line}"),
            }
        }
        entries
    }
}
