//! `GET /v1/conversions`: what was sent, its verdict, and who is credited.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::page::MAX_LIMIT;
use castback_schemas::{AccountId, CampaignId, Money};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::extract::{List, ListParameters, Listed};
use crate::figures::credited;
use crate::identity::Scope;
use crate::problem::{Problem, Result};
use crate::query::literal::text;
use crate::query::{Ask, Rows};

/// What narrows the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only what this campaign is credited.
    #[param(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// Only of this data set.
    data_set_id: Option<String>,
    /// Only of this type.
    event_type: Option<String>,
    /// Only with this verdict.
    verdict: Option<String>,
}

/// A campaign's part of a conversion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Share {
    campaign_id: String,
    model: String,
    #[schema(value_type = f64)]
    credit: Value,
    revenue_minor: i64,
}

/// A conversion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownConversion {
    account_id: String,
    event_id: String,
    data_set_id: String,
    id: String,
    event_type: String,
    occurred_at: String,
    #[schema(value_type = Option<Object>)]
    value: Option<Money>,
    source: String,
    /// False for what anyone could have sent.
    verified: bool,
    verdict: String,
    reason: Option<String>,
    /// Who is credited, by model; empty where nobody is.
    credits: Vec<Share>,
}

/// The account's conversions, newest first.
#[utoipa::path(get, path = "/v1/conversions", tag = "performance", params(ListParameters, Filter),
    responses((status = 200, body = Listed<ShownConversion>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    List(page, filter): List<Filter>,
) -> Result<Answer<Listed<ShownConversion>>> {
    let limit = usize::from(page.limit.min(MAX_LIMIT));
    let ask = Ask::newest(&app, scope).await?;
    let rows = ask.one(&statement(&filter, page.cursor.as_deref(), limit)?).await?;
    let mut credits = credits(&ask, &rows).await?;
    let shown = rows.len().min(limit);
    let place = |row| format!("{}.{}.{}", rows.int(row, "at"), rows.int(row, "offset"), rows.text(row, "account_id"));
    let next_cursor = (rows.len() > limit).then(|| place(limit - 1));
    let items = (0..shown).map(|row| conversion(&rows, row, credits.remove(&key(&rows, row)).unwrap_or_default()));
    Ok(Answer(Listed { items: items.collect(), next_cursor }))
}

/// The place of a conversion: an account has all of its own in one slot.
fn key(rows: &Rows, row: usize) -> (String, i64) {
    (rows.text(row, "account_id").to_owned(), rows.int(row, "offset"))
}

fn statement(filter: &Filter, cursor: Option<&str>, limit: usize) -> Result<String> {
    let mut wanted = String::from("true");
    let mut and = |condition: String| {
        // Writing to a string cannot fail.
        write!(wanted, " AND {condition}").unwrap_or_default();
    };
    let given =
        [("data_set_id", &filter.data_set_id), ("event_type", &filter.event_type), ("verdict", &filter.verdict)];
    for (column, value) in given {
        if let Some(value) = value {
            and(format!("{column} = {}", text(value)));
        }
    }
    if let Some(campaign) = filter.campaign_id {
        // A campaign is one account's, and so are the conversions that it is credited.
        let credited = format!("FROM credits WHERE campaign_id = '{campaign}'");
        and(format!("\"offset\" IN (SELECT conversion_offset {credited})"));
        and(format!("account_id IN (SELECT account_id {credited})"));
    }
    if let Some(cursor) = cursor {
        let place = place(cursor);
        let (at, offset, account) =
            place.ok_or_else(|| Problem::field("cursor", "expected the next_cursor of this list"))?;
        let time = "CAST(occurred_at AS BIGINT)";
        and(format!(
            "({time} < {at} OR ({time} = {at} AND (\"offset\" < {offset} \
             OR (\"offset\" = {offset} AND account_id < '{account}'))))"
        ));
    }
    Ok(format!(
        "SELECT CAST(occurred_at AS BIGINT) AS at, account_id, \"offset\", event_id, data_set_id, conversion_id, \
         event_type, value_minor, currency, source, verified, verdict, reason FROM conversions WHERE {wanted} \
         ORDER BY occurred_at DESC, \"offset\" DESC, account_id DESC LIMIT {}",
        limit + 1
    ))
}

/// Where a page begins: behind this one.
fn place(cursor: &str) -> Option<(i64, i64, AccountId)> {
    let (at, rest) = cursor.split_once('.')?;
    let (offset, account) = rest.split_once('.')?;
    Some((at.parse().ok()?, offset.parse().ok()?, account.parse().ok()?))
}

/// The shares of the conversions. Of all accounts there are more: what stands at the same offsets elsewhere.
async fn credits(ask: &Ask, rows: &Rows) -> Result<HashMap<(String, i64), Vec<Share>>> {
    let mut by_place: HashMap<(String, i64), Vec<Share>> = HashMap::new();
    if rows.len() == 0 {
        return Ok(by_place);
    }
    let offsets: Vec<String> = (0..rows.len()).map(|row| rows.int(row, "offset").to_string()).collect();
    let credits = ask
        .one(&format!(
            "SELECT account_id, conversion_offset, campaign_id, model, credit_micro, revenue_minor FROM credits \
             WHERE campaign_id <> '' AND conversion_offset IN ({}) ORDER BY conversion_offset, campaign_id, model",
            offsets.join(", ")
        ))
        .await?;
    for row in 0..credits.len() {
        let place = (credits.text(row, "account_id").to_owned(), credits.int(row, "conversion_offset"));
        by_place.entry(place).or_default().push(Share {
            campaign_id: credits.text(row, "campaign_id").to_owned(),
            model: credits.text(row, "model").to_owned(),
            credit: credited(credits.int(row, "credit_micro")),
            revenue_minor: credits.int(row, "revenue_minor"),
        });
    }
    Ok(by_place)
}

fn conversion(rows: &Rows, row: usize, credits: Vec<Share>) -> ShownConversion {
    let text = |column| rows.text(row, column).to_owned();
    let value = rows.value(row, "value_minor").as_i64().zip(rows.text(row, "currency").parse().ok());
    ShownConversion {
        account_id: text("account_id"),
        event_id: text("event_id"),
        data_set_id: text("data_set_id"),
        id: text("conversion_id"),
        event_type: text("event_type"),
        occurred_at: rows.micros(row, "at").to_string(),
        value: value.map(|(amount, currency)| Money { amount, currency }),
        source: text("source"),
        verified: rows.truth(row, "verified"),
        verdict: text("verdict"),
        reason: rows.some_text(row, "reason").map(str::to_owned),
        credits,
    }
}
