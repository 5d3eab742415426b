//! Download counting: which requests of one listener for one episode are downloads
//! [IAB Tech Lab Podcast Measurement Technical Guidelines v2.3].
//!
//! A download happens at the event time of the request whose bytes complete the threshold. Three
//! windows are kept, each by itself:
//!
//! - `utc_day`: the union of the day's bytes; at most one download a day.
//! - `first_touch_24h`: a download at `t` opens `[t, t + 24 h)`; exactly 24 h later is new.
//! - `last_touch_24h`: the same, but each request of at least 1 byte inside the window extends it.
//!
//! Before a rolling window opens, a request at `t` completes a download with the union of the requests
//! of `(t − 24 h, t]` outside every earlier window.
//!
//! [`evaluate`] judges one UTC day from what the day before left ([`Carry`]). What it says is a function
//! of the *set* of touches; downloads are decided forwards only. One thing looks back over a single
//! midnight: bytes that were not enough in their own day may help a rolling window of the next. As long
//! as their day is open, [`helped_before`] says which rows become `part_of`; a frozen day keeps its verdicts.

mod ads;
mod carry;
mod need;
mod touch;
mod union;

#[cfg(test)]
mod tests;

use castback_schemas::Micros;
use castback_schemas::time::DAY;

pub use ads::{MAX_NAMED, NamedBefore, NamedBytes, PlacementIds};
pub use carry::{Carry, InvalidCarry, MAX_PENDING, MAX_PIECES, Open, Rolling};
pub use need::{CONTENT_SECONDS, EpisodeFacts, Need, need_of};
pub use touch::Touch;
pub use union::Union;

/// A way to tell one download from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Window {
    /// One download per UTC day.
    #[default]
    UtcDay,
    /// 24 hours from the download.
    FirstTouch,
    /// 24 hours from the last request.
    LastTouch,
}

impl Window {
    /// Every window, in the order of [`Outcome::roles`].
    pub const ALL: [Self; 3] = [Self::UtcDay, Self::FirstTouch, Self::LastTouch];

    /// The name in the API and the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UtcDay => "utc_day",
            Self::FirstTouch => "first_touch_24h",
            Self::LastTouch => "last_touch_24h",
        }
    }

    /// The window of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.name() == name)
    }
}

/// What a request is to one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It completes a download.
    Completes,
    /// Its bytes helped the touch of that index to complete a download.
    Helps(usize),
    /// It lies in the open window of that row's download.
    Inside(u64),
    /// No download of the day has to do with it.
    Outside,
}

/// The verdict of a request that passed the filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TouchVerdict {
    /// It completes a download in at least one window.
    Counted,
    /// `duplicate/part_of`: its bytes helped the row `of`; of several, the earliest counted.
    PartOf {
        /// The counted row.
        of: u64,
    },
    /// `duplicate/same_download`: it repeats, in an open window, the row `of`; of several windows,
    /// the first of `utc_day`, `first_touch_24h`, `last_touch_24h`.
    SameDownload {
        /// The counted row; for a rolling window it may be of an earlier day.
        of: u64,
    },
    /// `filtered/below_threshold`.
    BelowThreshold,
}

/// What [`evaluate`] says of one touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict over all windows.
    pub verdict: TouchVerdict,
    /// What the touch is to each window, in the order of [`Window::ALL`].
    pub roles: [Role; 3],
}

impl Outcome {
    /// What the touch is to `window`.
    #[must_use]
    pub fn role(&self, window: Window) -> Role {
        self.roles[window as usize]
    }

    /// Whether it completes a download in `window`: the `counted_…` columns.
    #[must_use]
    pub fn counted(&self, window: Window) -> bool {
        self.role(window) == Role::Completes
    }
}

/// Judges the touches of one listener, one episode and one UTC day, sorted by (time, row), from what
/// the day before left; writes one outcome per touch to `out` (cleared first) and returns what the day
/// leaves, with the ads that a touch `named`. A day without touches leaves nothing: nothing reaches over a
/// whole day.
pub fn evaluate(
    carry: &Carry,
    touches: &[Touch],
    named: impl Fn(&Touch) -> Vec<NamedBytes>,
    out: &mut Vec<Outcome>,
) -> Carry {
    let [first, last] = walk(carry, touches, out);
    let Some(midnight) = touches.first().map(|touch| touch.at.day().next().start()) else {
        return Carry::default();
    };
    let (first_touch, last_touch) = (first.leave(midnight), last.leave(midnight));
    let mut left = Carry { first_touch, last_touch, ..Carry::default() };
    left.note_ads(carry, (touches, out.as_slice()), named);
    left
}

/// [`evaluate`] for who does not ask what the day leaves.
pub fn outcomes(carry: &Carry, touches: &[Touch], out: &mut Vec<Outcome>) {
    walk(carry, touches, out);
}

/// The walks of the rolling windows, over.
fn walk<'a>(carry: &'a Carry, touches: &'a [Touch], out: &mut Vec<Outcome>) -> [Pass<'a>; 2] {
    out.clear();
    out.resize(touches.len(), Outcome { verdict: TouchVerdict::BelowThreshold, roles: [Role::Outside; 3] });
    run(Window::UtcDay, carry.rolling(Window::UtcDay), touches, out);
    let first = run(Window::FirstTouch, &carry.first_touch, touches, out);
    let last = run(Window::LastTouch, &carry.last_touch, touches, out);
    for outcome in out.iter_mut() {
        outcome.verdict = verdict(outcome.roles, touches);
    }
    [first, last]
}

