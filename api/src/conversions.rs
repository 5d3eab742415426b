//! `GET /v1/conversions`: what was sent, its verdict, and who is credited.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::page::MAX_LIMIT;
use castback_schemas::{CampaignId, Money};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::extract::{Listed, Query};
use crate::figures::credited;
use crate::identity::Scope;
use crate::problem::{Problem, Result};
use crate::query::literal::text;
use crate::query::{Ask, Rows};

/// Items of a page when no limit is given.
const USUAL: u16 = 50;

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Parameters {
    /// Items at most (1 to 200).
    limit: Option<u16>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
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
#[utoipa::path(get, path = "/v1/conversions", tag = "performance", params(Parameters),
    responses((status = 200, body = Listed<ShownConversion>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    Query(parameters): Query<Parameters>,
) -> Result<Answer<Listed<ShownConversion>>> {
    let scope = Scope::Account(scope.one()?);
    let limit = usize::from(parameters.limit.unwrap_or(USUAL).clamp(1, MAX_LIMIT));
    let ask = Ask::newest(&app, scope).await?;
    let rows = ask.one(&statement(&parameters, limit)?).await?;
    let credits = credits(&ask, &rows).await?;
    let shown = rows.len().min(limit);
    let next_cursor =
        (rows.len() > limit).then(|| format!("{}.{}", rows.int(limit - 1, "at"), rows.int(limit - 1, "offset")));
    let mut credits = credits;
    let items =
        (0..shown).map(|row| conversion(&rows, row, credits.remove(&rows.int(row, "offset")).unwrap_or_default()));
    Ok(Answer(Listed { items: items.collect(), next_cursor }))
}

fn statement(parameters: &Parameters, limit: usize) -> Result<String> {
    let mut wanted = String::from("true");
    let mut and = |condition: String| {
        // Writing to a string cannot fail.
        write!(wanted, " AND {condition}").unwrap_or_default();
    };
    let given = [
        ("data_set_id", &parameters.data_set_id),
        ("event_type", &parameters.event_type),
        ("verdict", &parameters.verdict),
    ];
    for (column, value) in given {
        if let Some(value) = value {
            and(format!("{column} = {}", text(value)));
        }
    }
    if let Some(campaign) = parameters.campaign_id {
        and(format!("\"offset\" IN (SELECT conversion_offset FROM credits WHERE campaign_id = '{campaign}')"));
    }
    if let Some(cursor) = &parameters.cursor {
        let place = cursor.split_once('.').and_then(|(at, offset)| Some((at.parse().ok()?, offset.parse().ok()?)));
        let (at, offset): (i64, i64) =
            place.ok_or_else(|| Problem::field("cursor", "expected the next_cursor of this list"))?;
        and(format!(
            "(CAST(occurred_at AS BIGINT) < {at} OR (CAST(occurred_at AS BIGINT) = {at} AND \"offset\" < {offset}))"
        ));
    }
    Ok(format!(
        "SELECT CAST(occurred_at AS BIGINT) AS at, \"offset\", event_id, data_set_id, conversion_id, event_type, value_minor, \
         currency, source, verified, verdict, reason FROM conversions WHERE {wanted} \
         ORDER BY occurred_at DESC, \"offset\" DESC LIMIT {}",
        limit + 1
    ))
}

async fn credits(ask: &Ask<'_>, rows: &Rows) -> Result<HashMap<i64, Vec<Share>>> {
    let mut by_offset: HashMap<i64, Vec<Share>> = HashMap::new();
    if rows.len() == 0 {
        return Ok(by_offset);
    }
    let offsets: Vec<String> = (0..rows.len()).map(|row| rows.int(row, "offset").to_string()).collect();
    let credits = ask
        .one(&format!(
            "SELECT conversion_offset, campaign_id, model, credit_micro, revenue_minor FROM credits \
             WHERE campaign_id <> '' AND conversion_offset IN ({}) ORDER BY conversion_offset, campaign_id, model",
            offsets.join(", ")
        ))
        .await?;
    for row in 0..credits.len() {
        by_offset.entry(credits.int(row, "conversion_offset")).or_default().push(Share {
            campaign_id: credits.text(row, "campaign_id").to_owned(),
            model: credits.text(row, "model").to_owned(),
            credit: credited(credits.int(row, "credit_micro")),
            revenue_minor: credits.int(row, "revenue_minor"),
        });
    }
    Ok(by_offset)
}

fn conversion(rows: &Rows, row: usize, credits: Vec<Share>) -> ShownConversion {
    let text = |column| rows.text(row, column).to_owned();
    let value = rows.value(row, "value_minor").as_i64().zip(rows.text(row, "currency").parse().ok());
    ShownConversion {
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
