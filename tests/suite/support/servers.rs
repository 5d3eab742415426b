//! The servers of others: Kafka, PostgreSQL and S3 as `tests/servers` starts them, and a place of one's own on each.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use super::clock;

/// Whether the suite runs the product on these servers instead of everything embedded: `CASTBACK_TEST_ON=servers`.
pub(crate) fn wanted() -> bool {
    match std::env::var("CASTBACK_TEST_ON").as_deref() {
        Ok("servers") => true,
        Ok("embedded") | Err(std::env::VarError::NotPresent) => false,
        other => panic!("CASTBACK_TEST_ON is {other:?}, neither servers nor embedded"),
    }
}

/// What `tests/servers/all` has set.
pub(crate) fn given(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: tests/run starts the servers, or see tests/servers/all"))
}

/// A place of one's own on the servers; cleared when the last who holds it lets go.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Names>);

#[derive(Debug)]
struct Names {
    brokers: String,
    /// Before the names of its topics and groups.
    prefix: String,
    database: String,
    s3: String,
}

impl Place {
    /// On the servers that all tests share.
    pub(crate) fn new() -> Self {
        Self::on(&given("CASTBACK_TEST_KAFKA"), &given("CASTBACK_TEST_POSTGRES_URL"), &given("CASTBACK_TEST_S3"))
    }

    /// On these servers; a schema is made on the database.
    pub(crate) fn on(brokers: &str, postgres: &str, s3: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{:x}_{}", clock::now(), NUMBER.fetch_add(1, Ordering::Relaxed));
        psql(postgres, &format!("CREATE SCHEMA {name}"));
        Self(Arc::new(Names {
            brokers: brokers.to_owned(),
            prefix: format!("{name}."),
            database: format!("{postgres}?options=-csearch_path%3D{name}"),
            s3: s3.to_owned(),
        }))
    }

    pub(crate) fn brokers(&self) -> &str {
        &self.0.brokers
    }

    pub(crate) fn database(&self) -> &str {
        &self.0.database
    }

    /// A topic's or a group's name on the cluster.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }

    /// The settings by which the product uses it.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let Names { brokers, prefix, database, s3 } = &*self.0;
        let objects = format!("s3://castback/{}", prefix.trim_end_matches('.'));
        let settings = [
            ("KAFKA_BROKERS", brokers.as_str()),
            ("KAFKA_TOPIC_PREFIX", prefix),
            ("DATABASE_URL", database),
            ("OBJECT_STORE_URL", &objects),
            ("AWS_ENDPOINT_URL", s3),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "tests"),
            ("AWS_SECRET_ACCESS_KEY", "loopback"),
            ("AWS_REGION", "us-east-1"),
        ];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }
}

impl Drop for Names {
    /// A small broker can't carry the topics of every test.
    fn drop(&mut self) {
        let admin: Result<AdminClient<DefaultClientContext>, _> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create();
        let Ok(admin) = admin else { return };
        let Ok(found) = admin.inner().fetch_metadata(None, std::time::Duration::from_secs(5)) else { return };
        let names: Vec<&str> = found.topics().iter().map(rdkafka::metadata::MetadataTopic::name).collect();
        let mine: Vec<&str> = names.into_iter().filter(|name| name.starts_with(&self.prefix)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let run = move || {
            if let Ok(runtime) = runtime {
                drop(runtime.block_on(admin.delete_topics(&mine, &AdminOptions::new())));
            }
        };
        // A test's own runtime may be running on this thread.
        std::thread::scope(|scope| drop(scope.spawn(run).join()));
    }
}

/// One statement, by PostgreSQL's own client.
pub(crate) fn psql(url: &str, statement: &str) -> String {
    said(Command::new("psql").args(["-qXAt", "-d", url, "-c", statement]))
}

/// The Python of the tests' own environment, where the clients of others are.
pub(crate) fn python() -> String {
    given("CASTBACK_TEST_PYTHON")
}

/// What a command prints; it must succeed.
pub(crate) fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

/// A server of a test's own, to be broken; its folder goes with it.
#[derive(Debug)]
pub(crate) struct OwnServer {
    script: &'static str,
    folder: tempfile::TempDir,
}

impl OwnServer {
    /// Starts `tests/servers/<script>`; the second is its address.
    pub(crate) fn start(script: &'static str) -> (Self, String) {
        let server = Self { script, folder: tempfile::tempdir().expect("a temporary directory") };
        let address = server.act("start");
        (server, address)
    }

    /// An action of the script: start, stop, kill, freeze, thaw.
    pub(crate) fn act(&self, action: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(self.script);
        said(Command::new(script).arg(action).arg(self.folder.path()))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.act("remove");
    }
}
