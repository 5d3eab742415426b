//! Records that lay in a slot which is not their account's: appended again to the right one.
//!
//! A unit says of them `rerouted` and nothing else; here they are written anew from their ledger
//! rows, under the same event id, so that the right slot counts them once however often they are
//! sent. The relay's position moves when they are durable.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use castback_broker::NewRecord;
use castback_rules::filter::FilterReason;
use castback_schemas::event::{AdBytes, AppEvent, Conversion, HouseholdKey, ListenerRequest};
use castback_schemas::{AccountId, Micros, Revision, Slot, Topic};
use castback_store::{COMMIT, Scan, Versions};

use super::encoders::{Encoders, SendError};
use super::round::Relay;
use super::topics::append;
use crate::decode::ledger_of;
use crate::ledger::unreadable;

pub(super) async fn run(relay: Relay) {
    let mut encoders = relay.encoders();
    while relay.comes_round().await {
        relay.note(send(&relay, &mut encoders).await);
    }
}

async fn send(relay: &Relay, encoders: &mut Encoders) -> Result<(), SendError> {
    let Some(news) = relay.news().await? else { return Ok(()) };
    let (shared, view) = (&relay.shared, &news.view);
    for topic in [Topic::ListenerRequests, Topic::Conversions, Topic::AppEvents] {
        let Some(table) = ledger_of(topic) else { continue };
        for slot in Slot::all().filter(|slot| !view.pieces(table, *slot).is_empty()) {
            let scan = Scan { slot: Some(slot), versions: Versions::All, ..Scan::new(table) };
            let mut records = Vec::new();
            for batch in shared.store.rows(view, scan).await? {
                collect(topic, &Cells(&batch), (news.after, encoders), &mut records).await?;
            }
            append(shared, records).await?;
        }
    }
    relay.sent(&news).await
}

/// The records of a batch's rows that are newer than a commit and were in the wrong slot.
async fn collect(
    topic: Topic,
    cells: &Cells<'_>,
    (from, encoders): (Revision, &mut Encoders),
    records: &mut Vec<NewRecord>,
) -> Result<(), SendError> {
    for row in 0..cells.0.num_rows() {
        let rerouted = cells.text("reason", row)? == Some(FilterReason::Rerouted.as_str());
        if !rerouted || cells.int(COMMIT, row)? <= Some(from.0) {
            continue;
        }
        let account: AccountId = cells.parsed("account_id", row)?;
        let encoder = encoders.of(topic).await?;
        let (key, value) = match topic {
            Topic::ListenerRequests => match request(cells, row, account)? {
                Some(event) => (event.podcast_id.to_string(), encoder.encode(&event)?),
                None => continue,
            },
            Topic::Conversions => {
                let event = conversion(cells, row, account)?;
                (event.event_id.clone(), encoder.encode(&event)?)
            }
            _ => {
                let event = app_event(cells, row, account)?;
                (event.user.clone(), encoder.encode(&event)?)
            }
        };
        records.push(NewRecord { topic, slot: Slot::of(account), account, key: Bytes::from(key), value: value.into() });
    }
    Ok(())
}

/// A request as it came; none if it was for what is no podcast, which no slot can count.
fn request(cells: &Cells<'_>, row: usize, account_id: AccountId) -> Result<Option<ListenerRequest>, ArrowError> {
    let Ok(podcast_id) = cells.owned("podcast_id", row)?.parse() else { return Ok(None) };
    let ads: Vec<(String, i64, i64)> = cells.json("ads", row)?;
    Ok(Some(ListenerRequest {
        event_id: cells.owned("event_id", row)?,
        account_id,
        occurred_at: cells.time("occurred_at", row)?,
        recorded_at: cells.time("recorded_at", row)?,
        revision: 0,
        podcast_id,
        enclosure_url: cells.owned("enclosure_url", row)?,
        method: cells.owned("method", row)?,
        status: cells.int("status", row)?.and_then(|status| i32::try_from(status).ok()).unwrap_or(0),
        range: cells.maybe("range", row)?,
        bytes_sent: cells.int("bytes_sent", row)?,
        file_bytes: cells.int("file_bytes", row)?,
        user_agent: cells.maybe("user_agent", row)?,
        network: cells.owned("network", row)?,
        network_version: cells.owned("network_version", row)?,
        referer: cells.maybe("referer", row)?,
        country: cells.maybe("country", row)?,
        listener: cells.hash("listener", row)?.unwrap_or_default(),
        household: cells.hash("household", row)?.unwrap_or_default(),
        listener_previous: cells.hash("listener_previous", row)?,
        safe_listed: cells.truth("safe_listed", row)?,
        source: cells.owned("source", row)?,
        ads: ads
            .into_iter()
            .map(|(placement_id, from_byte, to_byte)| AdBytes { placement_id, from_byte, to_byte })
            .collect(),
    }))
}

