//! Two accounts: nothing of the one is ever seen by the other, on any route, by any query.

use std::time::Duration;

use castback_schemas::Slot;
use serde_json::{Value, json};

use super::figures::{Play, campaign_json, conversion_json};
use crate::support::client::{Account, Client};
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::{episodes, to_json};

/// In every name, id and text of the first account.
const CANARY: &str = "kanarienvogel";

/// A stream of events never ends by itself.
const STREAM: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_shows_the_other_account() {
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let owner = server.client().sign_up("owner").await;
    let stranger = neighbour(&server, &owner).await;
    let ids = fill(&owner, &host).await;

    let document = server.client().get("/openapi.json").await.is(200).json();
    let paths = document["paths"].as_object().expect("paths");
    let mut asked = 0;
    for (path, operations) in paths {
        if operations.get("get").is_none() {
            continue;
        }
        for filled in fill_in(path, &ids) {
            asked += 1;
            no_canary(&stranger.client, &filled, path.contains('{')).await;
            no_canary(&server.client(), &filled, false).await;
        }
    }
    assert!(asked > 20, "only {asked} routes were asked");
    writes_are_not_found(&stranger.client, &ids).await;
    no_query_shows_it(&owner, &stranger).await;
    let own = owner.client.get(&format!("/v1/podcasts/{}", ids.podcast)).await.is(200).text();
    assert!(own.contains(CANARY), "the owner sees it: {own}");
    server.finish().await;
}

struct Ids {
    podcast: String,
    campaign: String,
    report: String,
    event: String,
}

/// One of everything.
async fn fill(owner: &Account, host: &FeedHost) -> Ids {
    let podcast = owner.connect(&host.publish("/kanarienvogel.xml", &rss(CANARY, &episodes()))).await;
    let mut play = Play::new(&podcast);
    for request in &mut play.requests {
        request.id = format!("{CANARY}-{}", request.id);
    }
    for conversion in &mut play.conversions {
        conversion.id = format!("{CANARY}-{}", conversion.id);
    }
    let body = campaign_json(&play.campaigns[0], CANARY);
    let created = owner.client.post("/v1/campaigns", &body).await.is(201).json();
    let campaign = created["id"].as_str().expect("an id").to_owned();
    let attribution = json!({"promo_codes": [CANARY], "pixel": "off"});
    owner.client.put(&format!("/v1/campaigns/{campaign}/attribution"), &attribution).await.ok();
    owner.client.post(&format!("/v1/campaigns/{campaign}/launch"), &json!({})).await.ok();
    let records: Vec<Value> = play.requests.iter().map(to_json).collect();
    owner.post_all("/v1/listener-requests", &records).await;
    let conversions: Vec<Value> = play.conversions.iter().map(conversion_json).collect();
    owner.post_all("/v1/conversions", &conversions).await;
    let event = json!({"id": format!("{CANARY}-event"), "type": "page_view", "page": format!("/{CANARY}"),
                       "occurred_at": crate::oracle::access_log::rfc3339(crate::support::clock::now()),
                       "user_id": CANARY});
    owner.client.post("/v1/events", &json!({"events": [event]})).await.is(202);
    let report = json!({"kind": "roi", "campaign_id": campaign, "from": "2020-01-01", "to": "2020-02-01"});
    let report = owner.client.post("/v1/reports", &report).await.is(202).json();
    owner.settled(u64::try_from(records.len() + conversions.len() + 1).expect("a count")).await;
    Ids {
        podcast,
        campaign,
        report: report["id"].as_str().expect("an id").to_owned(),
        event: play.requests[0].id.clone(),
    }
}

/// An account whose rows are stored beside the first one's: from another slot, nobody reads them anyway.
async fn neighbour(server: &Server, of: &Account) -> Account {
    let slot = |account: &Account| Slot::of(account.id.parse().expect("an id"));
    let mut number = 0;
    loop {
        let account = server.client().sign_up(&format!("stranger-{number}")).await;
        if slot(&account) == slot(of) {
            return account;
        }
        number += 1;
    }
}

/// The path with the first account's ids, whichever of them its parameter could mean.
fn fill_in(path: &str, ids: &Ids) -> Vec<String> {
    if !path.contains('{') {
        let queries = [String::new(), format!("?event_id={}", ids.event), format!("?campaign_id={}", ids.campaign)];
        return queries.iter().map(|query| format!("{path}{query}")).collect();
    }
    let filled = |id: &String| {
        let mut rest = path;
        let mut whole = String::new();
        while let Some((head, tail)) = rest.split_once('{') {
            whole.push_str(head);
            whole.push_str(id);
            rest = tail.split_once('}').map_or("", |(_, tail)| tail);
        }
        whole + rest
    };
    [&ids.podcast, &ids.campaign, &ids.report].map(filled).to_vec()
}

