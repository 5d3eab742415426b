//! What is asked of a campaign.

use castback_rules::credit::Model;
use castback_rules::spend::{Flight, Terms};
use castback_rules::window::Window;
use castback_schemas::campaign::{CampaignTerms, PixelUse, PriceModel};
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, CampaignId, Currency, Micros};
use castback_store::sharing::Delivered;

use super::statements::MAX_SHARED;

/// By which downloads impressions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// By the window that each podcast has chosen.
    Chosen,
    /// By one window for all.
    Window(Window),
}

impl Heard {
    /// The flag of a delivery.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Chosen => "exposure",
            Self::Window(Window::UtcDay) => "window_utc_day",
            Self::Window(Window::FirstTouch) => "window_first_touch",
            Self::Window(Window::LastTouch) => "window_last_touch",
        }
    }
}

/// A campaign's figures are asked by these.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// The campaign.
    pub(crate) campaign: CampaignId,
    /// Its currency: revenue in others is only listed.
    pub(crate) currency: Currency,
    /// Its data sets.
    pub(crate) data_sets: Vec<String>,
    /// Its price, budget and flight; none where nothing is priced.
    pub(crate) terms: Option<Terms>,
    /// Whether what its pixel tells of is only shown.
    pub(crate) pixel_shown: bool,
    /// By which downloads.
    pub(crate) heard: Heard,
    /// By which model.
    pub(crate) model: Model,
    /// The first instant.
    pub(crate) from: Micros,
    /// The first instant that is no longer asked about.
    pub(crate) to: Micros,
    /// The same for conversions: a flight takes them longer.
    pub(crate) conversions_to: Micros,
    /// Now: a flat price is not earned ahead.
    pub(crate) as_of: Micros,
}

impl Question {
    /// The figures of `[from, to)`.
    pub(crate) fn range(campaign: (CampaignId, &CampaignTerms), (from, to): (Micros, Micros), as_of: Micros) -> Self {
        let (id, terms) = campaign;
        let flight = flight(terms);
        let price = |price| Terms { price, budget: terms.budget, flight };
        Self {
            campaign: id,
            currency: terms.currency,
            data_sets: terms.data_set_ids.clone(),
            terms: terms.price_model.map(price),
            pixel_shown: terms.attribution.pixel == PixelUse::Shown,
            heard: Heard::Chosen,
            model: Model::Last,
            from,
            to,
            conversions_to: to,
            as_of,
        }
    }

    /// The figures of the flight until now: conversions until its last day + look-back.
    pub(crate) fn flight(campaign: (CampaignId, &CampaignTerms), as_of: Micros) -> Self {
        let Some(flight) = flight(campaign.1) else {
            return Self::range(campaign, (Micros(0), as_of), as_of);
        };
        let (start, end) = (flight.starts_on.start(), flight.ends_on.next().start());
        let lookback = end.plus(i64::from(campaign.1.lookback_days) * DAY);
        let until = |end: Micros| end.min(as_of).max(start);
        Self { conversions_to: until(lookback), ..Self::range(campaign, (start, until(end)), as_of) }
    }

    /// The same from a later instant on.
    pub(crate) fn since(&self, at: Micros) -> Self {
        let from = self.from.max(at);
        Self { from, to: self.to.max(from), conversions_to: self.conversions_to.max(from), ..self.clone() }
    }

    /// The deliveries of which the usable ones are counted, and how many listeners may share an address.
    pub(crate) fn at_usable(&self, account: AccountId) -> (Delivered, u16) {
        let (campaign, flag) = (self.campaign.to_string(), self.heard.flag());
        (Delivered { account, campaign, flag, from: self.from, to: self.to }, MAX_SHARED)
    }

    /// The same by another model.
    pub(crate) fn by(mut self, heard: Heard, model: Model) -> Self {
        (self.heard, self.model) = (heard, model);
        self
    }

    /// The instant up to which a price is earned.
    pub(crate) fn spend_at(&self) -> Micros {
        self.to.min(self.as_of)
    }

    /// Minor units spent by then.
    pub(crate) fn spent(&self, impressions: u64, at: Micros) -> i64 {
        self.terms.map_or(0, |terms| terms.spent(impressions, at))
    }

    /// Spend against time, both from the flight's start until then.
    pub(crate) fn pacing(&self, spent: i64, at: Micros) -> Option<f64> {
        self.terms.and_then(|terms| terms.pacing(spent, at))
    }

    /// What a CPM costs: minor units per thousand and the budget.
    pub(super) fn cpm(&self) -> Option<(i64, i64)> {
        match self.terms? {
            Terms { price: PriceModel::Cpm(cpm), budget, .. } => Some((cpm, budget.unwrap_or(i64::MAX))),
            _ => None,
        }
    }

    /// What a flat price costs: minor units, seconds of the flight that have passed at the range's
    /// start and end, seconds of the flight.
    pub(super) fn flat(&self) -> Option<(i64, [i64; 2], i64)> {
        match self.terms? {
            Terms { price: PriceModel::Flat(price), budget, flight: Some(flight) } => {
                let elapsed = [self.from, self.spend_at()].map(|at| flight.elapsed(at));
                Some((price.min(budget.unwrap_or(i64::MAX)), elapsed, flight.seconds().max(1)))
            }
            _ => None,
        }
    }
}

/// The flight of terms that have one.
pub(crate) fn flight(terms: &CampaignTerms) -> Option<Flight> {
    let (starts_on, ends_on) = terms.starts_on.zip(terms.ends_on)?;
    Some(Flight { starts_on, ends_on })
}
