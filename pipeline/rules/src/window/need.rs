//! The threshold: how many bytes make a download.

use crate::ranges::REACH;

/// Seconds of content that a download needs [IAB v2.3].
pub const CONTENT_SECONDS: u32 = 60;

/// The bytes that make a download. Ordered: less is easier to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need(u64);

impl Need {
    /// A 200 of a file of unknown size: it is the whole file, complete by itself with its first byte.
    pub const WHOLE: Self = Self(0);
    /// A 206 of a file of unknown size: nothing says when it is enough.
    pub const NEVER: Self = Self(REACH);

    /// So many bytes, at least 1.
    #[must_use]
    pub fn bytes(bytes: u64) -> Self {
        Self(bytes.clamp(1, REACH - 1))
    }

    /// Whether `bytes` bytes of the file are enough.
    #[must_use]
    pub fn met_by(self, bytes: u64) -> bool {
        self != Self::NEVER && bytes >= self.0.max(1)
    }

    /// A number that stands for it where it is kept.
    #[must_use]
    pub fn code(self) -> u64 {
        self.0
    }

    /// What [`Self::code`] stands for.
    #[must_use]
    pub fn from_code(code: u64) -> Self {
        Self(code.min(REACH))
    }
}

/// What the feed says of an episode's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EpisodeFacts {
    /// The enclosure's length in bytes; 0 is as good as absent.
    pub length: Option<u64>,
    /// The duration in seconds.
    pub duration_s: Option<u32>,
    /// Bytes of header and ID3 tags before the sound; 0 unless known.
    pub header_bytes: u64,
}

impl EpisodeFacts {
    /// The file's size: the record's `file_bytes`, else the feed's length, if above 0.
    #[must_use]
    pub fn file_size(&self, file_bytes: Option<u64>) -> Option<u64> {
        file_bytes.filter(|bytes| *bytes > 0).or(self.length.filter(|bytes| *bytes > 0))
    }

    /// Bytes of `seconds` of content, rounded up: `enclosure length ÷ duration × seconds`.
    /// `None` without a length above 0 or a duration above 0.
    #[must_use]
    pub fn bytes_of_seconds(&self, seconds: u32) -> Option<u64> {
        let length = self.length.filter(|bytes| *bytes > 0)?;
        let duration = self.duration_s.filter(|duration| *duration > 0)?;
        let bytes = (u128::from(length) * u128::from(seconds)).div_ceil(u128::from(duration));
        Some(u64::try_from(bytes).unwrap_or(REACH).min(REACH))
    }
}

/// The threshold of a request with HTTP `status`, for a file of which its record says `file_bytes`.
///
/// Header and ID3 bytes + 60 s of content (`enclosure length ÷ duration × 60`, rounded up), never more
/// than the file; shorter than 60 s or not computable: 100 % of the file. A 200 needs it too (ours,
/// stricter). Of unknown size, a 200 is the whole file and a 206 never enough.
#[must_use]
pub fn need_of(episode: &EpisodeFacts, file_bytes: Option<u64>, status: u16) -> Need {
    let Some(file) = episode.file_size(file_bytes) else {
        return if status == 200 { Need::WHOLE } else { Need::NEVER };
    };
    let long_enough = episode.duration_s.is_some_and(|seconds| seconds >= CONTENT_SECONDS);
    match episode.bytes_of_seconds(CONTENT_SECONDS).filter(|_| long_enough) {
        Some(minute) => Need::bytes(minute.saturating_add(episode.header_bytes).min(file)),
        None => Need::bytes(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(length: u64, duration_s: u32, header_bytes: u64, file_bytes: Option<u64>) -> Need {
        let facts = EpisodeFacts {
            length: Some(length).filter(|n| *n > 0),
            duration_s: Some(duration_s).filter(|n| *n > 0),
            header_bytes,
        };
        need_of(&facts, file_bytes, 206)
    }

    #[test]
    fn a_minute_of_content_is_needed() {
        assert_eq!(need(28_800_000, 1800, 0, None), Need::bytes(960_000));
        assert_eq!(need(28_800_000, 1800, 5_000, None), Need::bytes(965_000), "after the header");
        assert_eq!(need(1_000_000, 61, 0, None), Need::bytes(983_607), "rounded up");
        assert_eq!(need(1_000_000, 60, 0, None), Need::bytes(1_000_000));
        assert_eq!(need(1_000_000, 61, 100_000, None), Need::bytes(1_000_000), "never more than the file");
        assert_eq!(need(1_000_000, 3600, 0, Some(9_000)), Need::bytes(9_000), "nor than the file really served");
    }

    #[test]
    fn without_a_minute_the_whole_file_is_needed() {
        assert_eq!(need(1_000_000, 59, 0, None), Need::bytes(1_000_000));
        assert_eq!(need(1_000_000, 0, 0, None), Need::bytes(1_000_000));
        assert_eq!(need(0, 1800, 0, Some(700)), Need::bytes(700));
        assert_eq!(need(1_000_000, 0, 0, Some(700)), Need::bytes(700), "file_bytes goes before the feed");
    }

    #[test]
    fn of_unknown_size_only_a_200_is_enough() {
        let zero = EpisodeFacts { length: Some(0), duration_s: Some(1800), header_bytes: 0 };
        assert_eq!(need_of(&zero, None, 200), Need::WHOLE);
        assert_eq!(need_of(&zero, None, 206), Need::NEVER);
        assert!(Need::WHOLE.met_by(1) && !Need::WHOLE.met_by(0));
        assert!(!Need::NEVER.met_by(u64::MAX));
        assert!(Need::bytes(10).met_by(10) && !Need::bytes(10).met_by(9));
    }
}
