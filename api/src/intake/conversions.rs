//! `POST /v1/conversions`: IAB ECAPI 1.0 events, and ours under `ext`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use castback_schemas::edge::{HashKey, fingerprint};
use castback_schemas::event::Conversion;
use castback_schemas::{AccountId, CampaignId, Currency, Micros, Topic};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::batch::{Accepted, Batch, Refusal, deliver};
use super::body::{Format, Payload, read};
use super::edge::{Edge, Failure};
use super::elements::split;
use super::off_the_runtime;
use super::requests::{not_utf8, one};
use super::room;
use crate::App;
use crate::identity::Caller;
use crate::problem::{Code, Problem, Result};

/// Longest id or word, in bytes.
const MAX_WORD: usize = 256;
/// Longest referrer, answer or UTM parameters, in bytes.
const MAX_TEXT: usize = 4_096;
/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// A conversion as it is posted (ECAPI 1.0).
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RawConversion<'a> {
    /// The data set that it belongs to.
    data_set_id: String,
    /// Its id, unique for life in its data set.
    id: String,
    /// `purchase`, `subscribe`, `donate`, `refund`, `lead`, `visit`, … or another.
    event_type: String,
    /// When, in seconds since 1970 (or RFC 3339).
    #[serde(borrow)]
    #[schema(value_type = i64)]
    timestamp: &'a RawValue,
    /// The value in major units, kept exactly.
    #[serde(borrow)]
    #[schema(value_type = Option<f64>)]
    value: Option<&'a RawValue>,
    /// The value's currency (ISO 4217).
    currency_code: Option<String>,
    /// Who it was.
    user_data: Option<UserData>,
    /// What it was.
    properties: Option<Properties>,
    /// What ECAPI has no place for.
    #[serde(borrow)]
    ext: Option<Ext<'a>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct UserData {
    /// The customer's address; it is hashed and forgotten.
    #[schema(value_type = Option<String>)]
    event_ip_address: Option<IpAddr>,
    /// The advertiser's id of the customer; it is hashed.
    customer_identifier: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Properties {
    /// Links a refund to its purchase.
    transaction_id: Option<String>,
    /// The promo code that was used.
    coupon: Option<String>,
    /// Where the customer came from.
    referrer: Option<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Ext<'a> {
    /// The campaign that the sender names.
    #[schema(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// The vanity address that was visited.
    vanity_slug: Option<String>,
    /// The answer to "how did you hear of us".
    survey_answer: Option<String>,
    /// UTM parameters.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    utm: Option<&'a RawValue>,
}

/// Takes conversions: an array, one event, an object with `events` or `data`, or NDJSON.
#[utoipa::path(post, path = "/v1/conversions", tag = "intake",
    request_body(content = Vec<RawConversion>, description = "ECAPI 1.0 events: an array, one event, or NDJSON"),
    responses((status = 202, body = Accepted)))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let format = Format::of(&headers)?;
    if format == Format::Text {
        return Err(Problem::new(Code::UnsupportedMediaType, "expected application/json or application/x-ndjson"));
    }
    room::for_conversions(&app, caller.account).await?;
    let payload = read(&app, &headers, body).await?;
    let key = app.keys.account(&app.catalogue, caller.account).await?;
    let post = Post { account: caller.account, key, format, edge: Edge::new(Arc::clone(&app)) };
    let here = Arc::clone(&app);
    let batch = off_the_runtime(&app, move || post.read(&here, payload)).await?;
    deliver(&app, batch).await
}

struct Post {
    account: AccountId,
    key: HashKey,
    format: Format,
    edge: Edge,
}

impl Post {
    fn read(mut self, app: &App, payload: Payload) -> Result<Batch> {
        let (bytes, _room) = payload.decode()?;
        let text = std::str::from_utf8(&bytes).map_err(not_utf8)?;
        let mut batch = Batch::new(Topic::Conversions, self.account);
        for record in split(text, self.format, &["events", "data"])? {
            let read = serde_json::from_str(record).map_err(|error| Failure::One(Refusal::unread(&error)));
            let conversion = one(read.and_then(|raw| self.conversion(raw)))?;
            let keyed = conversion.map(|conversion| (Bytes::from(conversion.event_id.clone()), conversion));
            batch.add(&app.encoders, keyed)?;
        }
        batch.months = self.edge.into_months();
        Ok(batch)
    }

    fn conversion(&mut self, raw: RawConversion<'_>) -> Result<Conversion, Failure> {
        let (at, value) = check(&raw).map_err(Failure::One)?;
        let user = raw.user_data.unwrap_or_default();
        let properties = raw.properties.unwrap_or_default();
        let ext = raw.ext.unwrap_or_default();
        let (network, network_version) = self.edge.network(user.event_ip_address, at);
        let households = self.edge.households(user.event_ip_address, at).map_err(Failure::All)?;
        let customer = user.customer_identifier.map(|id| customer(&self.key, &id));
        Ok(Conversion {
            event_id: format!("{}/{}", raw.data_set_id, raw.id),
            account_id: self.account,
            occurred_at: at,
            recorded_at: self.edge.now(),
            revision: 0,
            data_set_id: raw.data_set_id,
            id: raw.id,
            event_type: raw.event_type,
            value_minor: value.map(|(minor, _)| minor),
            currency: value.map(|(_, currency)| currency.to_string()),
            transaction_id: properties.transaction_id,
            coupon: properties.coupon,
            referrer: properties.referrer,
            customer,
            network: network.as_str().to_owned(),
            network_version,
            households,
            campaign_id: ext.campaign_id.map(|id| id.to_string()),
            vanity_slug: ext.vanity_slug,
            survey_answer: ext.survey_answer,
            utm: ext.utm.map(|utm| utm.get().to_owned()),
            source: "api".to_owned(),
            verified: true,
        })
    }
}

