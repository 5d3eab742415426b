//! The schema registry: subjects, their versions, and ids that never change.
//!
//! [`SchemaRegistry`] is what writers and readers of topics ask. The one built in is the [`Catalogue`]; one of others
//! is asked over HTTP, elsewhere.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use castback_schemas::codec::schema_fingerprint;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::db::{Tx, take_numbers};
use crate::error::{CatalogueError, Result};
use crate::stored::column;

/// Who gives schemas the ids by which records name them: the catalogue, or a registry of others.
#[async_trait]
pub trait SchemaRegistry: fmt::Debug + Send + Sync {
    /// The id of a schema, which is registered under `subject` if it is not yet.
    async fn register(&self, subject: &str, text: &str) -> Result<u32, RegistryError>;

    /// The text of a schema; none if the registry says that it has no such id.
    async fn look_up(&self, id: u32) -> Result<Option<String>, RegistryError>;
}

/// Why a registry gave no answer. Nothing may be concluded about a schema; it is asked again later.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry is the catalogue, which does not answer.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// It can't be reached, or can't answer now.
    #[error("the schema registry does not answer")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// It does not want to: not for this user, or not this schema.
    #[error("the schema registry refuses ({status}): {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// In the registry's words.
        detail: String,
    },
    /// What came back is not what a registry answers.
    #[error("this is no answer of a schema registry ({status}): {detail}")]
    Answer {
        /// The HTTP status.
        status: u16,
        /// What came back, shortened.
        detail: String,
    },
}

impl RegistryError {
    /// Whether the same question may be answered later without anybody changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Catalogue(error) => error.retryable(),
            Self::Unavailable(_) => true,
            Self::Refused { .. } | Self::Answer { .. } => false,
        }
    }
}

#[async_trait]
impl SchemaRegistry for Catalogue {
    async fn register(&self, subject: &str, text: &str) -> Result<u32, RegistryError> {
        let known = self.register_schema(subject, text, &schema_fingerprint(text)).await?;
        Ok(u32::try_from(known.id).map_err(|_| CatalogueError::unreadable("schema number"))?)
    }

    async fn look_up(&self, id: u32) -> Result<Option<String>, RegistryError> {
        // An id of the registry is a positive 32-bit number.
        let Ok(id) = i32::try_from(id) else { return Ok(None) };
        Ok(self.schema(id).await?)
    }
}

/// A version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSchema {
    /// The subject.
    pub subject: String,
    /// Counts from 1 in its subject.
    pub version: i32,
    /// The schema's id, by which records name it.
    pub id: i32,
    /// The schema's text.
    pub text: String,
}

impl Catalogue {
    /// Registers a schema under a subject; the same schema (by `fingerprint`) has the same id
    /// everywhere and one version in a subject. Compatibility is the caller's to check.
    pub async fn register_schema(&self, subject: &str, text: &str, fingerprint: &str) -> Result<RegisteredSchema> {
        let (subject, text, fingerprint) = (subject.to_owned(), text.to_owned(), fingerprint.to_owned());
        self.db.change(move |tx| Box::pin(register(tx, subject, text, fingerprint))).await
    }

    /// The text of a schema.
    pub async fn schema(&self, id: i32) -> Result<Option<String>> {
        Ok(sqlx::query_scalar("SELECT body FROM registry_schemas WHERE schema_id = $1")
            .bind(i64::from(id))
            .fetch_optional(self.db.reads())
            .await?)
    }

    /// Every id there is.
    pub async fn schema_ids(&self) -> Result<Vec<i32>> {
        let ids: Vec<i64> = sqlx::query_scalar("SELECT schema_id FROM registry_schemas ORDER BY schema_id")
            .fetch_all(self.db.reads())
            .await?;
        ids.into_iter().map(small).collect()
    }

    /// Every subject.
    pub async fn subjects(&self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT DISTINCT subject FROM registry_versions ORDER BY subject")
            .fetch_all(self.db.reads())
            .await?)
    }

    /// The versions of a subject, oldest first; empty if there is no such subject.
    pub async fn subject_versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let rows = sqlx::query(
            "SELECT subject, version, registry_schemas.schema_id AS schema_id, body FROM registry_versions \
             JOIN registry_schemas ON registry_schemas.schema_id = registry_versions.schema_id \
             WHERE subject = $1 ORDER BY version",
        )
        .bind(subject.to_owned())
        .fetch_all(self.db.reads())
        .await?;
        rows.iter().map(registered).collect()
    }
}

async fn register(tx: &mut Tx, subject: String, text: String, fingerprint: String) -> Result<RegisteredSchema> {
    // The number is taken first: two that register at once come one after the other.
    let id = take_numbers(tx, "schema", 1).await?;
    let stored = sqlx::query(
        "INSERT INTO registry_schemas (schema_id, fingerprint, body) VALUES ($1, $2, $3) \
         ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint RETURNING schema_id, body",
    )
    .bind(id)
    .bind(fingerprint)
    .bind(text)
    .fetch_one(&mut *tx)
    .await?;
    let (known, body): (i64, String) = (column(&stored, "schema_id")?, column(&stored, "body")?);
    if known != id {
        take_numbers(tx, "schema", -1).await?;
    }
    sqlx::query(
        "INSERT INTO registry_versions (subject, version, schema_id) SELECT $1, COALESCE(MAX(version), 0) + 1, $2 \
         FROM registry_versions WHERE subject = $1 ON CONFLICT (subject, schema_id) DO NOTHING",
    )
    .bind(subject.clone())
    .bind(known)
    .execute(&mut *tx)
    .await?;
    let version: i64 =
        sqlx::query_scalar("SELECT version FROM registry_versions WHERE subject = $1 AND schema_id = $2")
            .bind(subject.clone())
            .bind(known)
            .fetch_one(tx)
            .await?;
    Ok(RegisteredSchema { subject, version: small(version)?, id: small(known)?, text: body })
}

fn registered(row: &AnyRow) -> Result<RegisteredSchema> {
    Ok(RegisteredSchema {
        subject: column(row, "subject")?,
        version: small(column(row, "version")?)?,
        id: small(column(row, "schema_id")?)?,
        text: column(row, "body")?,
    })
}

/// Ids and versions are 32-bit numbers on the wire.
fn small(number: i64) -> Result<i32> {
    i32::try_from(number).map_err(|_| CatalogueError::unreadable("schema number"))
}
