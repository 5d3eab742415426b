//! Performance as server-sent events: the figures now, then again whenever they changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Asked, Shape};
use crate::App;
use crate::problem::{Code, Problem, Result};

/// Shortest time between two readings: commits come every 250 ms, and a reading costs.
const PAUSE: Duration = Duration::from_millis(500);

/// A comment that often, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Following {
    app: Arc<App>,
    asked: Asked,
    commits: watch::Receiver<castback_schemas::Revision>,
    /// What was sent last.
    sent: Option<Shape>,
    _permit: OwnedSemaphorePermit,
}

/// Sends `performance` events until the caller goes or the server drains.
pub(super) fn stream(app: Arc<App>, asked: Asked) -> Result<Response> {
    let permit = Arc::clone(&app.reads.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::new(Code::Overloaded, "too many streams are open"))?;
    let commits = app.reads.commits();
    let following = Following { app, asked, commits, sent: None, _permit: permit };
    Ok(Sse::new(events(following)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn events(following: Following) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    })
}

impl Following {
    /// The next figures that differ; none when the server drains or the figures can't be read.
    async fn next(&mut self) -> Option<Event> {
        let stopping = self.app.stopping.clone();
        loop {
            if self.sent.is_some() {
                let moved = async {
                    tokio::time::sleep(PAUSE).await;
                    self.commits.changed().await
                };
                tokio::select! {
                    () = stopping.cancelled() => return None,
                    moved = moved => moved.ok()?,
                }
            }
            // What is read next is of this commit or a newer one.
            self.commits.borrow_and_update();
            let performance = match self.asked.read(&self.app).await {
                Ok(performance) => performance,
                // The stream ends: the caller connects again, as event sources do.
                Err(problem) => {
                    tracing::warn!(problem.code = problem.code().as_str(), "a stream of figures ended");
                    return None;
                }
            };
            if self.sent.as_ref() == Some(&performance.figures) {
                continue;
            }
            let event = Event::default().event("performance").id(performance.revision.to_string());
            self.sent = Some(performance.figures.clone());
            return event.json_data(&performance).ok();
        }
    }
}
