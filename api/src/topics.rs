//! `GET /v1/topics/{topic}/records`: a look into a topic as it fills, for operators.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use castback_broker::{ReadLimits, Record};
use castback_schemas::codec::{BatchDecoder, DecodeError};
use castback_schemas::{Slot, Topic};
use futures::Stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use crate::App;
use crate::extract::{Path, Query};
use crate::identity::Caller;
use crate::problem::{Code, Problem, Result};
use crate::query::rows_of;

/// Bytes read of a slot at a time.
const READ_BYTES: usize = 256 * 1024;

/// Between two looks when nothing came.
const PAUSE: Duration = Duration::from_millis(200);

/// A comment that often, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// Only this slot; all if not given.
    slot: Option<u16>,
    /// From this offset of the slot on; from the end if not given. Needs `slot`: each has offsets of its own.
    from: Option<i64>,
}

/// Records of a topic as they come, as server-sent events; operators only.
#[utoipa::path(get, path = "/v1/topics/{topic}/records", tag = "operation", params(("topic" = String, Path), Parameters),
    responses((status = 200, description = "a stream of `record` events", content_type = "text/event-stream")))]
pub(crate) async fn records(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(topic): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Response> {
    let topic: Topic = topic.parse().map_err(|_| Problem::not_found("topic"))?;
    caller.operator()?;
    if parameters.from.is_some() && parameters.slot.is_none() {
        return Err(Problem::field("from", "name the slot too (?slot=0&from=0): each slot has offsets of its own"));
    }
    let permit = Arc::clone(&app.reads.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::new(Code::Overloaded, "too many streams are open"))?;
    let mut positions = Vec::new();
    for slot in Slot::all().filter(|slot| parameters.slot.is_none_or(|only| only == slot.0)) {
        let ends = app.log.ends(topic, slot).await?;
        positions.push((slot, parameters.from.map_or(ends.end, |from| from.clamp(ends.start, ends.end))));
    }
    if positions.is_empty() {
        return Err(Problem::field("slot", "expected a slot of the topic"));
    }
    let decoder = BatchDecoder::new(topic).map_err(Problem::internal)?;
    let tail = Tail { app, topic, positions, decoder, ready: VecDeque::new(), _permit: permit };
    Ok(Sse::new(events(tail)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Tail {
    app: Arc<App>,
    topic: Topic,
    positions: Vec<(Slot, i64)>,
    decoder: BatchDecoder,
    ready: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

fn events(tail: Tail) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(tail, |mut tail| async move {
        loop {
            if let Some(event) = tail.ready.pop_front() {
                return Some((Ok(event), tail));
            }
            if tail.app.stopping.is_cancelled() {
                return None;
            }
            if let Err(problem) = tail.fill().await {
                tracing::warn!(problem.code = problem.code().as_str(), "a look into a topic ended");
                return None;
            }
            if tail.ready.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    })
}

impl Tail {
    async fn fill(&mut self) -> Result<()> {
        let limits = ReadLimits { max_bytes: READ_BYTES, wait: Duration::ZERO };
        for index in 0..self.positions.len() {
            let (slot, from) = self.positions[index];
            let records = self.app.log.read(self.topic, slot, from, limits).await?;
            if let Some(last) = records.last() {
                self.positions[index].1 = last.offset + 1;
                let values = self.decode(&records).await?;
                let topic = self.topic;
                self.ready.extend(
                    records.iter().zip(values).filter_map(|(record, value)| event((topic, slot), record, &value)),
                );
            }
        }
        Ok(())
    }

    /// The values as JSON; null for what can't be read.
    async fn decode(&mut self, records: &[Record]) -> Result<Vec<Value>> {
        let values: Vec<&[u8]> = records.iter().map(|record| record.value.as_ref()).collect();
        let decoded = loop {
            match self.decoder.decode(&values) {
                Ok(decoded) => break decoded,
                Err(DecodeError::UnknownSchema { id }) => {
                    let schema = self.app.schemas.look_up(id).await?;
                    self.decoder.learn(id, schema.as_deref());
                }
                Err(error) => return Err(Problem::internal(error)),
            }
        };
        let schema = decoded.batch.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut json = vec![Value::Null; records.len()];
        for (row, index) in rows_of(&[decoded.batch]).into_iter().zip(decoded.rows) {
            json[index] = Value::Object(names.iter().cloned().zip(row).collect::<Map<_, _>>());
        }
        Ok(json)
    }
}

fn event((topic, slot): (Topic, Slot), record: &Record, value: &Value) -> Option<Event> {
    let data = json!({
        "topic": topic.name(), "slot": slot.0, "offset": record.offset, "appended_at": record.appended_at,
        "account_id": record.account, "key": String::from_utf8_lossy(&record.key), "value": value,
    });
    Event::default().event("record").json_data(data).ok()
}
