//! `castback check` on servers that work, that refuse, and that are not there; what is checked at a start.

use std::path::Path;

use crate::journeys::processes::refused;
use crate::support::server::{Server, command};
use crate::support::servers::{Place, given};

/// What it says with these settings over those of the place, and whether all was well.
fn check(place: &Place, settings: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut command = command();
    command.args(["check", "--data"]).arg(folder.path().join("data")).envs(place.settings());
    let checked = command.envs(settings.iter().copied()).output().expect("the binary starts");
    (checked.status.success(), String::from_utf8_lossy(&checked.stdout).into_owned())
}

fn line<'a>(said: &'a str, setting: &str) -> &'a str {
    let found = said.lines().find(|line| line.contains(&format!(" {setting}: ")));
    found.unwrap_or_else(|| panic!("no word of {setting}:\n{said}"))
}

#[test]
fn it_says_of_each_server_what_it_is_and_what_is_wrong() {
    let place = Place::new();
    let (well, said) = check(&place, &[]);
    assert!(well, "{said}");
    assert!(line(&said, "KAFKA_BROKERS").contains("1 broker"), "{said}");
    let kafka = line(&said, "KAFKA_BROKERS");
    assert!(kafka.contains("can be written") && kafka.contains("can be created"), "{said}");
    assert!(line(&said, "DATABASE_URL").contains("PostgreSQL 1"), "its version: {said}");
    assert!(line(&said, "OBJECT_STORE_URL").contains("written, read and removed"), "{said}");

    let postgres = given("CASTBACK_TEST_POSTGRES_URL");
    let tls = given("CASTBACK_TEST_KAFKA_TLS");
    let certificate = given("CASTBACK_TEST_KAFKA_CA");
    let user = |name: &'static str, password: &'static str| {
        vec![
            ("KAFKA_BROKERS", tls.as_str()),
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
            ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
            ("KAFKA_SASL_USERNAME", name),
            ("KAFKA_SASL_PASSWORD", password),
            ("KAFKA_SSL_CA_LOCATION", certificate.as_str()),
        ]
    };
    let (well, said) = check(&place, &user("castback", "loopback"));
    assert!(well, "{said}");
    let stranger = postgres.replace("castback:", "stranger:");
    let nobody = postgres.replace("loopback", "guessed");
    let cases = [
        ("KAFKA_BROKERS", vec![("KAFKA_BROKERS", "127.0.0.1:1")], "onnection refused"),
        ("KAFKA_BROKERS", user("castback", "guessed"), "uthentication failed"),
        ("KAFKA_BROKERS", user("stranger", "loopback"), "uthoriz"),
        ("KAFKA_BROKERS", vec![("KAFKA_BROKERS", tls.as_str())], "KAFKA_SECURITY_PROTOCOL"),
        ("DATABASE_URL", vec![("DATABASE_URL", "postgresql://a:b@127.0.0.1:1/c")], "onnection refused"),
        ("DATABASE_URL", vec![("DATABASE_URL", nobody.as_str())], "password authentication failed"),
        ("DATABASE_URL", vec![("DATABASE_URL", stranger.as_str())], "permission denied"),
        ("OBJECT_STORE_URL", vec![("OBJECT_STORE_URL", "s3://nowhere/x")], "404 Not Found"),
    ];
    // Three replicas on one broker: what could not be created is said, and stops nothing.
    let (well, said) = check(&place, &[("KAFKA_REPLICATION", "3")]);
    assert!(well && line(&said, "KAFKA_BROKERS").contains("can't be created"), "{said}");
    for (setting, settings, words) in cases {
        let (well, said) = check(&place, &settings);
        let line = line(&said, setting);
        assert!(!well && line.starts_with("FAILED") && line.contains(words), "{settings:?}: expected {words}: {line}");
        let hinted = line.contains("KAFKA_SECURITY_PROTOCOL");
        assert_eq!(hinted, words == "KAFKA_SECURITY_PROTOCOL", "only where it is the reason: {line}");
        assert!(!said.contains("guessed") && !said.contains("loopback"), "a password is shown: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_processes_with_another_secret_or_other_objects_are_refused() {
    let place = Place::new();
    let mut server = Server::prepare(Some(&place));
    server.launch().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    let other = folder.path().join("other");
    std::fs::write(&other, "5e".repeat(32)).expect("a secret");
    let with = |secret: &Path, objects: Option<&str>| {
        let mut settings = place.settings();
        settings.push(("SECRET_KEY_FILE".to_owned(), secret.display().to_string()));
        settings.extend(objects.map(|objects| ("OBJECT_STORE_URL".to_owned(), objects.to_owned())));
        settings
    };
    let words = refused(&folder.path().join("a"), &with(&other, None));
    assert!(words.contains("SECRET_KEY_FILE") && !words.contains("5e5e"), "{words}");
    let own = server.data().join("secret-key");
    let elsewhere = format!("s3://castback/{}", place.topic("elsewhere"));
    let words = refused(&folder.path().join("b"), &with(&own, Some(&elsewhere)));
    assert!(words.contains("OBJECT_STORE_URL") && words.contains("are not there"), "{words}");
    server.kill9();
    server.launch().await;
    server.finish().await;
}
