//! The dashboards and alerts against a live Prometheus that scrapes a live server: everything named exists, and runs.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{folder, yaml};
use crate::support::client::Client;
use crate::support::clock;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::program::Program;
use crate::support::server::Server;
use crate::support::traffic::{Traffic, episodes, to_json};
use crate::support::until;

/// The dashboards that there must be.
const DASHBOARDS: [&str; 3] = ["business", "operational", "product"];

/// What only a process in trouble, a mirror or Prometheus itself has.
const NOT_HERE: &[&str] = &["ALERTS"];

fn dashboard(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("grafana/dashboards/{name}.json"))).expect("a dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// The queries of a dashboard to a data source.
fn queries(dashboard: &Value, source: &str, field: &str) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let of = targets.filter(|target| target["datasource"]["type"] == source);
    of.map(|target| target[field].as_str().expect("a query").to_owned()).collect()
}

/// Every query to Prometheus: of dashboards, and of alerts.
fn expressions() -> Vec<String> {
    let of_dashboards = DASHBOARDS.iter().flat_map(|name| queries(&dashboard(name), "prometheus", "expr"));
    let rules = yaml(&folder().join("prometheus/rules.yml"));
    let groups = rules["groups"].as_array().expect("groups").clone();
    let rules = groups.into_iter().flat_map(|group| group["rules"].as_array().expect("rules").clone());
    let of_rules = rules.map(|rule| rule["expr"].as_str().expect("an expression").to_owned());
    of_dashboards.chain(of_rules).collect()
}

/// The metrics of ours that an expression names.
fn names(expression: &str) -> BTreeSet<String> {
    let named = regex::Regex::new(r"\b(castback_[a-z0-9_]+|process_[a-z0-9_]+|ALERTS)\b").expect("a pattern");
    named.find_iter(expression).map(|name| name.as_str().to_owned()).collect()
}

#[test]
fn every_dashboard_is_there_and_asks_the_sources_that_are_provided() {
    let provided = yaml(&folder().join("grafana/provisioning/datasources/datasources.yaml"));
    let sources: BTreeSet<(&str, &str)> = provided["datasources"]
        .as_array()
        .expect("sources")
        .iter()
        .map(|source| (source["type"].as_str().expect("a type"), source["uid"].as_str().expect("a uid")))
        .collect();
    let mut asked = BTreeSet::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert_eq!(dashboard["uid"], format!("castback-{name}"));
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().expect("panels") {
            assert!(ids.insert(panel["id"].as_i64()) && titles.insert(panel["title"].as_str()), "{name}: {panel}");
            for target in panel["targets"].as_array().into_iter().flatten() {
                let text = |field: &str| target["datasource"][field].as_str().unwrap_or_default();
                assert!(sources.contains(&(text("type"), text("uid"))), "{name}: {target}");
                asked.insert(text("type").to_owned());
            }
        }
    }
    assert_eq!(asked.len(), 2, "both sources are asked");
}

