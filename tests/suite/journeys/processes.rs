//! Processes and their exit codes.

use std::path::Path;

use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::{DRAIN, Server, command};
use crate::support::traffic::episodes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_process_of_a_directory_refuses() {
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("first").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("First", &episodes()))).await;
    let address = std::fs::read_to_string(server.data().join("address")).expect("an address");

    let second = command().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(server.data()).output();
    let second = second.expect("the binary starts");
    assert!(matches!(second.status.code(), Some(1 | 2)), "{:?}", second.status);
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!words.is_empty() && !words.contains("panicked"), "{words}");

    let after = std::fs::read_to_string(server.data().join("address")).expect("an address");
    assert_eq!(address, after, "the first one's address was overwritten");
    account.client.get(&format!("/v1/podcasts/{podcast}")).await.is(200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_needs_shared_stores() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let split =
        command().args(["serve", "--roles", "api", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path()).output();
    let split = split.expect("the binary starts");
    assert_eq!(split.status.code(), Some(2), "{}", String::from_utf8_lossy(&split.stderr));
    let words = String::from_utf8_lossy(&split.stderr).into_owned();
    assert!(words.contains("KAFKA_BROKERS") || words.contains("DATABASE_URL"), "it says what is missing: {words}");
    assert_eq!(command().arg("--no-such-flag").output().expect("the binary starts").status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_delay_a_stop() {
    let mut server = Server::start().await;
    let account = server.client().sign_up("idle").await;
    let mut open = Vec::new();
    let address = server.client().base().trim_start_matches("http://").to_owned();
    for _ in 0..20 {
        open.push(tokio::net::TcpStream::connect(&address).await.expect("a connection"));
    }
    account.client.get("/v1/podcasts").await.is(200);
    server.terminate();
    let status = server.exit_within(DRAIN).await;
    assert!(status.success(), "{status}");
    drop(open);
    server.launch().await;
    account.moved_to(&server.client()).client.get("/v1/podcasts").await.is(200);
    server.finish().await;
}

/// What a process says and how it ends that is not to start with these settings in that directory.
pub(crate) fn refused(data: &Path, settings: &[(String, String)]) -> String {
    let mut serve = command();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let ended = serve.envs(settings.iter().cloned()).output().expect("the binary starts");
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{words}");
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_secret_begins_anew_and_other_objects_are_refused() {
    let mut server = Server::prepare(None);
    server.launch().await;
    server.kill9();
    std::fs::remove_file(server.data().join("secret-key")).expect("a secret was made");
    server.launch().await;
    assert!(server.output().contains("the secret is another than before"), "{}", server.output());
    server.kill9();
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let url = format!("file://{}", elsewhere.path().display());
    let words = refused(server.data(), &[("OBJECT_STORE_URL".to_owned(), url)]);
    assert!(words.contains("OBJECT_STORE_URL"), "{words}");
    server.launch().await;
    server.finish().await;
}
