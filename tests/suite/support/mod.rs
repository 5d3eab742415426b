//! The harness: the real binary with its own directory, a client, feeds on a local server, traffic from a seed, and
//! the load client's journal with its checker.

pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod feed_host;
pub(crate) mod journal;
pub(crate) mod load;
pub(crate) mod program;
pub(crate) mod series;
pub(crate) mod server;
pub(crate) mod servers;
pub(crate) mod traffic;
pub(crate) mod wire;

use std::time::Duration;

/// How long a condition may take to come true before the test fails; generous, since it is no measurement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks at a condition.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// Asks again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The recorded feeds, logs and lists, when this machine has them.
pub(crate) fn corpus() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("CASTBACK_CORPUS").map(std::path::PathBuf::from)?;
    assert!(folder.is_dir(), "CASTBACK_CORPUS is no folder: {}", folder.display());
    Some(folder)
}

/// The seed of this run: `CASTBACK_SEED`, else from the clock; printed, so that a failing run can be run again.
pub(crate) fn seed(test: &str) -> u64 {
    let given = std::env::var("CASTBACK_SEED").ok().map(|text| text.parse().expect("CASTBACK_SEED is a number"));
    let seed = given.unwrap_or_else(|| clock::now().unsigned_abs());
    println!("{test}: CASTBACK_SEED={seed}");
    seed
}
