//! Which ads a download delivered, and by which request.
//!
//! An ad is delivered only inside a valid download, once per download and window: by the first request,
//! from the completing one on, after which all of the ad's bytes are in the union of the download's requests
//! (those that helped, the completing one, those inside the window). Every request is of one UTC day, so
//! one that runs across midnight delivers once; over midnight, [`Carry`] remembers the union and the ads named.
//! Where it may have forgotten some ([`Carry::forgotten`]), the download delivers no more: an ad may have been
//! delivered in bytes that nobody remembers, whatever other bytes its placement or a later request says.
//!
//! The ad's bytes, in this order: those that a request of the download names in `ads`; the placement's;
//! its start and duration × bitrate, after the header; else the whole file ([`Delivery::position_unknown`]),
//! of the size that the download's own requests know ([`Union::file`]).
//! A baked-in ad needs all of its bytes as a dynamic one does. A dynamic one is never assumed without `ads`.

use castback_schemas::campaign::Placement;
use castback_schemas::time::DAY;

use crate::ranges::REACH;
use crate::window::{Carry, EpisodeFacts, NamedBytes, Open, Outcome, Role, Rolling, Touch, Union, Window};

/// A UTC day of one listener and episode as [`evaluate`](crate::window::evaluate) judged it.
#[derive(Debug, Clone, Copy)]
pub struct JudgedDay<'a> {
    /// What the day before left.
    pub carry: &'a Carry,
    /// The day's touches.
    pub touches: &'a [Touch],
    /// Their outcomes.
    pub outcomes: &'a [Outcome],
}

/// The ads that an episode may carry.
#[derive(Debug, Clone, Copy)]
pub struct Ads<'a> {
    /// The placements, of any number of campaigns.
    pub placements: &'a [&'a Placement],
    /// What the feed says of the file.
    pub episode: EpisodeFacts,
}

/// An ad that a request's `ads` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedAd {
    /// Index of the placement in [`Ads::placements`].
    pub placement: usize,
    /// First byte.
    pub from: u64,
    /// Byte after the last.
    pub to: u64,
}

/// An ad delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Index of the touch with which ad and download were complete.
    pub touch: usize,
    /// Index of the placement in [`Ads::placements`].
    pub placement: usize,
    /// In which windows, in the order of [`Window::ALL`].
    pub windows: [bool; 3],
    /// Nobody knows the ad's bytes: the whole file was taken for them.
    pub position_unknown: bool,
}

/// Where an ad lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Bytes { from: u64, to: u64 },
    WholeFile,
}

impl Place {
    /// Whether all of the ad's bytes are in `union`; the whole file holds every ad.
    fn is_in(self, union: &Union) -> bool {
        match self {
            Self::Bytes { from, to } => union.placed.covers(from, to) || union.file < REACH && union.is_whole(),
            Self::WholeFile => union.is_whole(),
        }
    }
}

/// The ads delivered on a day, in order of touch and placement. `named` gives the ads that a touch (by
/// index) names.
pub fn deliveries<N, I>(day: &JudgedDay<'_>, ads: &Ads<'_>, named: N) -> Vec<Delivery>
where
    N: Fn(usize) -> I,
    I: IntoIterator<Item = NamedAd>,
{
    let mut all: Vec<Delivery> = Vec::new();
    if ads.placements.is_empty() {
        return all;
    }
    for window in Window::ALL {
        let mut walk = Walk::new(window, day, ads);
        for (i, outcome) in day.outcomes.iter().enumerate() {
            match outcome.role(window) {
                Role::Completes => walk.begin(i, &named),
                Role::Inside(_) => walk.join(i, named(i)),
                Role::Helps(_) | Role::Outside => continue,
            }
            walk.deliver(i, &mut all);
        }
    }
    all.sort_unstable_by_key(|delivery| (delivery.touch, delivery.placement));
    all.dedup_by(|other, kept| {
        let same = (other.touch, other.placement) == (kept.touch, kept.placement);
        if same {
            for (kept, other) in kept.windows.iter_mut().zip(other.windows) {
                *kept |= other;
            }
            kept.position_unknown |= other.position_unknown;
        }
        same
    });
    all
}

/// One window's downloads of the day, one after the other.
struct Walk<'a> {
    window: Window,
    day: &'a JudgedDay<'a>,
    ads: &'a Ads<'a>,
    union: Union,
    /// Ads named by the requests of the running download.
    named: Vec<NamedAd>,
    /// By placement: delivered by the running download, or taken for it.
    done: Vec<bool>,
}

impl<'a> Walk<'a> {
    fn new(window: Window, day: &'a JudgedDay<'a>, ads: &'a Ads<'a>) -> Self {
        let (named, done) = (Vec::new(), vec![false; ads.placements.len()]);
        let mut walk = Self { window, day, ads, union: Union::default(), named, done };
        if let Rolling::Open(open) = day.carry.rolling(window) {
            walk.go_on(open);
        }
        walk
    }

