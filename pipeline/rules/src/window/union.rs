//! What a download has of its file: the union of its requests' bytes.

use super::need::Need;
use super::touch::Touch;
use crate::ranges::{ByteSet, Bytes, REACH};

/// The union of several requests of one listener for one episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Union {
    /// Bytes of known place.
    pub placed: ByteSet,
    /// Bytes of unknown place, summed (ours).
    pub unplaced: u64,
    /// The easiest threshold among the requests that brought bytes: they are of one file, so whoever
    /// knows its size best speaks for all, and the order of requests of one instant is of no account.
    pub need: Need,
    /// The file's size, for the same reason the smallest that such a request knows; [`REACH`] if none does.
    pub file: u64,
}

impl Default for Union {
    fn default() -> Self {
        Self { placed: ByteSet::default(), unplaced: 0, need: Need::NEVER, file: REACH }
    }
}

impl Union {
    /// Adds a request; one of 0 bytes adds nothing, not even its threshold or its word on the size.
    pub fn add(&mut self, touch: &Touch) {
        match touch.bytes {
            _ if touch.bytes.is_empty() => return,
            Bytes::Range { start, end } => self.placed.insert(start, end),
            Bytes::Unplaced(bytes) => self.unplaced = self.unplaced.saturating_add(bytes),
        }
        self.need = self.need.min(touch.need);
        self.file = self.file.min(touch.file);
    }

    /// Bytes in it. (Those of unknown place may be the same ones twice: a caller caps them at the file.)
    #[must_use]
    pub fn len(&self) -> u64 {
        self.placed.len().saturating_add(self.unplaced)
    }

    /// Whether not one byte is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.placed.is_empty() && self.unplaced == 0
    }

    /// Whether the bytes complete a download. (A threshold is at most the file: no cap is needed.)
    #[must_use]
    pub fn is_download(&self) -> bool {
        self.need.met_by(self.len())
    }

    /// Whether all of the file is in it: as many bytes as its size, or, of unknown size, a 200.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        if self.file < REACH { self.len() >= self.file } else { self.need == Need::WHOLE && !self.is_empty() }
    }
}
