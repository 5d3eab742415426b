//! A schema registry of others, in the words of Confluent's: `SCHEMA_REGISTRY_URL`.
//!
//! Its address comes from the operator, so it may well be a private one; user and password in it are sent by Basic and
//! shown nowhere.
//!
//! What an id means is remembered within bounds: a registry of others may hold more schemas than there is memory, and
//! whoever writes to a topic chooses the ids that are looked up.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use castback_catalogue::registry::{RegistryError, SchemaRegistry};
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::{Url, form_urlencoded};

use crate::http::{Answer, ServerClient, ServerError};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Letters of an answer that are kept for people.
const DETAIL: usize = 300;

/// How such registries write JSON.
const KIND: &str = "application/vnd.schemaregistry.v1+json";

/// What is read of them.
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// The `error_code` of an id that the registry does not have.
const NO_SUCH_SCHEMA: u32 = 40_403;

/// Texts that are remembered, 16 MiB: hundreds of schemas even where they are large, and a topic has a few. Of more, the
/// least asked for are asked for again.
const MAX_KNOWN: u64 = 16 << 20;

/// What a text costs in memory beside itself, in bytes.
const TEXT_OVERHEAD: usize = 256;

/// The text is no address of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected https://host:8081 or http://, with user:password@ before the host if it wants them")]
pub struct AddressError;

/// Where a registry is, and as whom it is asked.
#[derive(Debug, Clone)]
pub struct RegistryAddress {
    /// Without user and password, so that it may be shown.
    pub base: Url,
    user: Option<(String, SecretString)>,
}

impl std::str::FromStr for RegistryAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut base = Url::parse(text.trim()).map_err(|_| AddressError)?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || base.fragment().is_some() {
            return Err(AddressError);
        }
        let user = match (base.username(), base.password()) {
            ("", None) => None,
            (user, password) => Some((decoded(user), SecretString::from(decoded(password.unwrap_or_default())))),
        };
        base.set_username("").and_then(|()| base.set_password(None)).map_err(|()| AddressError)?;
        Ok(Self { base, user })
    }
}

