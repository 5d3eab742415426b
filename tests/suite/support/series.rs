//! The server of a mirror, as somebody else reads it: `VictoriaMetrics`, or the InfluxDB 2 of `CASTBACK_TEST_INFLUX_URL`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::Client;
use super::servers::OwnServer;

/// Values of a measurement's fields: by tags, seconds and field. A server may keep older ones beside the newest.
pub(crate) type Values = BTreeMap<(Vec<String>, i64, String), BTreeSet<i64>>;

/// A server to mirror to.
pub(crate) enum SeriesServer {
    /// It ends with the test.
    Victoria {
        _server: OwnServer,
        client: Client,
        host: String,
    },
    Influx {
        client: Client,
        host: String,
        bucket: String,
        organization: String,
    },
}

impl SeriesServer {
    pub(crate) fn start() -> Self {
        let Ok(address) = std::env::var("CASTBACK_TEST_INFLUX_URL") else { return victoria() };
        let (host, bucket) = address
            .strip_prefix("influxdb://")
            .and_then(|rest| rest.split_once('/'))
            .expect("CASTBACK_TEST_INFLUX_URL is influxdb://host:port/bucket");
        let organization = std::env::var("INFLUX_ORG").expect("INFLUX_ORG is set beside CASTBACK_TEST_INFLUX_URL");
        let client = Client::new(&format!("http://{host}"));
        Self::Influx { client, host: host.to_owned(), bucket: bucket.to_owned(), organization }
    }

    /// `host:port`
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Victoria { host, .. } | Self::Influx { host, .. } => host,
        }
    }

    pub(crate) fn bucket(&self) -> &str {
        match self {
            Self::Victoria { .. } => "castback",
            Self::Influx { bucket, .. } => bucket,
        }
    }

    /// What the product needs to know beside the address.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let given = |name: &'static str| std::env::var(name).ok().map(|value| (name, value));
        match self {
            Self::Victoria { .. } => vec![("INFLUX_TOKEN", "not-looked-at".to_owned())],
            Self::Influx { .. } => ["INFLUX_TOKEN", "INFLUX_ORG"].into_iter().filter_map(given).collect(),
        }
    }

    /// Everything under a measurement for an account.
    pub(crate) async fn values(&self, measurement: &str, tags: &[&str], account: &str) -> Values {
        match self {
            Self::Victoria { client, .. } => of_victoria(client, measurement, tags, account).await,
            Self::Influx { client, bucket, organization, .. } => {
                let flux = format!(
                    "from(bucket: \"{bucket}\") |> range(start: 0) |> filter(fn: (r) => r._measurement == \
                     \"{measurement}\" and r.account_id == \"{account}\") |> map(fn: (r) => ({{r with at: int(v: r._time)}})) \
                     |> keep(columns: [\"at\", \"_field\", \"_value\", {}])",
                    tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ")
                );
                of_influx(client, organization, (&flux, tags)).await
            }
        }
    }
}

fn victoria() -> SeriesServer {
    let (server, host) = OwnServer::start("victoria");
    let client = Client::new(&format!("http://{host}"));
    SeriesServer::Victoria { _server: server, client, host }
}

async fn of_victoria(client: &Client, measurement: &str, tags: &[&str], account: &str) -> Values {
    // What was written a moment ago is not to be seen before that.
    client.get("/internal/force_flush").await;
    let query = format!("%7B__name__%3D~%22{measurement}_.*%22,account_id%3D%22{account}%22%7D");
    let answer = client.get(&format!("/api/v1/export?reduce_mem_usage=1&match%5B%5D={query}")).await.is(200).text();
    let mut values = Values::new();
    for line in answer.lines() {
        let series: Value = serde_json::from_str(line).expect("a series in JSON");
        let metric = |name: &str| series["metric"][name].as_str().unwrap_or_default().to_owned();
        let field = metric("__name__").replacen(&format!("{measurement}_"), "", 1);
        let of: Vec<String> = tags.iter().map(|tag| metric(tag)).collect();
        let numbers = |name: &str| series[name].as_array().expect("numbers").iter().map(whole).collect::<Vec<_>>();
        for (at, value) in numbers("timestamps").into_iter().zip(numbers("values")) {
            values.entry((of.clone(), at / 1_000, field.clone())).or_default().insert(value);
        }
    }
    values
}

#[expect(clippy::cast_possible_truncation, reason = "counts below 2^53, which JSON writes as floats")]
fn whole(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64)).expect("a number")
}

async fn of_influx(client: &Client, organization: &str, (flux, tags): (&str, &[&str])) -> Values {
    let client = match std::env::var("INFLUX_TOKEN") {
        Ok(token) => client.clone().with_token(&token),
        Err(_) => client.clone(),
    };
    let path = format!("/api/v2/query?org={organization}");
    let answer = client.post_raw(&path, "application/vnd.flux", flux).await.is(200).text();
    let mut values = Values::new();
    let mut names: Vec<&str> = Vec::new();
    for line in answer.lines().map(str::trim_end) {
        let cells: Vec<&str> = line.split(',').collect();
        if line.is_empty() || line.starts_with('#') {
            names.clear();
        } else if names.is_empty() {
            names = cells;
        } else {
            let cell = |name: &str| names.iter().position(|n| *n == name).map_or("", |column| cells[column]).to_owned();
            let at = cell("at").parse::<i64>().expect("a time") / 1_000_000_000;
            let of = tags.iter().map(|tag| cell(tag)).collect();
            values.entry((of, at, cell("_field"))).or_default().insert(cell("_value").parse().expect("a count"));
        }
    }
    values
}
