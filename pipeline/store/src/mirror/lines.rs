//! Points as line protocol, in batches: hour by hour, so that a correction of the past touches
//! each place of the server once.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use castback_schemas::time::HOUR;
use influxdb_line_protocol::LineProtocolBuilder;

use super::points::Point;
use super::seconds;

/// Points of a request at most; what the makers of InfluxDB call optimal.
const POINTS: usize = 5_000;

/// Bytes of a request at most, before compression. InfluxDB takes 50 MB; proxies often less.
const BYTES: usize = 2 * 1024 * 1024;

/// Lines of one request.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    text: Bytes,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Some of its lines.
    pub(super) fn lines(&self, range: Range<usize>) -> Bytes {
        let end = |lines: usize| lines.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        self.text.slice(end(range.start)..end(range.end))
    }
}

/// Points in batches, oldest hour first. An hour is cut only if it is larger than a batch.
#[must_use]
pub fn batches(mut points: Vec<Point>) -> Vec<Batch> {
    points.sort_by(|a, b| {
        (a.time.floor(HOUR), a.series, &a.tags, a.time).cmp(&(b.time.floor(HOUR), b.series, &b.tags, b.time))
    });
    let mut batches = Vec::new();
    let mut building = Building::default();
    for hour in points.chunk_by(|a, b| a.time.floor(HOUR) == b.time.floor(HOUR)) {
        let lines: Vec<Vec<u8>> = hour.iter().map(line).collect();
        if !building.has_room(&lines) {
            batches.extend(building.finish());
        }
        for line in &lines {
            if !building.has_room(std::slice::from_ref(line)) {
                batches.extend(building.finish());
            }
            building.push(line);
        }
    }
    batches.extend(building.finish());
    batches
}

#[derive(Debug, Default)]
struct Building {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Building {
    fn has_room(&self, lines: &[Vec<u8>]) -> bool {
        let bytes: usize = lines.iter().map(Vec::len).sum();
        self.ends.is_empty() || (self.ends.len() + lines.len() <= POINTS && self.text.len() + bytes <= BYTES)
    }

    fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.ends.push(self.text.len());
    }

    fn finish(&mut self) -> Option<Batch> {
        let Self { text, ends } = std::mem::take(self);
        (!ends.is_empty()).then(|| Batch { text: text.into(), ends })
    }
}

/// A point as a line: all fields, whole numbers, seconds.
fn line(point: &Point) -> Vec<u8> {
    let spec = point.series.spec();
    let mut line = LineProtocolBuilder::new().measurement(spec.name);
    for (name, value) in spec.tags.iter().zip(&point.tags).filter(|(_, value)| !value.is_empty()) {
        line = line.tag(name, &tag_value(value));
    }
    let mut fields = spec.fields.iter().zip(&point.fields);
    let Some((name, value)) = fields.next() else { return Vec::new() };
    let line = line.field(name, *value);
    let line = fields.fold(line, |line, (name, value)| line.field(name, *value));
    line.timestamp(seconds(point.time)).close_line().build()
}

/// What the protocol can't say is said with underscores: a line's end, and a backslash before the comma.
fn tag_value(text: &str) -> Cow<'_, str> {
    let odd = |c: char| c.is_control() || c == '\\';
    if text.contains(odd) { Cow::Owned(text.replace(odd, "_")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use castback_schemas::time::{HOUR, MINUTE};
    use castback_schemas::{Micros, Series};

    use super::*;

    fn point(time: i64, accepted: i64) -> Point {
        let tags = vec!["a".to_owned(), "conversions".to_owned()];
        Point { series: Series::Tallies, tags, time: Micros(time), fields: vec![accepted] }
    }

    fn text(batch: &Batch) -> String {
        String::from_utf8(batch.lines(0..batch.len()).to_vec()).unwrap()
    }

    #[test]
    fn a_point_is_a_line_with_every_field_as_a_whole_number() {
        let batches = batches(vec![point(7_200_000_000, -3)]);
        assert_eq!(batches.len(), 1);
        assert_eq!(text(&batches[0]), "tallies,account_id=a,topic=conversions accepted=-3i 7200\n");
    }

    #[test]
    fn values_can_not_break_out_of_their_line() {
        let mut odd = point(0, 1);
        odd.tags = vec!["a b,c=d\n".to_owned(), "e\\".to_owned()];
        assert_eq!(text(&batches(vec![odd])[0]), "tallies,account_id=a\\ b\\,c\\=d_,topic=e_ accepted=1i 0\n");
        let mut empty = point(0, 1);
        empty.tags[1].clear();
        assert_eq!(text(&batches(vec![empty])[0]), "tallies,account_id=a accepted=1i 0\n");
    }

    #[test]
    fn batches_hold_whole_hours_in_order() {
        let minutes = |hour: i64| (0..60).map(move |minute| point(hour * HOUR + minute * MINUTE, minute));
        let points: Vec<Point> = (0..200).rev().flat_map(minutes).collect();
        let batches = batches(points);
        assert_eq!(batches.iter().map(Batch::len).sum::<usize>(), 12_000);
        for batch in &batches {
            assert!(batch.len() <= POINTS && batch.len() % 60 == 0, "{} points", batch.len());
        }
        let firsts: Vec<i64> = batches.iter().map(first_time).collect();
        assert!(firsts.is_sorted(), "{firsts:?}");
    }

    fn first_time(batch: &Batch) -> i64 {
        text(batch).lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn an_hour_larger_than_a_batch_is_cut() {
        let points = (0..7_000).map(|number| {
            let mut point = point(0, number);
            point.tags[0] = format!("account-{number}");
            point
        });
        let batches = batches(points.collect());
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [POINTS, 2_000]);
        let half = batches[1].lines(1_000..2_000);
        assert_eq!(std::str::from_utf8(&half).unwrap().lines().count(), 1_000);
    }
}