/// A user or a password without its percent escapes. In a form `+` and `&` would mean something.
fn decoded(text: &str) -> String {
    let text = text.replace('+', "%2B").replace('&', "%26");
    form_urlencoded::parse(text.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

/// A registry of others.
#[derive(Debug)]
pub struct RemoteRegistry {
    client: ServerClient,
    /// Texts by id: what an id means never changes.
    known: Cache<u32, String>,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
struct Schema {
    schema: String,
}

/// What such registries say of a refusal.
#[derive(Deserialize)]
struct Refusal {
    error_code: Option<u32>,
    message: Option<String>,
}

impl RemoteRegistry {
    /// A client of the registry at `address`; nothing is asked yet.
    pub fn new(address: &RegistryAddress) -> Result<Self, ServerError> {
        let base = address.base.clone();
        let client = match &address.user {
            None => ServerClient::new(base, None)?,
            Some((user, password)) => ServerClient::with_password(base, user, password.expose_secret())?,
        };
        Ok(Self { client, known: texts() })
    }

    /// Every subject: whether it can be reached, lets us in and answers as a registry does.
    pub async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        read(&ask(self.client.get("/subjects", ACCEPT)).await?)
    }
}

#[async_trait]
impl SchemaRegistry for RemoteRegistry {
    async fn register(&self, subject: &str, text: &str) -> Result<u32, RegistryError> {
        let body = Bytes::from(json!({ "schema": text }).to_string());
        let path = format!("/subjects/{subject}/versions");
        let Registered { id } = read(&ask(self.client.post(&path, (KIND, body), ACCEPT)).await?)?;
        Ok(id)
    }

    async fn look_up(&self, id: u32) -> Result<Option<String>, RegistryError> {
        let known = self.known.get(&id);
        if known.is_some() {
            return Ok(known);
        }
        let answer = ask(self.client.get(&format!("/schemas/ids/{id}"), ACCEPT)).await?;
        // A 404 alone may be another server's, or a wrong path's.
        if answer.status == 404 && refusal(&answer).error_code == Some(NO_SUCH_SCHEMA) {
            return Ok(None);
        }
        let Schema { schema } = read(&answer)?;
        self.known.insert(id, schema.clone());
        Ok(Some(schema))
    }
}

/// Texts by id, up to [`MAX_KNOWN`].
fn texts() -> Cache<u32, String> {
    let size = |_: &u32, text: &String| u32::try_from(text.len() + TEXT_OVERHEAD).unwrap_or(u32::MAX);
    Cache::builder().weigher(size).max_capacity(MAX_KNOWN).build()
}

async fn ask(call: impl Future<Output = Result<Answer, ServerError>>) -> Result<Answer, RegistryError> {
    let answered = tokio::time::timeout(PATIENCE, call).await;
    let answered = answered.map_err(|late| RegistryError::Unavailable(Box::new(late)))?;
    answered.map_err(|error| RegistryError::Unavailable(Box::new(error)))
}

/// What a good answer says.
fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, RegistryError> {
    let status = answer.status;
    let detail = || refusal(answer).message.unwrap_or_else(|| shortened(&answer.body));
    match status {
        200..=299 => serde_json::from_slice(&answer.body)
            .map_err(|_| RegistryError::Answer { status, detail: shortened(&answer.body) }),
        429 | 500.. => Err(RegistryError::Unavailable(format!("it answers {status}: {}", detail()).into())),
        401 | 403 | 409 | 422 => Err(RegistryError::Refused { status, detail: detail() }),
        _ => Err(RegistryError::Answer { status, detail: detail() }),
    }
}

fn refusal(answer: &Answer) -> Refusal {
    serde_json::from_slice(&answer.body).unwrap_or(Refusal { error_code: None, message: None })
}

fn shortened(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    /// A registry that gives these answers, a connection each; then what it was asked.
    async fn answering(answers: &'static [(&'static str, &'static str)]) -> (RemoteRegistry, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://castback:p%40ss+word@{}/under", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
            }
            asked
        });
        (RemoteRegistry::new(&address.parse().unwrap()).unwrap(), asked)
    }

    #[tokio::test]
    async fn schemas_are_registered_and_looked_up_once() {
        let (registry, asked) = answering(&[
            ("200 OK", r#"{"id": 7}"#),
            ("200 OK", r#"{"schema": "\"long\""}"#),
            ("404 Not Found", r#"{"error_code": 40403, "message": "Schema not found"}"#),
        ])
        .await;
        assert_eq!(registry.register("a-value", "\"long\"").await.unwrap(), 7);
        for _ in 0..2 {
            assert_eq!(registry.look_up(7).await.unwrap().as_deref(), Some("\"long\""));
        }
        assert_eq!(registry.look_up(8).await.unwrap(), None);
        let asked = asked.await.unwrap();
        assert!(asked[0].starts_with("POST /under/subjects/a-value/versions HTTP/1.1"), "{}", asked[0]);
        // castback:p@ss+word
        assert!(asked[0].contains("Basic Y2FzdGJhY2s6cEBzcyt3b3Jk"), "{}", asked[0]);
        assert!(asked[1].starts_with("GET /under/schemas/ids/7 HTTP/1.1"), "{}", asked[1]);
    }

    #[tokio::test]
    async fn what_says_nothing_of_an_id_does_not_make_it_unknown() {
        let (registry, _asked) = answering(&[
            ("404 Not Found", "<html>no such page</html>"),
            ("401 Unauthorized", r#"{"error_code": 401, "message": "who?"}"#),
            ("503 Service Unavailable", ""),
            ("200 OK", "hello"),
        ])
        .await;
        assert!(matches!(registry.look_up(1).await, Err(RegistryError::Answer { status: 404, .. })));
        let refused = registry.look_up(1).await.unwrap_err();
        assert!(matches!(&refused, RegistryError::Refused { status: 401, detail } if detail == "who?"));
        assert!(registry.look_up(1).await.unwrap_err().retryable());
        assert!(matches!(registry.look_up(1).await, Err(RegistryError::Answer { status: 200, .. })));
        // Now nobody listens.
        assert!(registry.look_up(1).await.unwrap_err().retryable());
    }

    #[test]
    fn texts_are_remembered_within_bounds() {
        for (count, length) in [(64, 1 << 20), (200_000, 6)] {
            let known = texts();
            (0..count).for_each(|id| known.insert(id, "x".repeat(length)));
            known.run_pending_tasks();
            assert!(known.entry_count() > 0);
            let held: usize = known.iter().map(|(_, text)| text.len() + TEXT_OVERHEAD).sum();
            assert!(held as u64 <= MAX_KNOWN, "{held} bytes of {count} texts");
        }
    }

    #[test]
    fn an_address_shows_no_password() {
        let address: RegistryAddress = "https://me:secret@registry:8081/".parse().unwrap();
        assert_eq!(address.base.as_str(), "https://registry:8081/");
        assert!(!format!("{address:?} {:?}", RemoteRegistry::new(&address).unwrap()).contains("secret"));
        for text in ["registry:8081", "kafka://h", "https://h/?x", "https://h/#x"] {
            assert!(text.parse::<RegistryAddress>().is_err(), "{text}");
        }
    }
}
