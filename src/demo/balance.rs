//! The identity: every record that was accepted is in one bucket.

use anyhow::ensure;
use castback_connectors::http::ServerClient;
use serde_json::Value;

use crate::client::problem;

/// The buckets, in the order of the identity.
const BUCKETS: [&str; 5] = ["counted", "duplicate", "filtered", "late", "dead_lettered"];

/// What the server says of the records it accepted.
#[derive(Debug, Clone)]
pub(crate) struct Balance {
    pub(crate) accepted: u64,
    pub(crate) pending: u64,
    balanced: bool,
    buckets: [u64; 5],
}

impl Balance {
    /// Of the caller's account.
    pub(crate) async fn read(client: &ServerClient) -> anyhow::Result<Self> {
        let answer = client.get("/v1/ledger/balance", "application/json").await?;
        ensure!(answer.is_success(), "{}", problem(&answer));
        Ok(Self::of(&serde_json::from_slice(&answer.body)?))
    }

    fn of(value: &Value) -> Self {
        let count = |name: &str| value[name].as_u64().unwrap_or(0);
        Self {
            accepted: count("accepted"),
            pending: count("pending"),
            balanced: value["balanced"] == true,
            buckets: BUCKETS.map(count),
        }
    }

    /// Whether the identity holds, by the server's word and by our own addition.
    pub(crate) fn holds(&self) -> bool {
        self.balanced && self.accepted == self.buckets.iter().sum::<u64>()
    }

    /// The identity in one line.
    pub(crate) fn line(&self) -> String {
        let parts: Vec<String> =
            BUCKETS.iter().zip(self.buckets).map(|(name, count)| format!("{count} {name}")).collect();
        let holds = if self.holds() { "balanced" } else { "NOT BALANCED" };
        let pending = if self.pending > 0 { format!("  ({} pending)", self.pending) } else { String::new() };
        format!("{} accepted = {}  {holds}{pending}", self.accepted, parts.join(" + "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_identity_is_added_up_again() {
        let mut value = json!({"accepted": 10, "counted": 4, "duplicate": 3, "filtered": 2, "late": 1, "dead_lettered": 0,
            "pending": 2, "balanced": true});
        let line = Balance::of(&value).line();
        assert_eq!(
            line,
            "10 accepted = 4 counted + 3 duplicate + 2 filtered + 1 late + 0 dead_lettered  balanced  (2 pending)"
        );
        value["late"] = json!(0);
        assert!(Balance::of(&value).line().contains("NOT BALANCED"), "whatever the server says");
    }
}