#[test]
fn flux_names_measurements_and_fields_that_are_mirrored() {
    let fields = regex::Regex::new(r#"r\._field == "([a-z_]+)""#).expect("a pattern");
    let measurements = regex::Regex::new(r#"r\._measurement == "([a-z_]+)""#).expect("a pattern");
    let mut seen = 0;
    for query in DASHBOARDS.iter().flat_map(|name| queries(&dashboard(name), "influxdb", "query")) {
        let measurement = measurements.captures(&query).expect("a measurement")[1].to_owned();
        let spec = castback_schemas::series::SERIES.iter().find(|spec| spec.name == measurement);
        let spec = spec.unwrap_or_else(|| panic!("{measurement} is no series"));
        for field in fields.captures_iter(&query) {
            assert!(spec.fields.contains(&&field[1]), "{measurement} has no {}", &field[1]);
            seen += 1;
        }
        for column in query.split("group(columns: [").skip(1).filter_map(|rest| rest.split(']').next()) {
            for column in column.split(", ").map(|column| column.trim_matches('"')) {
                assert!(column == "_field" || spec.tags.contains(&column), "{measurement} has no {column}");
            }
        }
        assert!(query.contains("range(start: v.timeRangeStart, stop: v.timeRangeStop)"), "{query}");
    }
    assert!(seen > 10, "{seen} fields");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_runs_and_every_metric_exists() {
    // A mirror that is never there: its metrics are.
    let settings = [
        ("METRICS_LISTEN", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
        ("TIMESERIES_DB_URL", "influxdb://127.0.0.1:1/castback"),
        ("PRICING_ENABLED", "true"),
    ];
    let server = Server::start_with(&settings).await;
    let lines = server.output();
    let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let said = |line: Value| line["fields"]["metrics.address"].as_str().map(str::to_owned);
    let metrics = lines.find_map(said).expect("it says where its metrics are");
    use_everything(&server).await;
    let exposed = Client::new(&format!("http://{metrics}")).get("/metrics").await.is(200).text();
    promtool_accepts(&exposed);

    let rules = folder().join("prometheus/rules.yml");
    let (_prometheus, address) = Program::start(("prometheus", "prometheus"), "/-/ready", |folder, address| {
        let file = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
             - job_name: castback\n  static_configs: [{{targets: ['{metrics}']}}]\n",
            rules.display()
        );
        std::fs::write(&file, text).expect("a configuration");
        let flags = ["--config.file", "--storage.tsdb.path", "--web.listen-address"];
        let values = [file.display().to_string(), folder.join("data").display().to_string(), address.to_owned()];
        flags.iter().zip(values).map(|(flag, value)| format!("{flag}={value}")).collect()
    })
    .await;
    let client = Client::new(&format!("http://{address}"));
    until("the server is scraped", async || {
        let up = query(&client, "castback_agent_last_success_timestamp_seconds").await;
        (!up.is_empty()).then_some(())
    })
    .await;
    let known: BTreeSet<String> = client.get("/api/v1/label/__name__/values").await.is(200).json()["data"]
        .as_array()
        .expect("names")
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let mut missing = BTreeSet::new();
    for expression in expressions() {
        let asked = expression.replace("$__rate_interval", "1m").replace("$__range", "1h");
        query(&client, &asked).await;
        missing.extend(names(&expression).into_iter().filter(|name| !known.contains(name)));
    }
    missing.retain(|name| !NOT_HERE.contains(&name.as_str()));
    assert!(missing.is_empty(), "named, but in no answer of a server that was used: {missing:?}");
    let alerts = client.get("/api/v1/rules").await.is(200).json();
    let unhealthy = |rule: &&Value| rule["health"] == "err";
    let groups = alerts["data"]["groups"].as_array().expect("groups").iter();
    let bad: Vec<&Value> =
        groups.flat_map(|group| group["rules"].as_array().expect("rules")).filter(unhealthy).collect();
    assert!(bad.is_empty(), "{bad:?}");
    // Rules are evaluated before the first scrape too: the alert was pending, and goes.
    until("it is known to be alive", async || {
        query(&client, "ALERTS{alertname=\"CastbackDown\"}").await.is_empty().then_some(())
    })
    .await;
    server.finish().await;
}

/// What an expression answers now.
async fn query(client: &Client, expression: &str) -> Vec<Value> {
    let body = format!("query={}", percent(expression));
    let answer = client.post_raw("/api/v1/query", "application/x-www-form-urlencoded", body).await;
    assert_eq!(answer.status, 200, "{expression}: {}", answer.text());
    answer.json()["data"]["result"].as_array().cloned().unwrap_or_default()
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02X}"))
}

fn promtool_accepts(exposed: &str) {
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().expect("promtool runs; tests/run installs it (Debian: prometheus)");
    tool.stdin.take().expect("its input").write_all(exposed.as_bytes()).expect("it reads");
    let done = tool.wait_with_output().expect("it ends");
    let words = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "promtool check metrics:\n{words}");
}

/// Does once what is counted: signs up, connects, launches, sends good and bad, reports, and is refused.
async fn use_everything(server: &Server) {
    let host = FeedHost::start().await;
    let account = server.client().sign_up("dashboards").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Seen", &episodes()))).await;
    let records: Vec<Value> = Traffic::new(1, &podcast, clock::now()).batch(50).iter().map(to_json).collect();
    account.post_all("/v1/listener-requests", &records).await;
    let mixed = json!([{"id": "no-request", "podcast_id": podcast}]);
    account.client.post("/v1/listener-requests", &mixed).await.is(202);
    let event = json!({"events": [{"id": "e", "type": "page_view", "occurred_at": "2026-01-01T00:00:00Z"}]});
    account.client.post("/v1/events", &event).await.is(202);
    let play = crate::journeys::figures::Play::new(&podcast);
    let campaign = crate::journeys::walk::launch(&account, &play, 0, "Seen").await;
    let body = json!({"kind": "roi", "campaign_id": campaign, "from": "2026-01-01", "to": "2026-12-31"});
    let report = account.client.post("/v1/reports", &body).await.is(202).json();
    let path = format!("/v1/reports/{}", report["id"].as_str().expect("an id"));
    until("the report is made", async || {
        let report = account.client.get(&path).await.is(200).json();
        (report["state"] == "ready").then_some(())
    })
    .await;
    account.settled(50).await;
}
