//! What is acknowledged is on the disk, not only in the machine's memory: a kill can't show that, a power cut could.
//! Here the system calls of the running product are watched (strace), and their order is what a power cut relies on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::oracle::SECOND;
use crate::support::client::Account;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::{Traffic, episodes, to_json};
use crate::support::{clock, until};

/// What the process did, in the order in which it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A file's or directory's content is on the disk.
    Synced(PathBuf),
    /// A file came under a name.
    Named(PathBuf),
    /// A request was read.
    Asked,
    /// An answer that accepts records was written.
    Accepted,
}

/// Watches a process from outside.
struct Watch {
    strace: Child,
    output: PathBuf,
}

impl Watch {
    async fn start(server: &Server, output: &Path) -> Self {
        let strace = Command::new("strace")
            .args(["-f", "-y", "-s", "64", "-e", "trace=fsync,fdatasync,link,linkat,recvfrom,sendto,writev", "-o"])
            .arg(output)
            .args(["-p", &server.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed (tests/run does it)");
        let watch = Self { strace, output: output.to_owned() };
        until("strace sees the process", async || {
            server.client().try_get("/healthz").await?;
            watch.lines().contains("/healthz").then_some(())
        })
        .await;
        watch
    }

    fn lines(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    fn steps(&self) -> Vec<Step> {
        steps(&self.lines())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.strace.kill().and_then(|()| self.strace.wait()).is_err() {
            eprintln!("strace could not be ended");
        }
    }
}

/// Reads strace's lines. A call that other threads interrupted is done where it is resumed.
fn steps(lines: &str) -> Vec<Step> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in lines.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, start);
            // Bytes to send are given when the call begins.
            steps.extend(sent(start));
        } else if call.starts_with("<... ") {
            let end = call.split_once('>').map_or("", |(_, end)| end);
            steps.extend(begun.remove(thread).and_then(|start| done(start, end)));
        } else {
            steps.extend(sent(call).or_else(|| done(call, call)));
        }
    }
    steps
}

fn sent(call: &str) -> Option<Step> {
    let sends = call.starts_with("sendto(") || call.starts_with("writev(");
    (sends && call.contains("HTTP/1.1 202")).then_some(Step::Accepted)
}

fn done(start: &str, end: &str) -> Option<Step> {
    let (_, result) = end.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let (name, _) = start.split_once('(')?;
    match name {
        "fsync" | "fdatasync" => {
            let (_, path) = start.split_once('<')?;
            Some(Step::Synced(path.split_once('>')?.0.into()))
        }
        "link" | "linkat" => {
            let mut quoted = start.split('"').skip(1).step_by(2);
            quoted.nth(1).map(|path| Step::Named(path.into()))
        }
        "recvfrom" => (start.contains("POST /") || end.contains("POST /")).then_some(Step::Asked),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_on_the_disk() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let host = FeedHost::start().await;
    // Everything embedded, whatever the others run on: it is this disk that is watched.
    let mut server = Server::in_directory(&folder.path().join("data"), &[]);
    server.launch().await;
    let account = server.client().sign_up("power").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Power", &episodes()))).await;
    let mut traffic = Traffic::new(11, &podcast, clock::now() - 60 * SECOND);
    let watch = Watch::start(&server, &folder.path().join("calls")).await;
    for posts in 1..=5 {
        let accepted = post(&account, &mut traffic).await;
        account.settled(accepted * posts).await;
    }
    let steps = watch.steps();
    drop(watch);
    let data = server.data();
    acknowledged_after_sync(&steps, &data.join("log"));
    named_after_sync(&steps);
    server.finish().await;
}

async fn post(account: &Account, traffic: &mut Traffic) -> u64 {
    let records: Vec<_> = traffic.batch(10).iter().map(to_json).collect();
    account.post_all("/v1/listener-requests", &records).await
}

/// Between the request and its 202, the log was synced.
fn acknowledged_after_sync(steps: &[Step], log: &Path) {
    let mut answers = 0;
    let mut synced = false;
    for step in steps {
        match step {
            Step::Asked => synced = false,
            Step::Synced(path) => synced |= path.starts_with(log),
            Step::Accepted => {
                assert!(synced, "answer {answers} went out before the log was on the disk");
                answers += 1;
            }
            Step::Named(_) => {}
        }
    }
    assert_eq!(answers, 5, "{steps:?}");
}

/// A commit object had its content synced before it got its name, and its folder right after: before the transaction that
/// moves positions past it, which waits for both.
fn named_after_sync(steps: &[Step]) {
    let mut objects = 0;
    for (index, step) in steps.iter().enumerate() {
        let Step::Named(object) = step else { continue };
        objects += 1;
        let content = steps[..index].iter().any(|step| match step {
            Step::Synced(path) => path.to_string_lossy().starts_with(&*object.to_string_lossy()),
            _ => false,
        });
        assert!(content, "{} got its name before its content was on the disk", object.display());
        let folder = object.parent().expect("a folder");
        let until_next = steps[index + 1..].iter().take_while(|step| !matches!(step, Step::Named(_)));
        let synced = until_next.filter(|step| **step == Step::Synced(folder.to_owned())).count();
        assert!(synced > 0, "{}: its name is not on the disk", object.display());
    }
    assert!(objects > 0, "no object was written: {steps:?}");
}

#[test]
fn the_reader_of_calls_sees_an_answer_that_was_too_early() {
    let late = "7 recvfrom(9<socket:[1]>, \"POST /v1/x HTTP/1.1\", 8192, 0, NULL, NULL) = 20\n\
                8 fdatasync(3</d/log/0.jnl> <unfinished ...>\n\
                7 writev(9<socket:[1]>, [{iov_base=\"HTTP/1.1 202 Accepted\", iov_len=9}], 1) = 9\n\
                8 <... fdatasync resumed>)       = 0\n";
    let steps = steps(late);
    assert_eq!(steps, [Step::Asked, Step::Accepted, Step::Synced("/d/log/0.jnl".into())]);
    assert!(std::panic::catch_unwind(|| acknowledged_after_sync(&steps, Path::new("/d/log"))).is_err());
}
