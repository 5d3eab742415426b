//! What is there before the first listener: podcasts are connected, campaigns launched, through the API.

use anyhow::Context;
use castback_connectors::http::{Answer, ServerClient};
use castback_schemas::{Day, Micros};
use serde_json::{Value, json};

use super::cast::{BYTES_A_SECOND, CAMPAIGNS, Campaign, PODCASTS, Price};
use super::feeds::FeedHost;
use crate::client::problem;

/// Days of flight before and after the demo's first day.
const FLIGHT: (i32, i32) = (6, 23);

/// The ids that the server gave, by index.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) podcasts: Vec<String>,
    pub(crate) campaigns: Vec<String>,
    /// First day and the day after the last of every flight.
    pub(crate) flight: (Day, Day),
}

/// Connects what is not connected, launches what is not launched.
pub(crate) async fn set(client: &ServerClient, feeds: &FeedHost, begun: Micros) -> anyhow::Result<Stage> {
    let flight = (Day(begun.day().0 - FLIGHT.0), Day(begun.day().0 + FLIGHT.1));
    let known = list(client, "/v1/podcasts").await?;
    let mut podcasts = Vec::new();
    for podcast in &PODCASTS {
        let url = feeds.url(podcast);
        let found = known.iter().find(|known| known["feed_url"] == url).cloned();
        let connected = match found {
            Some(found) => found,
            None => post(client, "/v1/podcasts", &json!({ "feed_url": url })).await?,
        };
        podcasts.push(id(&connected)?);
    }
    let known = list(client, "/v1/campaigns").await?;
    let mut campaigns = Vec::new();
    for campaign in &CAMPAIGNS {
        campaigns.push(match known.iter().find(|known| known["name"] == campaign.name) {
            Some(found) => id(found)?,
            None => launch(client, campaign, (&podcasts, flight)).await?,
        });
    }
    Ok(Stage { podcasts, campaigns, flight: (flight.0, flight.1.next()) })
}

async fn launch(
    client: &ServerClient,
    campaign: &Campaign,
    (podcasts, (first, last)): (&[String], (Day, Day)),
) -> anyhow::Result<String> {
    let dollars = |amount: i64| json!({ "amount": amount, "currency": "USD" });
    let price = match campaign.price {
        Price::Cpm(cents) => json!({ "cpm": dollars(cents) }),
        Price::Flat(cents) => json!({ "flat": dollars(cents) }),
    };
    let spots = campaign.spots.iter().enumerate().map(|(number, (position, from, length))| {
        let byte = |second: u32| u64::from(second) * BYTES_A_SECOND;
        json!({ "id": format!("{position}-{number}"), "position": position, "dynamic": false,
                "from_byte": byte(*from), "to_byte": byte(from + length) })
    });
    let body = json!({
        "name": campaign.name,
        "advertiser": campaign.advertiser,
        "podcast_ids": campaign.podcasts.iter().filter_map(|index| podcasts.get(*index)).collect::<Vec<_>>(),
        "data_set_ids": [campaign.data_set],
        "landing_url": format!("https://{}.example/", campaign.data_set),
        "starts_on": first,
        "ends_on": last,
        "currency": "USD",
        "budget": dollars(campaign.budget),
        "price_model": price,
        "placements": spots.collect::<Vec<_>>(),
        "lookback_days": 14,
    });
    let made = post(client, "/v1/campaigns", &body).await?;
    let id = id(&made)?;
    let attribution = json!({
        "promo_codes": [campaign.promo_code], "vanity_slug": campaign.vanity_slug, "pixel": "shown",
    });
    let path = format!("/v1/campaigns/{id}/attribution");
    good(&client.put(&path, ("application/json", attribution.to_string().into())).await?)?;
    post(client, &format!("/v1/campaigns/{id}/launch"), &json!({})).await?;
    Ok(id)
}

async fn list(client: &ServerClient, path: &str) -> anyhow::Result<Vec<Value>> {
    let answer = good(&client.get(&format!("{path}?limit=200"), "application/json").await?)?;
    Ok(answer["items"].as_array().cloned().unwrap_or_default())
}

async fn post(client: &ServerClient, path: &str, body: &Value) -> anyhow::Result<Value> {
    let answer = client.post(path, ("application/json", body.to_string().into()), "application/json").await?;
    good(&answer).with_context(|| format!("POST {path}"))
}

fn good(answer: &Answer) -> anyhow::Result<Value> {
    anyhow::ensure!(answer.is_success(), "{}", problem(answer));
    Ok(serde_json::from_slice(&answer.body)?)
}

fn id(value: &Value) -> anyhow::Result<String> {
    Ok(value["id"].as_str().context("the server gave no id")?.to_owned())
}
