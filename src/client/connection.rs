//! Which server, as whom, about whose data; and what its answers mean.

use anyhow::{Context, bail};
use castback_connectors::http::{Answer, ServerClient};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::command::ServerArguments;
use crate::data_dir;
use crate::failure::BadUsage;

/// What is wanted where nothing else is said.
pub(crate) const JSON: &str = "application/json";

/// A server and who calls it.
#[derive(Debug)]
pub(crate) struct Connection {
    http: ServerClient,
    account: Option<String>,
    is_operator: OnceCell<bool>,
}

impl Connection {
    /// The server that the arguments name, else the one of this machine; as `CASTBACK_API_KEY`, else the operator.
    pub(crate) fn open(at: &ServerArguments) -> anyhow::Result<Self> {
        let base = match &at.server {
            Some(url) => url.clone(),
            None => found(at)?,
        };
        let key = match std::env::var("CASTBACK_API_KEY").ok().filter(|key| !key.trim().is_empty()) {
            Some(key) => Some(key.into()),
            None => data_dir::operator_key(&at.data)?,
        };
        let Some(key) = key else {
            return Err(BadUsage::because(format!(
                "no key: set CASTBACK_API_KEY, or name the server's data directory with --data (there is no operator-key in {})",
                at.data.display()
            )));
        };
        Self::of(base, key.expose_secret(), at.account.clone())
    }

    /// A connection as a known caller.
    pub(crate) fn of(base: Url, key: &str, account: Option<String>) -> anyhow::Result<Self> {
        let http = ServerClient::new(base, Some(key.trim())).context("the server can't be called")?;
        Ok(Self { http, account, is_operator: OnceCell::new() })
    }

    /// Reads `path`, about the account that is asked for.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let path = self.scoped(path).await?;
        Ok(self.http.get(&path, JSON).await?)
    }

    /// Posts JSON to `path`, about the account that is asked for.
    pub(crate) async fn post(&self, path: &str, body: &Value, accept: &str) -> anyhow::Result<Answer> {
        let path = self.scoped(path).await?;
        Ok(self.http.post(&path, (JSON, body.to_string().into()), accept).await?)
    }

    /// Posts JSON to `path`, about one account: the one asked for, else the caller's own.
    pub(crate) async fn post_one(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let path = self.account.as_ref().map_or_else(|| path.to_owned(), |account| about(path, account));
        Ok(self.http.post(&path, (JSON, body.to_string().into()), JSON).await?)
    }

    /// The client underneath, for what is about nobody's account.
    pub(crate) fn http(&self) -> &ServerClient {
        &self.http
    }

    /// The path with the account asked for; an operator's default is everybody's.
    async fn scoped(&self, path: &str) -> anyhow::Result<String> {
        let account = match &self.account {
            Some(account) => Some(account.as_str()),
            None => self.operator().await?.then_some("all"),
        };
        Ok(account.map_or_else(|| path.to_owned(), |account| about(path, account)))
    }

    async fn operator(&self) -> anyhow::Result<bool> {
        let ask = async {
            let me = json(&self.http.get("/v1/users/me", JSON).await?)?;
            anyhow::Ok(me["operator"] == true)
        };
        self.is_operator.get_or_try_init(|| ask).await.copied()
    }
}

/// The path, about `account`.
fn about(path: &str, account: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}account={}", encoded(account))
}

/// The address that a server of this machine left in its data directory.
fn found(at: &ServerArguments) -> anyhow::Result<Url> {
    let Some(address) = data_dir::address(&at.data)? else {
        return Err(BadUsage::because(format!(
            "no server: name it with --server or CASTBACK_URL, or its data directory with --data (none runs in {})",
            at.data.display()
        )));
    };
    Url::parse(&address).with_context(|| format!("{} holds no address", at.data.join("address").display()))
}

/// A text as part of a path or query.
pub(crate) fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The body of a good answer; what a bad one says is the error.
pub(crate) fn json(answer: &Answer) -> anyhow::Result<Value> {
    good(answer)?;
    serde_json::from_slice(&answer.body).context("the server's answer is no JSON: is it a Castback server?")
}

/// An error unless the status is 2xx.
pub(crate) fn good(answer: &Answer) -> anyhow::Result<()> {
    if answer.is_success() {
        return Ok(());
    }
    bail!("{}", problem(answer))
}

/// What a problem (RFC 9457) says, in one line.
pub(crate) fn problem(answer: &Answer) -> String {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let (title, detail) = (text("title"), text("detail"));
    let fields = problem["errors"].as_array().into_iter().flatten().map(|error| {
        let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        format!("{}: {}", part("field"), part("detail"))
    });
    let parts = [title, detail].into_iter().chain(fields).filter(|part| !part.is_empty());
    let said = parts.collect::<Vec<_>>().join(": ");
    if said.is_empty() { format!("the server answered {}", answer.status) } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            status,
            content_type: String::new(),
            retry_after: None,
            truncated: false,
            body: body.as_bytes().into(),
        }
    }

    #[test]
    fn a_problem_is_told_in_its_own_words() {
        let body = r#"{"type":"urn:castback:problem:invalid_fields","title":"Invalid fields","status":422,
            "errors":[{"field":"sql","detail":"only queries"}]}"#;
        assert_eq!(problem(&answer(422, body)), "Invalid fields: sql: only queries");
        assert_eq!(problem(&answer(502, "<html>")), "the server answered 502");
        assert!(json(&answer(200, "<html>")).is_err());
    }

    #[test]
    fn texts_are_safe_in_a_path() {
        assert_eq!(encoded("a/b c?d&é"), "a%2Fb%20c%3Fd%26%C3%A9");
    }

    #[test]
    fn without_a_server_or_a_key_the_words_help() {
        let folder = tempfile::tempdir().unwrap();
        let at = ServerArguments { server: None, data: folder.path().to_owned(), account: None };
        assert!(found(&at).unwrap_err().to_string().contains("--server"));
    }
}
