//! A pinned view: which rows exist as of one commit, and where they lie.
//!
//! A view is taken from the catalogue in one read and never changes. Whoever holds one gets
//! the same answers for an hour, whatever is committed or compacted meanwhile.

use std::collections::BTreeMap;

use castback_catalogue::Catalogue;
use castback_catalogue::segments::View;
use castback_schemas::table::Table;
use castback_schemas::{Day, Revision, Slot};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::object::{PartBody, SliceBody};

/// Rows at rest: a segment, or a unit's part of a commit object not yet compacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The table's stored name.
    pub table: String,
    /// The slot.
    pub slot: u16,
    /// The object.
    pub key: String,
    /// What of it.
    pub place: Place,
    /// Lowest revision of its rows.
    pub min_revision: i64,
    /// Highest revision of its rows.
    pub max_revision: i64,
}

/// What of an object a piece is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// All of it, a Parquet file with the rows of one day.
    Segment {
        /// The day.
        day: i32,
        /// Rows.
        rows: u64,
        /// Bytes.
        bytes: u64,
        /// CRC-32 of the bytes.
        crc: u32,
        /// Where the filters and the footer begin, and the CRC-32 of the rest from there: what is
        /// believed without reading the whole. None for a segment without filters.
        #[serde(default)]
        tail: Option<(u64, u32)>,
        /// The values in `source`; none where they are not known.
        #[serde(default)]
        sources: Option<Vec<String>>,
    },
    /// A part of a commit object; its revision is the piece's.
    Part(PartBody),
}

/// What the catalogue keeps about a segment besides its own columns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SegmentBody {
    /// CRC-32 of the bytes.
    pub(crate) crc: u32,
    /// Where the filters and the footer begin, and the CRC-32 of what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail: Option<(u64, u32)>,
    /// The values in `source`, which no verdict changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sources: Option<Vec<String>>,
    /// When its first and its last row were recorded, if retention applies to its table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recorded: Option<(i64, i64)>,
}

impl Piece {
    /// The first and last day of its rows.
    #[must_use]
    pub fn days(&self) -> (Day, Day) {
        match &self.place {
            Place::Segment { day, .. } => (Day(*day), Day(*day)),
            Place::Part(part) => (Day(part.first_day), Day(part.last_day)),
        }
    }

    /// Whether rows of this `source` may be among its own.
    #[must_use]
    pub(crate) fn may_come_by(&self, source: &str) -> bool {
        match &self.place {
            Place::Segment { sources: Some(sources), .. } => sources.iter().any(|other| other == source),
            _ => true,
        }
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match &self.place {
            Place::Segment { rows, .. } => *rows,
            Place::Part(part) => part.rows,
        }
    }
}

/// What exists as of one commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PinnedView {
    revision: i64,
    /// By table and slot: segments first, then parts in the order of their commits.
    pieces: BTreeMap<String, BTreeMap<u16, Vec<Piece>>>,
}

impl PinnedView {
    /// The view as of `at`, or of the newest commit.
    ///
    /// # Errors
    /// The catalogue's, or [`StoreError::Description`].
    pub async fn load(catalogue: &Catalogue, at: Option<Revision>) -> Result<Self> {
        Self::new(&catalogue.view(at).await?)
    }

    /// The view that the catalogue describes.
    ///
    /// # Errors
    /// [`StoreError::Description`].
    pub fn new(view: &View) -> Result<Self> {
        let mut pinned = Self { revision: view.revision.0, pieces: BTreeMap::new() };
        for segment in &view.segments {
            let damaged = || StoreError::Description { key: segment.object_key.clone() };
            let body: SegmentBody = serde_json::from_str(&segment.body).map_err(|_| damaged())?;
            pinned.add(Piece {
                table: segment.table.clone(),
                slot: segment.slot.0,
                key: segment.object_key.clone(),
                place: Place::Segment {
                    day: segment.day.0,
                    rows: segment.rows,
                    bytes: segment.bytes,
                    crc: body.crc,
                    tail: body.tail,
                    sources: body.sources,
                },
                min_revision: segment.min_revision.0,
                max_revision: segment.max_revision.0,
            });
        }
        for slice in &view.slices {
            let body = SliceBody::from_json(&slice.body, &slice.object_key)?;
            for part in body.parts {
                pinned.add(Piece {
                    table: part.table.clone(),
                    slot: slice.unit.slot.0,
                    key: slice.object_key.clone(),
                    place: Place::Part(part),
                    min_revision: slice.revision.0,
                    max_revision: slice.revision.0,
                });
            }
        }
        pinned.sort();
        Ok(pinned)
    }

    fn add(&mut self, piece: Piece) {
        if piece.min_revision <= self.revision {
            self.pieces.entry(piece.table.clone()).or_default().entry(piece.slot).or_default().push(piece);
        }
    }

    fn sort(&mut self) {
        for pieces in self.pieces.values_mut().flat_map(BTreeMap::values_mut) {
            pieces.sort_by_key(|piece| (matches!(piece.place, Place::Part(_)), piece.min_revision, piece.days().0));
        }
    }

    /// The commit it is as of.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The pieces of a table in a slot: segments, then parts, each oldest first.
    #[must_use]
    pub fn pieces(&self, table: Table, slot: Slot) -> &[Piece] {
        self.pieces.get(table.name()).and_then(|slots| slots.get(&slot.0)).map_or(&[], Vec::as_slice)
    }

    /// The same view of one slot only: all that an account may need.
    #[must_use]
    pub fn of_slot(&self, slot: Slot) -> Self {
        let only = |slots: &BTreeMap<u16, Vec<Piece>>| {
            slots.get(&slot.0).map(|pieces| BTreeMap::from([(slot.0, pieces.clone())])).unwrap_or_default()
        };
        let pieces = self.pieces.iter().map(|(table, slots)| (table.clone(), only(slots))).collect();
        Self { revision: self.revision, pieces }
    }

    /// The same view of the pieces that hold rows newer than a commit; they may hold older ones,
    /// too. For who reads every version: which one is current can't be told from it.
    #[must_use]
    pub fn newer_than(&self, after: Revision) -> Self {
        let newer = |slots: &BTreeMap<u16, Vec<Piece>>| {
            let of_slot = |(slot, pieces): (&u16, &Vec<Piece>)| {
                let newer: Vec<Piece> = pieces.iter().filter(|p| p.max_revision > after.0).cloned().collect();
                (!newer.is_empty()).then_some((*slot, newer))
            };
            slots.iter().filter_map(of_slot).collect()
        };
        let pieces = self.pieces.iter().map(|(table, slots)| (table.clone(), newer(slots))).collect();
        Self { revision: self.revision, pieces }
    }

    /// An empty view, of nothing committed yet.
    #[must_use]
    pub fn empty() -> Self {
        Self { revision: 0, pieces: BTreeMap::new() }
    }
}
