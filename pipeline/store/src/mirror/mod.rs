//! The mirror: every series once more in InfluxDB 2, for Grafana and for who works with it.
//!
//! ```text
//! PinnedView ─points─▶ Point ─lines─▶ batches ─client─▶ /api/v2/write      (after the commit)
//!     └──────points─▶ Sample ─check─▶ what differs ◀─client─ /api/v2/query  (nightly)
//! ```
//! Parquet is the truth. A point is written whole and absolute, so that writing it again changes
//! nothing, and a batch that may or may not have arrived is sent again. Nothing waits in memory:
//! the position of whoever writes is the queue.
//!
//! It must not know: when to write (the relay does), what a figure means.
//! Where to add: a series is a row in `castback_schemas::series::SERIES`, nothing here.

mod address;
mod bucket;
mod check;
mod client;
mod error;
mod hours;
mod lines;
mod points;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use castback_schemas::Micros;
use castback_schemas::time::SECOND;
use secrecy::SecretString;
use url::Url;

pub use self::address::{AddressError, MirrorAddress};
pub use self::bucket::Bucket;
pub use self::check::{Difference, Sample};
pub use self::error::MirrorError;
pub use self::lines::{Batch, batches};
pub use self::points::{Place, Point, changed_places, changed_points, sample};

use self::client::Influx;

/// Where the mirror is and who writes there.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    /// The server.
    pub server: Url,
    /// The bucket.
    pub bucket: String,
    /// The organization; none: the server's only one.
    pub organization: Option<String>,
    /// The token; none: the server asks for none.
    pub token: Option<SecretString>,
}

/// How a batch was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Points that the server has now.
    pub taken: usize,
    /// Points that it will never take, whatever is done.
    pub rejected: usize,
}

/// The mirror of an installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mirror {
    influx: Arc<Influx>,
}

impl Mirror {
    /// A mirror at a server that need not answer yet.
    ///
    /// # Errors
    /// [`MirrorError::Client`]: the client can't be made from these options.
    pub fn new(options: MirrorOptions) -> Result<Self, MirrorError> {
        Ok(Self { influx: Arc::new(Influx::new(options)?) })
    }

    /// Finds the organization and the bucket; makes the bucket, with its retention, if it is not there.
    ///
    /// # Errors
    /// The server's answer, or none. [`MirrorError::Organization`] if several are there and none was named.
    pub async fn prepare(&self) -> Result<Bucket, MirrorError> {
        bucket::prepare(&self.influx).await
    }

    /// The server's name and version, if it says them.
    ///
    /// # Errors
    /// It does not answer, or not as InfluxDB 2 does.
    pub async fn version(&self) -> Result<String, MirrorError> {
        self.influx.version().await
    }

    /// Writes nothing, to learn whether something could be written.
    ///
    /// # Errors
    /// As when something is written; [`MirrorError::Rejected`] is a server's word against empty requests.
    pub async fn probe(&self, bucket: &Bucket) -> Result<(), MirrorError> {
        self.influx.write(bucket, bytes::Bytes::new()).await
    }

    /// Writes a batch. What the server refuses for good is found by halves and left out.
    ///
    /// # Errors
    /// Nothing or a part was written: the same batch may be written again after the error's wait.
    pub async fn write(&self, bucket: &Bucket, batch: &Batch) -> Result<Written, MirrorError> {
        let mut written = Written::default();
        let mut waiting: Vec<_> = std::iter::once(0..batch.len()).collect();
        while let Some(range) = waiting.pop() {
            match self.influx.write(bucket, batch.lines(range.clone())).await {
                Ok(()) => written.taken += range.len(),
                Err(MirrorError::Partly { rejected, detail }) => {
                    let rejected = rejected.min(range.len());
                    tracing::warn!(mirror.rejected = rejected, mirror.detail = detail, "mirror.points_rejected");
                    written.taken += range.len() - rejected;
                    written.rejected += rejected;
                }
                Err(MirrorError::Rejected { detail, .. }) if range.len() == 1 => {
                    tracing::warn!(mirror.rejected = 1, mirror.detail = detail, "mirror.points_rejected");
                    written.rejected += 1;
                }
                Err(MirrorError::Rejected { .. } | MirrorError::TooLarge) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    waiting.extend([middle..range.end, range.start..middle]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// What differs between points of one hour of a series and the mirror.
    ///
    /// # Errors
    /// The server does not answer, or not what was asked.
    pub async fn compare(&self, bucket: &Bucket, sample: &Sample) -> Result<Vec<Difference>, MirrorError> {
        check::compare(&self.influx, bucket, sample).await
    }
}

/// Whole seconds: the precision of what is written, which no series needs finer.
fn seconds(time: Micros) -> i64 {
    time.0.div_euclid(SECOND)
}
