//! A disk that fills up: no record is taken that can't be kept, reads go on, and all goes on when space returns.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use crate::oracle::SECOND;
use crate::support::check::check;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::load::Load;
use crate::support::server::Server;
use crate::support::traffic::{Traffic, episodes, to_json};
use crate::support::{clock, seed, until};

const MIB: usize = 1024 * 1024;

/// The small disk; below 64 MiB free the log refuses.
const DISK: &str = "size=256m";

/// A mounted file system in memory, unmounted on drop.
struct SmallDisk {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// None where this machine does not let us mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().to_owned();
        let run = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&path).output();
        run.is_ok_and(|output| output.status.success()).then_some(Self { path, _folder: folder })
    }

    /// Fills the disk up to its last byte; the file that does it is returned.
    fn fill(&self) -> PathBuf {
        let filler = self.path.join("filler");
        let mut file = File::create(&filler).expect("a file");
        let block = vec![0; MIB];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        match Command::new("umount").arg("-l").arg(&self.path).status() {
            Ok(status) if status.success() => {}
            other => eprintln!("{} is still mounted: {other:?}", self.path.display()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        println!("a_full_disk_loses_nothing: this machine does not let us mount a small disk; nothing was tested");
        return;
    };
    let seed = seed("a_full_disk_loses_nothing");
    let journals = tempfile::tempdir().expect("a temporary directory");
    let host = FeedHost::start().await;
    let mut server = Server::in_directory(&disk.path.join("data"), &[]);
    server.launch().await;
    let account = server.client().sign_up("full").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Full", &episodes()))).await;
    let traffic = Traffic::new(seed, &podcast, clock::now() - 60 * SECOND);
    let mut load = Load::new(traffic, &journals.path().join("journal"));
    let current = Mutex::new(account.client.clone());
    for _ in 0..20 {
        load.send(&current).await;
    }

    // There has to be something to read.
    account.settled(u64::try_from(load.journal.read_back().acked.len()).expect("a count")).await;

    let filler = disk.fill();
    until("the log refuses", async || (!load.send_once(&current).await).then_some(())).await;
    assert!(load.refusals > 0, "a full disk is said, not hidden behind a broken connection");
    refuses(&account.client, &podcast).await;
    account.client.get(&format!("/v1/podcasts/{podcast}/episodes")).await.is(200);
    let counted = account.sql_number("SELECT COUNT(*) FROM ledger WHERE verdict = 'counted'").await;
    assert!(counted > 0, "reads go on");

    std::fs::remove_file(&filler).expect("the filler can go");
    load.send_the_rest(&current).await;
    for _ in 0..20 {
        load.send(&current).await;
    }
    check(&account, &podcast, &load.journal.read_back(), &load.requests).await;
    server.finish().await;
}

async fn refuses(client: &crate::support::client::Client, podcast: &str) {
    let record = to_json(&Traffic::new(1, podcast, clock::now()).batch(1)[0]);
    let answer = client.post("/v1/listener-requests", &serde_json::json!([record])).await;
    let answer = answer.problem(507, "storage_full");
    assert!(answer.headers.contains_key("retry-after"));
}