/// Rows of the day before whose bytes helped a download of this day, with the row that they helped, the
/// earliest first. Such a row's verdict becomes [`TouchVerdict::PartOf`] unless it is `Counted` or
/// `PartOf` already. `carry`, `touches` and `outcomes` are those of one [`evaluate`].
#[must_use]
pub fn helped_before(carry: &Carry, touches: &[Touch], outcomes: &[Outcome]) -> Vec<(u64, u64)> {
    let mut helped: Vec<(usize, u64)> = Vec::new();
    for window in [Window::FirstTouch, Window::LastTouch] {
        let completing = outcomes.iter().position(|outcome| outcome.counted(window));
        if let (Rolling::Pending(carried), Some(i)) = (carry.rolling(window), completing) {
            let live = carried.iter().filter(|touch| touch.at > touches[i].at.plus(-DAY));
            helped.extend(live.map(|touch| (i, touch.row)));
        }
    }
    helped.sort_unstable();
    let mut rows: Vec<(u64, u64)> = Vec::with_capacity(helped.len());
    for (i, row) in helped {
        if !rows.iter().any(|(known, _)| *known == row) {
            rows.push((row, touches[i].row));
        }
    }
    rows
}

fn run<'a>(window: Window, carried: &'a Rolling, touches: &'a [Touch], out: &mut [Outcome]) -> Pass<'a> {
    let mut pass = Pass::new(window, carried, touches);
    for i in 0..touches.len() {
        pass.step(i, out);
    }
    pass
}

fn verdict(roles: [Role; 3], touches: &[Touch]) -> TouchVerdict {
    if roles.contains(&Role::Completes) {
        return TouchVerdict::Counted;
    }
    let helped = roles.iter().filter_map(|role| if let Role::Helps(i) = role { Some(*i) } else { None }).min();
    if let Some(touch) = helped.and_then(|i| touches.get(i)) {
        return TouchVerdict::PartOf { of: touch.row };
    }
    let inside = roles.iter().find_map(|role| if let Role::Inside(row) = role { Some(*row) } else { None });
    inside.map_or(TouchVerdict::BelowThreshold, |of| TouchVerdict::SameDownload { of })
}

/// One window's walk over the touches of a day.
struct Pass<'a> {
    window: Window,
    touches: &'a [Touch],
    /// Requests of the day before that may still help, the oldest first.
    carried: &'a [Touch],
    /// The index of the first touch since the last window ended.
    from: usize,
    /// The union of `carried` and of the touches since `from`.
    union: Union,
    open: Option<Open>,
}

impl<'a> Pass<'a> {
    fn new(window: Window, rolling: &'a Rolling, touches: &'a [Touch]) -> Self {
        let (open, carried) = match rolling {
            Rolling::Open(open) => (Some(open.clone()), &[][..]),
            Rolling::Pending(carried) => (None, carried.as_slice()),
        };
        let mut union = Union::default();
        for touch in carried {
            union.add(touch);
        }
        Self { window, touches, carried, from: 0, union, open }
    }

    fn step(&mut self, i: usize, out: &mut [Outcome]) {
        let touch = &self.touches[i];
        if self.close_before(touch.at) {
            self.from = i;
        }
        if let Some(open) = &mut self.open {
            out[i].roles[self.window as usize] = Role::Inside(open.row);
            open.union.add(touch);
            if self.window == Window::LastTouch && !touch.bytes.is_empty() {
                open.since = touch.at;
            }
            return;
        }
        self.forget_before(touch.at.plus(-DAY), i);
        self.union.add(touch);
        if !self.union.is_download() {
            return;
        }
        for (outcome, helper) in out[self.from..i].iter_mut().zip(&self.touches[self.from..i]) {
            if !helper.bytes.is_empty() {
                outcome.roles[self.window as usize] = Role::Helps(i);
            }
        }
        out[i].roles[self.window as usize] = Role::Completes;
        self.open = Some(Open { since: touch.at, row: touch.row, union: std::mem::take(&mut self.union) });
    }

    /// Ends the open window if it does not hold `at`.
    fn close_before(&mut self, at: Micros) -> bool {
        let over = self.window != Window::UtcDay && self.open.as_ref().is_some_and(|open| at >= open.since.plus(DAY));
        if over {
            self.open = None;
        }
        over
    }

    /// Drops the carried requests up to `oldest` and, if there were any, makes the union anew
    /// (at most [`MAX_PENDING`] times a day). The day's own are always younger than 24 h.
    fn forget_before(&mut self, oldest: Micros, i: usize) {
        let gone = self.carried.partition_point(|touch| touch.at <= oldest);
        if gone == 0 {
            return;
        }
        self.carried = &self.carried[gone..];
        self.union = Union::default();
        for touch in self.carried.iter().chain(&self.touches[self.from..i]) {
            self.union.add(touch);
        }
    }

    /// What can still matter at `midnight` or later.
    fn leave(self, midnight: Micros) -> Rolling {
        match self.open {
            Some(open) if midnight < open.since.plus(DAY) => Rolling::Open(open.carried()),
            Some(_) => Rolling::default(),
            None => {
                let own = &self.touches[self.from..];
                let young = own.iter().filter(|touch| touch.at > midnight.plus(-DAY) && !touch.bytes.is_empty());
                let mut pending: Vec<Touch> = young.rev().take(MAX_PENDING).copied().collect();
                pending.reverse();
                Rolling::Pending(pending)
            }
        }
    }
}
