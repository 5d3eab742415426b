//! The demo's one screen: fixed lines above, a bar and the identity below; plain lines where there is no terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::show;

/// Between two lines where there is no terminal.
const LINES: Duration = Duration::from_secs(5);

/// What is shown.
#[derive(Debug)]
pub(crate) struct Screen {
    bars: Option<Bars>,
    last_line: Option<Instant>,
}

#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    day: ProgressBar,
    identity: ProgressBar,
}

impl Screen {
    /// An empty screen; `minutes` are those of the day.
    pub(crate) fn new(minutes: u64) -> anyhow::Result<Self> {
        if !std::io::stdout().is_terminal() {
            return Ok(Self { bars: None, last_line: None });
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let day = all.add(ProgressBar::new(minutes));
        day.set_style(ProgressStyle::with_template("{bar:40.cyan/blue} {msg}")?);
        let identity = all.add(ProgressBar::no_length());
        identity.set_style(ProgressStyle::with_template("{msg}")?);
        Ok(Self { bars: Some(Bars { all, day, identity }), last_line: None })
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: &str) {
        match &self.bars {
            // A screen that can't be drawn on shows nothing; the files are there all the same.
            Some(bars) => bars.all.println(text).unwrap_or_default(),
            None => drop(show::line(text)),
        }
    }

    /// Where the day is, and the identity as it stands.
    pub(crate) fn show(&mut self, (minute, day): (u64, &str), identity: &str) {
        if let Some(bars) = &self.bars {
            bars.day.set_position(minute);
            bars.day.set_message(day.to_owned());
            bars.identity.set_message(identity.to_owned());
        } else if self.last_line.is_none_or(|last| last.elapsed() >= LINES) {
            self.last_line = Some(Instant::now());
            show::line(&format!("{day}  {identity}"));
        }
    }

    /// Leaves the identity standing as the last line.
    pub(crate) fn end(self, identity: &str) {
        if let Some(bars) = &self.bars {
            bars.day.finish_and_clear();
            bars.identity.finish_and_clear();
        }
        show::line(identity);
    }
}