    /// A download that came over midnight: what its requests named, and what it has delivered.
    fn go_on(&mut self, open: &Open) {
        let (carry, ads) = (self.day.carry, self.ads);
        self.union = open.union.clone();
        if carry.forgotten[self.window as usize] {
            self.done.fill(true);
            return;
        }
        let mut in_time = vec![false; ads.placements.len()];
        for ad in carry.named(self.window, None) {
            for named in ads.named(&ad.bytes) {
                in_time[named.placement] |= !ad.late;
                self.named.push(named);
            }
        }
        // What was named late may have been delivered before, where its placement says.
        let delivered = |(placement, in_time): (usize, &bool)| {
            self.held(placement).is_some() || !in_time && self.placed(placement).is_some()
        };
        self.done = in_time.iter().enumerate().map(delivered).collect();
    }

    /// A new download: all that helped it, and the request that completes it.
    fn begin<I: IntoIterator<Item = NamedAd>>(&mut self, i: usize, named: impl Fn(usize) -> I) {
        self.union = Union::default();
        self.named.clear();
        self.done.fill(false);
        let since = self.day.touches[i].at.plus(-DAY);
        // Requests waited at midnight, so no window was open: this is the day's only download.
        if let Rolling::Pending(carried) = self.day.carry.rolling(self.window) {
            for touch in carried.iter().filter(|touch| touch.at > since) {
                self.union.add(touch);
            }
        }
        let (carry, ads) = (self.day.carry, self.ads);
        self.named.extend(carry.named(self.window, Some(since)).flat_map(|ad| ads.named(&ad.bytes)));
        for helper in 0..i {
            if self.day.outcomes[helper].role(self.window) == Role::Helps(i) {
                self.join(helper, named(helper));
            }
        }
        self.join(i, named(i));
    }

    fn join(&mut self, i: usize, named: impl IntoIterator<Item = NamedAd>) {
        self.union.add(&self.day.touches[i]);
        self.named.extend(named);
    }

    fn deliver(&mut self, i: usize, all: &mut Vec<Delivery>) {
        for placement in 0..self.ads.placements.len() {
            if self.done[placement] {
                continue;
            }
            let Some(place) = self.held(placement) else { continue };
            self.done[placement] = true;
            let windows = Window::ALL.map(|window| window == self.window);
            all.push(Delivery { touch: i, placement, windows, position_unknown: place == Place::WholeFile });
        }
    }

    /// Where an ad lies of which all bytes are there.
    fn held(&self, placement: usize) -> Option<Place> {
        let mut named = self.named.iter().filter(|ad| ad.placement == placement).peekable();
        if named.peek().is_none() {
            return self.placed(placement);
        }
        named.map(|ad| Place::Bytes { from: ad.from, to: ad.to }).find(|place| self.holds(*place))
    }

    /// The same, of a baked-in ad as its placement says.
    fn placed(&self, placement: usize) -> Option<Place> {
        self.ads.place(placement, self.union.file).filter(|place| self.holds(*place))
    }

    fn holds(&self, place: Place) -> bool {
        place.is_in(&self.union)
    }
}

impl Ads<'_> {
    /// The ads whose bytes a request names: placements of that id.
    pub fn named(&self, bytes: &NamedBytes) -> impl Iterator<Item = NamedAd> {
        let of_id = self.placements.iter().enumerate().filter(move |(_, ad)| *ad.id == *bytes.placement);
        of_id.map(move |(placement, _)| NamedAd { placement, from: bytes.from, to: bytes.to })
    }

    /// Where a baked-in ad lies in a file of that size; `None` for a dynamic one.
    fn place(&self, placement: usize, file: u64) -> Option<Place> {
        let ad = self.placements.get(placement).filter(|ad| !ad.dynamic)?;
        let given = ad.from_byte.zip(ad.to_byte).filter(|(from, to)| from < to);
        Some(
            given
                .or_else(|| self.by_bitrate(ad, file))
                .map_or(Place::WholeFile, |(from, to)| Place::Bytes { from, to }),
        )
    }

    /// Start and duration × bitrate, after the header, rounded outwards and kept inside the file.
    fn by_bitrate(&self, ad: &Placement, file: u64) -> Option<(u64, u64)> {
        let (start, seconds) = ad.start_seconds.zip(ad.duration_seconds)?;
        let length = u128::from(self.episode.length?);
        let duration = u128::from(self.episode.duration_s.filter(|duration| *duration > 0)?);
        let from = length * u128::from(start) / duration;
        let to = (length * (u128::from(start) + u128::from(seconds))).div_ceil(duration);
        let after_header = |byte: u128| u64::try_from(byte).ok()?.checked_add(self.episode.header_bytes);
        let (from, to) = (after_header(from)?, after_header(to)?.min(file));
        (from < to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests;
