//! The catalogue: what people own, who works on what, and which commits there are.
//!
//! One [`Catalogue`] over SQLite or PostgreSQL from the same SQL text. Every method about
//! something that an account owns takes the account first: another account's id is not found.
//! A change made over the API and its event are one transaction ([`outbox`]); the rules' inputs
//! keep all versions ([`directory`]); a unit's positions move with the commit that refers to its
//! rows ([`commits`]).
//!
//! It must not know: DataFusion, Arrow, the log, HTTP, or what is inside a slice, a feed state or
//! an event's body. It reads no clock and draws no randomness but what was passed to
//! [`Catalogue::open`]; leases use the database's own time.
//!
//! Where to add: a resource is one file here with its `impl Catalogue`, and one migration in
//! `migrations/` (never change one that was released). SQL uses TEXT, BIGINT and DOUBLE PRECISION
//! and `$1` placeholders only; sums are cast.

use std::sync::Arc;
use std::time::Duration;

use castback_schemas::id::{IdSource, SeededIds};
use castback_schemas::{Clock, Micros};
use uuid::Uuid;

pub mod agents;
pub mod campaigns;
pub mod claims;
pub mod commits;
mod db;
pub mod directory;
pub mod episodes;
mod error;
pub mod feed_polls;
pub mod hash_keys;
pub mod idempotency;
pub mod installation;
pub mod keys;
pub mod leases;
pub mod outbox;
pub mod page;
mod password;
pub mod people;
pub mod podcasts;
pub mod poll_log;
mod reads;
pub mod registry;
pub mod relays;
pub mod reports;
pub mod retention;
mod secret;
pub mod segments;
pub mod sessions;
mod stored;
pub mod transitions;
pub mod unit_requests;
pub mod units;
mod watch;
mod writer;

pub use error::{CatalogueError, Result};
pub use page::{Page, Paging};

/// The catalogue. Cheap to clone; every clone uses the same connections.
#[derive(Debug, Clone)]
pub struct Catalogue {
    db: db::Db,
    clock: Arc<dyn Clock>,
    ids: Arc<SeededIds>,
    secrets: Arc<secret::Secrets>,
    installation: Arc<installation::Installation>,
}

impl Catalogue {
    /// Opens `sqlite://<path>` (created when it is not there) or `postgresql://…`, brings the
    /// tables to this version and refuses an installation of another number of slots.
    ///
    /// `seed` is where identifiers, keys and salts come from: 32 random bytes, never used twice.
    pub async fn open(url: &str, clock: Arc<dyn Clock>, seed: [u8; 32]) -> Result<Self> {
        let db = db::Db::open(url).await?;
        let secrets = secret::Secrets::new(seed);
        let ids = SeededIds::new(secrets.bytes());
        let installation = installation::Installation::establish(&db, &ids, clock.now()).await?;
        Ok(Self { db, clock, ids: Arc::new(ids), secrets: Arc::new(secrets), installation: Arc::new(installation) })
    }

    /// Tells `observer` from now on how long each operation on the database took, with the wait for its turn: `read` (one
    /// statement), `change`, or `urgent` (a commit or lease). The first observer stays.
    pub fn observe(&self, observer: impl Fn(&'static str, Duration) + Send + Sync + 'static) {
        self.db.watch().tell(observer);
    }

    /// Whether the catalogue answers: one read, bounded in time.
    pub async fn readiness(&self) -> Result<()> {
        sqlx::query("SELECT value FROM counters WHERE name = 'commit'").fetch_one(self.db.reads()).await?;
        Ok(())
    }

    /// Finishes the changes that were handed over before, then closes the connections: every
    /// later call on any clone fails.
    pub async fn close(&self) -> Result<()> {
        self.db.close().await
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn new_uuid(&self) -> Uuid {
        self.ids.next(self.now())
    }
}
