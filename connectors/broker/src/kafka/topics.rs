//! Whether the topics are there: one attempt at a time finds or makes them, whoever needs them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::KafkaOptions;
use super::admin::{Asker, ensure_topics};
use super::fault::Fault;

/// How long a caller waits for a cluster that does not answer, 2 s: an attempt goes on longer, for those who come later.
const SILENCE: Duration = Duration::from_secs(2);

/// How far an attempt has come.
enum State {
    /// There was none.
    Unknown,
    /// The cluster was asked which topics it has.
    Asking(Asker),
    /// It has answered; those that are missing are being made.
    Making,
    /// All are there.
    Found,
    /// The next caller tries again.
    Failed(Arc<Fault>),
}

impl State {
    /// Whether an attempt may begin.
    fn is_idle(&self) -> bool {
        matches!(self, Self::Unknown | Self::Failed(_))
    }
}

/// The topics of the log.
pub(super) struct Topics {
    options: Arc<KafkaOptions>,
    state: watch::Sender<State>,
}

impl Topics {
    pub(super) fn new(options: Arc<KafkaOptions>) -> Self {
        Self { options, state: watch::Sender::new(State::Unknown) }
    }

    /// Returns once all topics are there.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Fault> {
        if matches!(*self.state.borrow(), State::Found) {
            return Ok(());
        }
        let mut state = self.attempt()?;
        let end = Instant::now() + SILENCE;
        loop {
            let asking = match &*state.borrow_and_update() {
                State::Found => return Ok(()),
                State::Failed(fault) => return Err(Fault::Shared(Arc::clone(fault))),
                State::Asking(asker) => Some(asker.clone()),
                State::Unknown | State::Making => None,
            };
            // Who sends is here as long as this is.
            let changed = match asking {
                Some(asker) => timeout_at(end, state.changed()).await.map_err(|_| asker.silence())?,
                None => state.changed().await,
            };
            changed.map_err(|_| Fault::Undelivered)?;
        }
    }

    /// The attempt that is under way, or a new one, which goes on when its caller has gone.
    fn attempt(self: &Arc<Self>) -> Result<watch::Receiver<State>, Fault> {
        let state = self.state.subscribe();
        if !state.borrow().is_idle() {
            return Ok(state);
        }
        let asker = Asker::new(&self.options)?;
        let begun = self.state.send_if_modified(|state| {
            let begins = state.is_idle();
            if begins {
                *state = State::Asking(asker.clone());
            }
            begins
        });
        if begun {
            let topics = Arc::clone(self);
            tokio::spawn(async move {
                let answered = || drop(topics.state.send_replace(State::Making));
                let ended = match ensure_topics(&topics.options, &asker, answered).await {
                    Ok(()) => State::Found,
                    Err(fault) => State::Failed(Arc::new(fault)),
                };
                topics.state.send_replace(ended);
            });
        }
        Ok(state)
    }
}
