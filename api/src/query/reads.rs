//! What all readers share: the newest view, the newest commit, the workers of ad-hoc SQL.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use castback_catalogue::Catalogue;
use castback_catalogue::segments::ViewStamp;
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
        if let Some((held, view)) = &*self.view.lock().unwrap_or_else(PoisonError::into_inner)
            && *held == stamp
        {
            return Ok(Arc::clone(view));
        }
        let newest = catalogue.view(None).await?;
        let view = Arc::new(PinnedView::new(&newest)?);
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
