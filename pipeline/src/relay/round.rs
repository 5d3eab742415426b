//! What every relay does: come round, take its lease, look at what is new, move on when that was sent.

use std::sync::Arc;
use std::time::Duration;

use castback_schemas::Revision;
use castback_schemas::time::SECOND;
use castback_store::PinnedView;
use tokio_util::sync::CancellationToken;

use super::encoders::{Encoders, SendError};
use crate::task::{Shared, chain};

/// How long a process holds a relay without renewal, in microseconds.
const LEASE: i64 = 10 * SECOND;

/// One relay of a process.
pub(super) struct Relay {
    /// Its name in the catalogue and in what is logged.
    pub(super) name: &'static str,
    /// How often it looks for something new.
    pub(super) every: Duration,
    pub(super) shared: Arc<Shared>,
    /// The process.
    pub(super) owner: String,
    pub(super) stop: CancellationToken,
}

/// What is committed and was not sent on.
pub(super) struct News {
    /// The commit up to which everything was.
    pub(super) after: Revision,
    /// What came since.
    pub(super) view: Arc<PinnedView>,
}

impl Relay {
    /// The encoders of what it sends.
    pub(super) fn encoders(&self) -> Encoders {
        Encoders::new(Arc::clone(&self.shared.schemas))
    }

    /// Waits until it is time to look again; false once the process stops.
    pub(super) async fn comes_round(&self) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(self.every) => true,
        }
    }

    /// Notes what went wrong: the same is sent again when it comes round.
    pub(super) fn note(&self, outcome: Result<(), SendError>) {
        if let Err(error) = outcome {
            tracing::warn!(relay = self.name, error = %chain(&error), "relay.not_sent");
        }
    }

    /// What is new, if anything is and this process holds the relay.
    pub(super) async fn news(&self) -> Result<Option<News>, SendError> {
        let catalogue = &self.shared.catalogue;
        let after = catalogue.relay_position(self.name).await?;
        if catalogue.newest_commit().await? <= after || !catalogue.take_lease(self.name, &self.owner, LEASE).await? {
            return Ok(None);
        }
        let view = Arc::new(PinnedView::load(catalogue, None).await?.newer_than(after));
        Ok(Some(News { after, view }))
    }

    /// What was new is sent, durably.
    pub(super) async fn sent(&self, news: &News) -> Result<(), SendError> {
        Ok(self.shared.catalogue.advance_relay(self.name, news.view.revision()).await?)
    }
}
