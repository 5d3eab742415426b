//! Listener requests with believable proportions, made anew from their number: a listener loads an episode in eight
//! pieces and two of the ten records are sent again. Each ten are one download, whichever window counts.

use std::fmt::Write as _;

use castback_schemas::Micros;
use castback_schemas::time::{Clock, DAY, HOUR, SECOND, SystemClock};

use super::meter::Outcome;

/// Records of a listener and an episode.
pub(crate) const GROUP: u64 = 10;

/// The podcast's episodes.
const EPISODES: u64 = 50;
/// Bytes of an episode; it lasts ten minutes, so its first piece is a download.
const LENGTH: u64 = 4_800_000;
/// Bytes of a piece.
const PIECE: u64 = LENGTH / PIECES;
/// Pieces of an episode; the rest of the ten records are sent again.
pub(crate) const PIECES: u64 = 8;

/// The first of `days` days of which yesterday is the last: nothing is played that has not happened yet.
pub(crate) fn first_day(days: i32) -> Micros {
    SystemClock.now().day().start().plus(-i64::from(days) * DAY)
}

/// The feed.
pub(crate) fn feed() -> Outcome<String> {
    let mut items = String::new();
    for episode in 0..EPISODES {
        write!(
            items,
            "<item><title>Episode {episode}</title><guid isPermaLink=\"false\">guid-{episode}</guid>\
             <pubDate>Tue, 01 Jan 2013 06:00:00 GMT</pubDate><itunes:duration>600</itunes:duration>\
             <enclosure url=\"https://media.example/episodes/{episode}.mp3\" length=\"{LENGTH}\" type=\"audio/mpeg\"/>\
             </item>"
        )?;
    }
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <rss version=\"2.0\" xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\"><channel>\
         <title>A bench</title><link>https://media.example/</link><description>Fifty episodes</description>\
         {items}</channel></rss>"
    ))
}

/// A stretch of a podcast's requests.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    pub(crate) podcast: String,
    /// The first listener's number; others are taken up where this ends.
    pub(crate) first: u64,
    /// Listeners (each with one episode), a multiple of `width`.
    pub(crate) groups: u64,
    /// How many of them load at the same time.
    pub(crate) width: u64,
    /// The day of the first and how many days there are.
    pub(crate) days: (Micros, i32),
}

impl Traffic {
    /// How many records there are.
    pub(crate) fn records(&self) -> u64 {
        self.groups * GROUP
    }

    /// The records `from` to `to` as NDJSON, and how many they are.
    pub(crate) fn lines(&self, (from, to): (u64, u64)) -> Outcome<(String, u64)> {
        let to = to.min(self.records());
        let mut lines = String::with_capacity(usize::try_from((to - from) * 360)?);
        for number in from..to {
            self.line(&mut lines, number)?;
        }
        Ok((lines, to - from))
    }

    fn line(&self, lines: &mut String, number: u64) -> Outcome<()> {
        let Self { podcast, first, groups, width, days: (start, days) } = self;
        let (block, within) = (number / (width * GROUP), number % (width * GROUP));
        let (part, group) = (within / width, block * width + within % width);
        let listener = first + group;
        let piece = part % PIECES;
        // Pieces follow within seconds, and far from midnight.
        let day = i64::try_from(group * u64::try_from(*days)? / groups)?;
        let second = i64::try_from(mixed(listener) % 80_000 + piece)?;
        let at = start.plus(day * DAY + HOUR + second * SECOND);
        let (from, to) = (piece * PIECE, piece * PIECE + PIECE - 1);
        writeln!(
            lines,
            "{{\"id\":\"{}\",\"podcast_id\":\"{podcast}\",\
             \"enclosure_url\":\"https://media.example/episodes/{}.mp3\",\"occurred_at\":\"{at}\",\"method\":\"GET\",\
             \"status\":206,\"range\":\"bytes={from}-{to}\",\"bytes_sent\":{PIECE},\
             \"user_agent\":\"AppleCoreMedia/1.0.0.19A{} (iPhone; U; CPU OS 15_0 like Mac OS X; en_us)\",\
             \"ip\":\"{}\"}}",
            event_id(listener, piece),
            listener % EPISODES,
            300 + mixed(listener + 1) % 200,
            address(listener),
        )?;
        Ok(())
    }
}

/// The id of a listener's request.
pub(crate) fn event_id(listener: u64, piece: u64) -> String {
    let number = listener * PIECES + piece;
    format!("{:016x}{:016x}", mixed(number), mixed(!number))
}

/// The address of a listener: five share a household and hear different episodes.
pub(crate) fn address(listener: u64) -> String {
    let household = listener / 5;
    format!("2001:db8:{:x}:{:x}::{:x}", household >> 16 & 0xffff, household & 0xffff, listener % 5 + 1)
}

/// splitmix64.
fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
