//! What can go wrong when rows are kept or read.

use std::io;
use std::sync::Arc;

use arrow::error::ArrowError;
use castback_catalogue::CatalogueError;
use parquet::errors::ParquetError;

/// The outcome of an operation of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why rows could not be kept or read. A failed read never yields wrong rows instead.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// `OBJECT_STORE_URL` is neither `file://…` nor `s3://bucket/prefix`.
    #[error("not an object store address: {0}")]
    Address(String),
    /// The object store can't be opened with these settings.
    #[error("the object store can't be opened")]
    Open(#[source] Arc<object_store::Error>),
    /// The directory of objects can't be made.
    #[error("the directory of objects can't be made")]
    Directory(#[source] Arc<io::Error>),
    /// No space is left; nothing was kept.
    #[error("no space is left for {key}")]
    Full {
        /// The object that was to be written.
        key: String,
    },
    /// An object of that name is there already. With fresh names: take another one and go on.
    #[error("{key} is there already")]
    Exists {
        /// The object that was to be written.
        key: String,
    },
    /// The object was not written to disk, or perhaps it was: it is not referenced, so either is sound.
    #[error("{key} can't be written")]
    Write {
        /// The object that was to be written.
        key: String,
        /// The disk's answer.
        #[source]
        source: Arc<io::Error>,
    },
    /// The object store did not take the object.
    #[error("{key} can't be put")]
    Put {
        /// The object that was to be put.
        key: String,
        /// The store's answer.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// The object store did not give the object.
    #[error("{key} can't be read")]
    Get {
        /// The object asked for.
        key: String,
        /// The store's answer.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// An object that the catalogue names is not there: rows are missing, so nothing is answered.
    #[error("{key} is missing from the object store")]
    Missing {
        /// The object asked for.
        key: String,
    },
    /// The bytes are not those that were written: the object is quarantined, nothing is answered from it.
    #[error("{key} is damaged: {detail}")]
    Corrupt {
        /// The damaged object.
        key: String,
        /// What does not fit.
        detail: String,
    },
    /// The object can't be removed; it is tried again at the next sweep.
    #[error("{key} can't be removed")]
    Remove {
        /// The object.
        key: String,
        /// The store's answer.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// The objects can't be listed.
    #[error("the objects can't be listed")]
    List(#[source] Arc<object_store::Error>),
    /// Rows that do not have the columns of their table.
    #[error("rows do not fit the table {table}: {detail}")]
    Misfit {
        /// The table's name.
        table: &'static str,
        /// What does not fit.
        detail: String,
    },
    /// Arrow could not arrange the rows.
    #[error("rows can't be arranged")]
    Arrange(#[source] Arc<ArrowError>),
    /// Rows can't be written as Arrow IPC.
    #[error("rows can't be encoded")]
    Encode(#[source] Arc<ArrowError>),
    /// A worker's request can't be written down; a defect.
    #[error("a request can't be encoded")]
    Request(#[source] Arc<serde_json::Error>),
    /// Rows can't be compressed.
    #[error("rows can't be compressed")]
    Compress(#[source] Arc<io::Error>),
    /// Rows can't be written as Parquet.
    #[error("rows can't be written as Parquet")]
    Parquet(#[source] Arc<ParquetError>),
    /// What the catalogue holds about an object can't be read.
    #[error("the catalogue's description of {key} can't be read")]
    Description {
        /// The object described.
        key: String,
    },
    /// The catalogue did not do its part.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A task that decodes did not finish: it was cancelled, or a defect.
    #[error("reading was broken off")]
    BrokenOff,
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Put { .. } | Self::Get { .. } | Self::Remove { .. } | Self::List(_) | Self::BrokenOff => true,
            Self::Catalogue(error) => error.retryable(),
            _ => false,
        }
    }
}

impl From<ArrowError> for StoreError {
    fn from(error: ArrowError) -> Self {
        Self::Arrange(Arc::new(error))
    }
}
