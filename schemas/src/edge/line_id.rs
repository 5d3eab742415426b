//! The identity of a log line: the same line of the same log is the same record, however often it is posted.

use std::collections::HashMap;

use crate::edge::hash::HashKey;
use crate::edge::signature::hmac_sha256;
use crate::id::PodcastId;

/// The event id of a log line: HMAC-SHA256 under the account's key over podcast, number and
/// line, its first 16 bytes in hexadecimal.
///
/// `nth_identical_in_second` is the number of identical lines before it in the same second
/// ([`LineNumbers`]). The line end is no part of the line.
#[must_use]
pub fn line_id(account_key: &HashKey, podcast: PodcastId, line: &str, nth_identical_in_second: u32) -> String {
    // Podcast and number have fixed lengths, so no two inputs are the same bytes.
    let (podcast, number) = (podcast.uuid(), nth_identical_in_second.to_be_bytes());
    let parts = [podcast.as_bytes().as_slice(), &number, without_line_end(line).as_bytes()];
    let tag = hmac_sha256(account_key.as_bytes(), &parts);
    hex::encode(&tag[..16])
}

/// Numbers the identical lines of one posted body.
///
/// A line carries its time, so identical lines are of the same second. One entry of 20
/// bytes is kept per different line, which the limit on the body bounds.
#[derive(Debug, Default)]
pub struct LineNumbers {
    seen: HashMap<[u8; 16], u32>,
}

impl LineNumbers {
    /// How many lines like `line` came before it in this body.
    pub fn number(&mut self, line: &str) -> u32 {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(without_line_end(line).as_bytes()).as_bytes()[..16]);
        let count = self.seen.entry(digest).or_default();
        let before = *count;
        *count = count.saturating_add(1);
        before
    }
}

fn without_line_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LINE: &str = "192.0.2.7 - - [24/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 1 \"-\" \"-\"";

    fn podcast(n: u128) -> PodcastId {
        PodcastId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn a_line_posted_again_has_its_id_again() {
        let key = HashKey::from_bytes([7; 32]);
        let id = line_id(&key, podcast(1), LINE, 0);
        assert_eq!(id.len(), 32);
        assert_eq!(id, line_id(&key, podcast(1), &format!("{LINE}\r\n"), 0));
        for other in [
            line_id(&HashKey::from_bytes([8; 32]), podcast(1), LINE, 0),
            line_id(&key, podcast(2), LINE, 0),
            line_id(&key, podcast(1), LINE, 1),
            line_id(&key, podcast(1), &LINE.replace("/a", "/b"), 0),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn the_id_is_hmac_sha256() {
        // By openssl, over 20 zero bytes and "x", under 32 bytes of 07.
        let id = line_id(&HashKey::from_bytes([7; 32]), podcast(0), "x", 0);
        assert_eq!(id, "e0e3aabb04ebfb32a7e3182bff57470e");
    }

    #[test]
    fn identical_lines_are_numbered_even_when_others_stand_between() {
        let mut numbers = LineNumbers::default();
        let other = LINE.replace("/a", "/b");
        let lines = [LINE, &other, LINE, &other, LINE];
        assert_eq!(lines.map(|line| numbers.number(line)), [0, 0, 1, 1, 2]);
    }
}
