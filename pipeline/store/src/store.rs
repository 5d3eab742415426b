//! The store: puts commit objects and segments, and reads pieces back, the newest commit
//! objects from memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use bytes::Bytes;
use castback_schemas::table::Table;
use moka::sync::Cache;
use uuid::Uuid;

use crate::columns::with_commit;
use crate::error::{Result, StoreError};
use crate::kept::Room;
use crate::object::{EncodedObject, PartBody, decode_part, part_range};
use crate::objects::Objects;
use crate::sharing::Sharing;
use crate::sums::Sums;
use crate::view::{Piece, Place};

/// Bytes of commit objects kept in memory. When more come, the oldest go; they are read from
/// the object store again. Twice the uncompacted objects of a busy installation.
const RECENT_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of decoded parts of commit objects kept in memory: a question reads the same ones many times
/// over. Of more, the least used go.
const DECODED_BYTES: u64 = 128 * 1024 * 1024;

/// The store of an installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Objects,
    recent: Arc<Mutex<Recent>>,
    sums: Arc<Sums>,
    sharing: Arc<Sharing>,
    room: Room,
    decoded: Cache<(String, u64), Arc<Vec<RecordBatch>>>,
}

/// The newest commit objects, oldest first.
#[derive(Debug, Default)]
struct Recent {
    objects: VecDeque<(String, Bytes)>,
    bytes: usize,
}

impl Store {
    /// Opens the object store at `OBJECT_STORE_URL`.
    ///
    /// # Errors
    /// Those of [`Objects::open`].
    pub fn open(address: &str) -> Result<Self> {
        Ok(Self::over(Objects::open(address)?))
    }

    /// A store over objects that are open.
    pub(crate) fn over(objects: Objects) -> Self {
        let size = |_: &(String, u64), rows: &Arc<Vec<RecordBatch>>| {
            u32::try_from(rows.iter().map(RecordBatch::get_array_memory_size).sum::<usize>()).unwrap_or(u32::MAX)
        };
        let decoded = Cache::builder().weigher(size).max_capacity(DECODED_BYTES).build();
        Self {
            objects,
            recent: Arc::default(),
            sums: Arc::default(),
            sharing: Arc::default(),
            room: Room::default(),
            decoded,
        }
    }

    /// The objects underneath.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Puts a commit object under a fresh name and returns its key. When this returns the rows
    /// are durable, but nobody sees them before the catalogue refers to them.
    ///
    /// # Errors
    /// [`StoreError::Full`]: nothing is kept, free space and try again. Any other: try again
    /// under another name.
    pub async fn put(&self, name: Uuid, object: &EncodedObject) -> Result<String> {
        let key = format!("commits/{}", name.hyphenated());
        self.objects.put(&key, object.bytes.clone()).await?;
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).keep(&key, &object.bytes);
        Ok(key)
    }

    pub(crate) fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    pub(crate) fn room(&self) -> Room {
        self.room.clone()
    }

    fn recent(&self, key: &str) -> Option<Bytes> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.objects.iter().rev().find(|(held, _)| held == key).map(|(_, bytes)| bytes.clone())
    }

    /// The rows of a part of a commit object, with `commit`.
    pub(crate) async fn part(&self, piece: &Piece, table: Table) -> Result<Vec<RecordBatch>> {
        let Place::Part(part) = &piece.place else { return Ok(Vec::new()) };
        let known = (piece.key.clone(), part.offset);
        if let Some(rows) = self.decoded.get(&known) {
            return Ok(rows.as_ref().clone());
        }
        let bytes = self.part_bytes(&piece.key, part).await?;
        let (key, part, commit) = (piece.key.clone(), part.clone(), piece.max_revision);
        let decoded = tokio::task::spawn_blocking(move || {
            let rows = decode_part(&key, &part, &bytes)?;
            rows.iter().map(|batch| with_commit(batch, commit)).collect::<Result<Vec<_>>>()
        });
        let rows = decoded.await.map_err(|_| StoreError::BrokenOff)?;
        let rows = rows.inspect_err(|error| quarantine(table, &piece.key, error))?;
        self.decoded.insert(known, Arc::new(rows.clone()));
        Ok(rows)
    }

    async fn part_bytes(&self, key: &str, part: &PartBody) -> Result<Bytes> {
        if let (Some(bytes), Some(range)) = (self.recent(key), part_range(part))
            && range.end <= bytes.len()
        {
            return Ok(bytes.slice(range));
        }
        self.objects.get_range(key, part.offset..part.offset + part.length).await
    }
}

/// A damaged object is left where it is and never answered from; operators are told.
pub(crate) fn quarantine(table: Table, key: &str, error: &StoreError) {
    if matches!(error, StoreError::Corrupt { .. } | StoreError::Missing { .. }) {
        tracing::error!(object.key = key, object.table = table.name(), error = %error, "an object can't be trusted");
    }
}

impl Recent {
    fn keep(&mut self, key: &str, bytes: &Bytes) {
        self.bytes += bytes.len();
        self.objects.push_back((key.to_owned(), bytes.clone()));
        while self.bytes > RECENT_BYTES {
            let Some((_, oldest)) = self.objects.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}
