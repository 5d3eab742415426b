//! What all readers share: the newest view, the newest commit, the workers of ad-hoc SQL.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use castback_catalogue::Catalogue;
use castback_catalogue::segments::{View, ViewStamp};
use castback_catalogue::units::UnitStatus;
use castback_schemas::Revision;
use castback_store::PinnedView;
use castback_store::worker::Pool;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::problem::Result;

/// How often the newest commit is looked for: ticks are 250 ms apart.
const FOLLOW: Duration = Duration::from_millis(200);

/// Streams open at once; more are told to come again, since each asks anew with every commit.
const MAX_STREAMS: usize = 256;

/// Who runs ad-hoc SQL.
#[derive(Debug, Clone)]
pub struct SqlWorkers {
    /// The processes.
    pub pool: Pool,
    /// The object store that they read, as in `OBJECT_STORE_URL`.
    pub address: String,
}

/// What all readers of a process share.
#[derive(Debug)]
pub struct Reads {
    /// Views are immutable: as long as the stamp is the newest, so is the view.
    view: Mutex<Option<(ViewStamp, Arc<PinnedView>)>>,
    newest: watch::Sender<Revision>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) workers: SqlWorkers,
}

impl Reads {
    /// Nothing read yet.
    #[must_use]
    pub fn new(workers: SqlWorkers) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { view: Mutex::default(), newest: watch::Sender::default(), streams, workers }
    }

    /// The view as of the newest commit.
    pub(crate) async fn pinned(&self, catalogue: &Catalogue) -> Result<Arc<PinnedView>> {
        let stamp = catalogue.view_stamp().await?;
        match self.held(stamp) {
            Some(view) => Ok(view),
            None => self.hold(&catalogue.view(None).await?),
        }
    }

    /// The view as of the newest commit, and where every unit stands in it.
    pub(crate) async fn pinned_with_units(&self, catalogue: &Catalogue) -> Result<(Arc<PinnedView>, Vec<UnitStatus>)> {
        let (stamp, units) = catalogue.stamp_with_units().await?;
        if let Some(view) = self.held(stamp) {
            return Ok((view, units));
        }
        let (newest, units) = catalogue.view_with_units().await?;
        Ok((self.hold(&newest)?, units))
    }

    fn held(&self, stamp: ViewStamp) -> Option<Arc<PinnedView>> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.as_ref().filter(|(held, _)| *held == stamp).map(|(_, view)| Arc::clone(view))
    }

    fn hold(&self, newest: &View) -> Result<Arc<PinnedView>> {
        let view = Arc::new(PinnedView::new(newest)?);
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Some((newest.stamp, Arc::clone(&view)));
        Ok(view)
    }

    /// Tells of every newer commit, as long as [`follow`] runs.
    pub(crate) fn commits(&self) -> watch::Receiver<Revision> {
        self.newest.subscribe()
    }
}

/// Follows the newest commit until `stop`: streams wake up by it.
pub async fn follow(app: Arc<App>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(FOLLOW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match app.catalogue.newest_commit().await {
            Ok(newest) => {
                app.reads.newest.send_if_modified(|held| std::mem::replace(held, newest) != newest);
            }
            Err(error) => tracing::warn!(error = %error, "the newest commit can't be read"),
        }
    }
}