fn conversion(cells: &Cells<'_>, row: usize, account_id: AccountId) -> Result<Conversion, ArrowError> {
    let households: Vec<(i32, String)> = cells.json("households", row)?;
    let household = |(month, hash): (i32, String)| {
        let hash = u128::from_str_radix(&hash, 16).map_err(|_| unreadable("households"))?;
        Ok(HouseholdKey { month, hash: hash.to_be_bytes() })
    };
    Ok(Conversion {
        event_id: cells.owned("event_id", row)?,
        account_id,
        occurred_at: cells.time("occurred_at", row)?,
        recorded_at: cells.time("recorded_at", row)?,
        revision: 0,
        data_set_id: cells.owned("data_set_id", row)?,
        id: cells.owned("conversion_id", row)?,
        event_type: cells.owned("event_type", row)?,
        value_minor: cells.int("value_minor", row)?,
        currency: cells.maybe("currency", row)?,
        transaction_id: cells.maybe("transaction_id", row)?,
        coupon: cells.maybe("coupon", row)?,
        referrer: cells.maybe("referrer", row)?,
        customer: cells.hash("customer", row)?,
        network: cells.owned("network", row)?,
        network_version: cells.owned("network_version", row)?,
        households: households.into_iter().map(household).collect::<Result<_, ArrowError>>()?,
        campaign_id: cells.maybe("campaign_id", row)?,
        vanity_slug: cells.maybe("vanity_slug", row)?,
        survey_answer: cells.maybe("survey_answer", row)?,
        utm: cells.maybe("utm", row)?,
        source: cells.owned("source", row)?,
        verified: cells.truth("verified", row)?,
    })
}

fn app_event(cells: &Cells<'_>, row: usize, account_id: AccountId) -> Result<AppEvent, ArrowError> {
    Ok(AppEvent {
        event_id: cells.owned("event_id", row)?,
        account_id,
        occurred_at: cells.time("occurred_at", row)?,
        recorded_at: cells.time("recorded_at", row)?,
        revision: 0,
        event_type: cells.owned("event_type", row)?,
        user: cells.owned("user", row)?,
        session_id: cells.maybe("session_id", row)?,
        page: cells.maybe("page", row)?,
        feature: cells.maybe("feature", row)?,
        element: cells.maybe("element", row)?,
        properties: cells.bytes("properties", row)?,
    })
}

/// Typed access to the cells of a ledger batch.
struct Cells<'a>(&'a RecordBatch);

impl Cells<'_> {
    fn column(&self, name: &str) -> Result<&Arc<dyn Array>, ArrowError> {
        self.0.column_by_name(name).ok_or_else(|| unreadable(name))
    }

    fn text(&self, name: &str, row: usize) -> Result<Option<&str>, ArrowError> {
        let column = self.column(name)?.as_string_opt::<i32>().ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    fn maybe(&self, name: &str, row: usize) -> Result<Option<String>, ArrowError> {
        Ok(self.text(name, row)?.map(str::to_owned))
    }

    fn owned(&self, name: &str, row: usize) -> Result<String, ArrowError> {
        self.maybe(name, row)?.ok_or_else(|| unreadable(name))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, row: usize) -> Result<T, ArrowError> {
        self.owned(name, row)?.parse().map_err(|_| unreadable(name))
    }

    fn json<T: serde::de::DeserializeOwned + Default>(&self, name: &str, row: usize) -> Result<T, ArrowError> {
        let text = self.text(name, row)?;
        text.map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text).map_err(|_| unreadable(name)))
    }

    fn int(&self, name: &str, row: usize) -> Result<Option<i64>, ArrowError> {
        let column = self.column(name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    fn time(&self, name: &str, row: usize) -> Result<Micros, ArrowError> {
        let column = self.column(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        Ok(Micros(column.ok_or_else(|| unreadable(name))?.value(row)))
    }

    fn truth(&self, name: &str, row: usize) -> Result<bool, ArrowError> {
        Ok(self.column(name)?.as_boolean_opt().ok_or_else(|| unreadable(name))?.value(row))
    }

    fn hash(&self, name: &str, row: usize) -> Result<Option<[u8; 16]>, ArrowError> {
        let column = self.column(name)?.as_fixed_size_binary_opt().ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row).try_into().unwrap_or_default()))
    }

    fn bytes(&self, name: &str, row: usize) -> Result<Option<Vec<u8>>, ArrowError> {
        let column = self.column(name)?.as_binary_opt::<i32>().ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row).to_vec()))
    }
}