/// The customer under the account's key.
fn customer(key: &HashKey, id: &str) -> [u8; 16] {
    *fingerprint(key, format!("customer\0{id}").as_bytes()).as_bytes()
}

/// The time and the exact value of a conversion whose fields all fit.
fn check(raw: &RawConversion<'_>) -> Result<(Micros, Option<(i64, Currency)>), Refusal> {
    let (user, properties, ext) = (raw.user_data.as_ref(), raw.properties.as_ref(), raw.ext.as_ref());
    let texts = [
        ("data_set_id", Some(&raw.data_set_id), 1, MAX_WORD),
        ("id", Some(&raw.id), 1, MAX_WORD),
        ("event_type", Some(&raw.event_type), 1, MAX_WORD),
        ("user_data.customer_identifier", user.and_then(|user| user.customer_identifier.as_ref()), 1, MAX_TEXT),
        ("properties.transaction_id", properties.and_then(|all| all.transaction_id.as_ref()), 0, MAX_WORD),
        ("properties.coupon", properties.and_then(|all| all.coupon.as_ref()), 0, MAX_WORD),
        ("properties.referrer", properties.and_then(|all| all.referrer.as_ref()), 0, MAX_TEXT),
        ("ext.vanity_slug", ext.and_then(|ext| ext.vanity_slug.as_ref()), 0, MAX_WORD),
        ("ext.survey_answer", ext.and_then(|ext| ext.survey_answer.as_ref()), 0, MAX_TEXT),
    ];
    for (field, text, least, most) in texts {
        if text.is_some_and(|text| text.len() < least || text.len() > most) {
            return Err(Refusal::invalid(field, &format!("expected {least} to {most} bytes")));
        }
    }
    if raw.data_set_id.contains('/') {
        return Err(Refusal::invalid("data_set_id", "expected no slash: it divides data set and id"));
    }
    let utm = ext.and_then(|ext| ext.utm).map(RawValue::get);
    if utm.is_some_and(|utm| !utm.starts_with('{') || utm.len() > MAX_TEXT) {
        return Err(Refusal::invalid("ext.utm", &format!("expected an object of at most {MAX_TEXT} bytes")));
    }
    Ok((time(raw.timestamp.get())?, value(raw)?))
}

fn time(text: &str) -> Result<Micros, Refusal> {
    let expected = || Refusal::invalid("timestamp", "expected seconds since 1970, or RFC 3339");
    let at = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) => text.parse().map_err(|_| expected())?,
        None => match text.parse::<i64>() {
            Ok(seconds @ 0..=LAST_SECOND) => Micros::from_seconds(seconds),
            _ => return Err(expected()),
        },
    };
    Edge::check_time("timestamp", at)?;
    Ok(at)
}

/// The number as it stands in the document, to minor units, exactly or not at all.
fn value(raw: &RawConversion<'_>) -> Result<Option<(i64, Currency)>, Refusal> {
    let Some(number) = raw.value else { return Ok(None) };
    let code = raw.currency_code.as_deref().ok_or_else(|| Refusal::invalid("currency_code", "a value needs one"))?;
    let currency: Currency = code.parse().map_err(|error: castback_schemas::money::InvalidMoney| {
        Refusal::invalid("currency_code", &error.to_string())
    })?;
    let minor = currency.parse_major(number.get()).map_err(|error| Refusal::invalid("value", &error.to_string()))?;
    if minor < 0 && raw.event_type != "refund" {
        return Err(Refusal::invalid(
            "value",
            "expected 0 or more: money that is given back is an event of type refund",
        ));
    }
    Ok(Some((minor, currency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(value: &str, currency: &str) -> Result<Option<(i64, Currency)>, Refusal> {
        let text = format!(
            r#"{{"data_set_id": "shop", "id": "1", "event_type": "purchase", "timestamp": 1700000000,
                "value": {value}, "currency_code": "{currency}"}}"#
        );
        check(&serde_json::from_str(&text).unwrap()).map(|(_, value)| value)
    }

    #[test]
    fn values_are_exact_or_refused() {
        let minor = |value: &str, currency: &str| checked(value, currency).unwrap().unwrap().0;
        assert_eq!(minor("19.99", "USD"), 1_999);
        assert_eq!(minor("0.1", "USD"), 10);
        assert_eq!(minor("90071992547409.93", "USD"), 9_007_199_254_740_993, "above the integers of a double");
        assert_eq!(minor("1e3", "JPY"), 1_000);
        assert_eq!(minor("1.234", "KWD"), 1_234);
        for (value, currency) in [
            ("19.999", "USD"),
            ("19.5", "JPY"),
            ("1", "dollars"),
            ("\"5\"", "USD"),
            ("null", "x"),
            ("1e99", "USD"),
            ("[1]", "USD"),
            ("-0.01", "USD"),
        ] {
            let refused = checked(value, currency);
            assert!(value == "null" || refused.is_err(), "{value} {currency}");
        }
        assert_eq!(checked("null", "x").unwrap(), None);
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        assert_eq!(time("1700000000").unwrap(), Micros(1_700_000_000_000_000));
        assert_eq!(time("\"2023-11-14T22:13:20Z\"").unwrap(), Micros(1_700_000_000_000_000));
        for bad in ["1.5", "-1", "99999999999999", "\"soon\"", "null", "0"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