async fn no_canary(client: &Client, path: &str, must_be_hidden: bool) {
    let Ok(answer) = tokio::time::timeout(STREAM, client.get(path)).await else { return };
    assert!(!answer.text().contains(CANARY), "{path} shows another account: {}", answer.text());
    assert!(answer.status < 500, "{path}: {} {}", answer.status, answer.text());
    if must_be_hidden && path.starts_with("/v1/") {
        assert!(matches!(answer.status, 400 | 403 | 404 | 405), "{path}: {} {}", answer.status, answer.text());
    }
}

async fn writes_are_not_found(stranger: &Client, ids: &Ids) {
    let (podcast, campaign) = (&ids.podcast, &ids.campaign);
    for action in ["launch", "pause", "resume", "complete", "cancel"] {
        let path = format!("/v1/campaigns/{campaign}/{action}");
        stranger.post(&path, &json!({})).await.problem(404, "not_found");
    }
    stranger.put(&format!("/v1/campaigns/{campaign}/attribution"), &json!({"promo_codes": ["X"]})).await.is(404);
    stranger.patch(&format!("/v1/campaigns/{campaign}"), &json!({"name": "mine"})).await.is(404);
    stranger.patch(&format!("/v1/podcasts/{podcast}"), &json!({"window": "utc_day"})).await.is(404);
    stranger.delete(&format!("/v1/campaigns/{campaign}")).await.is(404);
    stranger.delete(&format!("/v1/podcasts/{podcast}")).await.is(404);
    stranger.post(&format!("/v1/podcasts/{podcast}/poll"), &json!({})).await.is(404);
    let report = json!({"kind": "roi", "campaign_id": campaign, "from": "2020-01-01", "to": "2020-02-01"});
    let answer = stranger.post("/v1/reports", &report).await;
    assert!(matches!(answer.status, 404 | 422), "{}", answer.text());
    let log = stranger.post_raw(&format!("/v1/listener-requests?podcast_id={podcast}"), "text/plain", "").await;
    assert!((400..500).contains(&log.status) || log.json()["accepted"] == 0, "{}", log.text());
}

async fn no_query_shows_it(owner: &Account, stranger: &Account) {
    let tables = stranger.client.get("/v1/sql/tables").await.is(200).text();
    assert!(tables.contains("ledger"), "{tables}");
    let names = stranger.sql("SELECT table_schema, table_name FROM information_schema.tables").await;
    assert!(!names.is_empty());
    for row in names {
        let (Some(schema), Some(name)) = (row[0].as_str(), row[1].as_str()) else { continue };
        let answer =
            stranger.client.post("/v1/sql", &json!({"sql": format!("SELECT * FROM {schema}.\"{name}\"")})).await;
        assert!(!answer.text().contains(CANARY), "{schema}.{name} shows another account");
        assert!(!answer.text().contains(&owner.id), "{schema}.{name} shows another account's id");
    }
    let escapes = [
        format!("SELECT event_id FROM ledger WHERE account_id = '{}'", owner.id),
        "SELECT a.event_id FROM ledger a JOIN ledger b ON a.account_id <> b.account_id".to_owned(),
        "WITH all_of_it AS (SELECT * FROM ledger_history) SELECT event_id FROM all_of_it".to_owned(),
        "SELECT event_id FROM ledger UNION ALL SELECT event_id FROM ledger_history OR 1 = 1".to_owned(),
        "SELECT event_id FROM ledger WHERE account_id = account_id OR TRUE".to_owned(),
        format!("SELECT CAST((SELECT MAX(event_id) FROM ledger WHERE event_id LIKE '{CANARY}%') AS BIGINT)"),
        "SELECT COUNT(*) FROM ledger HAVING COUNT(*) > 0".to_owned(),
        "SELECT name FROM campaigns".to_owned(),
        "SELECT email FROM users".to_owned(),
    ];
    for sql in escapes {
        let answer = stranger.client.post("/v1/sql", &json!({"sql": sql})).await;
        let shown = answer.text().replace(CANARY, if sql.contains(CANARY) { "" } else { CANARY });
        assert!(!shown.contains(CANARY) && !shown.contains("owner@"), "{sql} shows another account: {shown}");
    }
    assert_eq!(stranger.sql_number("SELECT COUNT(*) FROM ledger").await, 0);
    assert!(owner.sql_number("SELECT COUNT(*) FROM ledger").await > 0);
}
