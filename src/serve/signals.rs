//! Signals that end the process: SIGTERM from a supervisor, SIGINT from Ctrl-C, SIGHUP from a terminal that closes.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, listened to from the start on.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    /// From now on the signals no longer kill the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let of = |kind| signal(kind).context("signals can't be listened to");
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())?, hang_up: None })
    }

    /// The same for a command that belongs to its terminal. A server may be meant to outlive it (`nohup`).
    pub(crate) fn listen_at_a_terminal() -> anyhow::Result<Self> {
        let hang_up = signal(SignalKind::hangup()).context("signals can't be listened to")?;
        Ok(Self { hang_up: Some(hang_up), ..Self::listen()? })
    }

    /// Waits for the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            Some(()) = hung_up(&mut self.hang_up) => {}
        }
    }
}

async fn hung_up(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}
