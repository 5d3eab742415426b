//! A catalogue of its own for every test, and the things tests make again and again.

use std::sync::Arc;

use castback_catalogue::Catalogue;
use castback_catalogue::people::{NewUser, SignedUp};
use castback_catalogue::podcasts::{NewPodcast, Podcast};
use castback_catalogue::units::Held;
use castback_schemas::campaign::CampaignTerms;
use castback_schemas::id::AccountId;
use castback_schemas::{Group, ManualClock, Micros, Slot, Unit};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

/// Where the clock of every test begins: 2026-03-01, noon.
pub(crate) const NOON: Micros = Micros(1_772_366_400_000_000);

/// A catalogue on an empty database.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) catalogue: Catalogue,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) url: String,
    directory: Option<tempfile::TempDir>,
}

impl House {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/castback.db", directory.path().display());
        Self::open(url, Some(directory)).await
    }

    /// A schema of its own on the server, made anew.
    pub(crate) async fn postgres(name: &str) -> Self {
        let server = std::env::var("CASTBACK_TEST_POSTGRES_URL")
            .expect("CASTBACK_TEST_POSTGRES_URL names no database: tests/run starts one, or see tests/servers/all");
        let schema: String = name.replace("::", "_").chars().take(60).collect();
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&server).await.unwrap();
        let anew = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
        sqlx::raw_sql(AssertSqlSafe(anew)).execute(&mut connection).await.unwrap();
        let separator = if server.contains('?') { '&' } else { '?' };
        Self::open(format!("{server}{separator}options=-csearch_path%3D{schema}"), None).await
    }

    async fn open(url: String, directory: Option<tempfile::TempDir>) -> Self {
        let clock = Arc::new(ManualClock::at(NOON));
        let catalogue = Catalogue::open(&url, clock.clone(), [1; 32]).await.unwrap();
        Self { catalogue, clock, url, directory }
    }

    /// Another process on the same database.
    pub(crate) async fn neighbour(&self, seed: u8) -> Catalogue {
        Catalogue::open(&self.url, self.clock.clone(), [seed; 32]).await.unwrap()
    }

    /// The address of an empty database beside this one; it goes where this one goes.
    pub(crate) async fn beside(&self, name: &str) -> String {
        let Some(directory) = &self.directory else {
            let (server, schema) = self.url.rsplit_once("%3D").unwrap();
            let schema = format!("{}_{name}", schema.chars().take(40).collect::<String>());
            let mut connection = AnyConnection::connect(&self.url).await.unwrap();
            let anew = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
            sqlx::raw_sql(AssertSqlSafe(anew)).execute(&mut connection).await.unwrap();
            return format!("{server}%3D{schema}");
        };
        format!("sqlite://{}/{name}.db", directory.path().display())
    }

    /// Changes the database behind the catalogue's back.
    pub(crate) async fn sql(&self, text: &'static str) {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One number from the database behind the catalogue's back.
    pub(crate) async fn number(&self, text: &'static str) -> i64 {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap()
    }

    pub(crate) async fn person(&self, name: &str) -> SignedUp {
        let new =
            NewUser { email: format!("{name}@example.com"), password: "long enough".into(), name: name.to_owned() };
        self.catalogue.sign_up(new).await.unwrap()
    }

    pub(crate) async fn account(&self, name: &str) -> AccountId {
        self.person(name).await.user.account
    }

    pub(crate) async fn podcast(&self, account: AccountId, feed: &str) -> Podcast {
        let new = NewPodcast { feed_url: format!("https://feeds.example.com/{feed}"), allowed: None };
        self.catalogue.create_podcast(account, new).await.unwrap()
    }

    /// Units of the group `counting`, all taken by `owner`.
    pub(crate) async fn held(&self, count: u16, owner: &str) -> Vec<Held> {
        self.catalogue.ensure_units(&units(count)).await.unwrap();
        self.catalogue.take(owner, usize::from(count)).await.unwrap()
    }

    /// The files of the database, until the house is dropped.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.as_ref().expect("only SQLite has files").path()
    }
}

pub(crate) fn units(count: u16) -> Vec<Unit> {
    (0..count).map(|slot| Unit { group: Group::Counting, slot: Slot(slot) }).collect()
}

/// Terms that can be launched: a flight from 2026-03-02 to 2026-03-31.
pub(crate) fn terms(code: &str) -> CampaignTerms {
    serde_json::from_value(serde_json::json!({
        "name": format!("Campaign {code}"), "currency": "USD", "budget": 100_000,
        "starts_on": "2026-03-02", "ends_on": "2026-03-31",
        "placements": [{ "id": "a", "position": "pre_roll" }],
        "attribution": { "promo_codes": [code], "vanity_slug": code },
    }))
    .unwrap()
}

/// A test on SQLite, and the same on PostgreSQL.
macro_rules! on_every_database {
    ($(async fn $name:ident($house:ident) $body:block)+) => {$(
        async fn $name($house: &crate::harness::House) $body

        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                super::$name(&crate::harness::House::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                let name = module_path!().trim_start_matches("suite::");
                super::$name(&crate::harness::House::postgres(name).await).await;
            }
        }
    )+};
}
