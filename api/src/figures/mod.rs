//! A campaign's figures: what they are asked of, what adds up, and the SQL that reproduces each.
//!
//! ```text
//! Question ─statements─▶ sums (rows of one commit) ─castback_rules─▶ Figures ─▶ performance, report, page
//! ```
//! Performance, reports and pages take their numbers here and nowhere else, so they can't differ.
//! A statement is made of the same fragments as the sum that it reproduces.

mod buckets;
mod question;
mod shown;
mod statements;

use castback_rules::interval;
use castback_rules::rates::{Rate, Sums, ratio};
use castback_schemas::{Currency, Micros, Money};

use crate::problem::{Code, Result};
use crate::query::{Ask, Rows};

pub(crate) use question::{Heard, Question};
pub(crate) use shown::{credited, credits, prefix_estimated, shown};
pub(crate) use statements::NAMED;

/// The share of usable addresses under which a campaign is warned of.
const FEW_USABLE: f64 = 0.2;

/// A campaign's figures over a range, of one commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// What the rates are made of.
    pub(crate) sums: Sums,
    /// Downloads that delivered an ad.
    pub(crate) downloads: u64,
    /// Distinct listeners, summed over the months of their keys.
    pub(crate) reach_device: u64,
    /// Months that the reach is summed over.
    pub(crate) reach_months: i64,
    /// Impressions whose place in the file is unknown.
    pub(crate) position_unknown: u64,
    /// Impressions at addresses that tell households apart; none where that is too much to count.
    pub(crate) usable: Option<Usable>,
    /// Conversions of the campaign's data sets that nothing is credited for.
    pub(crate) unattributed: u64,
    /// Minor units of the revenue that nobody has verified.
    pub(crate) unverified: i64,
    /// Minor units that the pixel told of and that are only shown: no part of the revenue.
    pub(crate) shown_only: i64,
    /// Spend against time.
    pub(crate) pacing: Option<f64>,
    /// Revenue in other currencies: listed, never added.
    pub(crate) other: Vec<Money>,
}

/// Impressions at addresses that tell households apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usable {
    /// How many.
    impressions: u64,
    /// Of how many, if not of all.
    of: Option<u64>,
    /// From when on, if not from the range's start: earlier requests are past their retention.
    since: Option<Micros>,
}

impl Figures {
    /// Asks for the figures.
    pub(crate) async fn read(ask: &Ask, question: &Question) -> Result<Self> {
        let statements = question.statements();
        let statements = statements.each_ref().map(String::as_str);
        let (sums, usable) = tokio::join!(ask.all(statements), Usable::read(ask, question));
        let [facts, downloads, devices, households, cost, credits, other, converting, unattributed] = sums?;
        // It alone looks at every request: where those are too many for that, the others still stand.
        let usable = match usable {
            Ok(usable) => Some(usable),
            Err(problem) if problem.code() == Code::TooLarge => None,
            Err(problem) => return Err(problem),
        };
        let shown_only =
            if question.pixel_shown { ask.one(&question.shown_only()).await?.int(0, "revenue_minor") } else { 0 };
        let (until, before) = (cost.count(0, "until"), cost.count(0, "before"));
        let spent = question.spent(until, question.spend_at());
        let sums = Sums {
            spend: spent - question.spent(before, question.from),
            impressions: facts.count(0, "impressions"),
            converting_households: converting.count(0, "converting_households"),
            households: households.count(0, "households"),
            ..credited_sums(&credits, 0)
        };
        let money = |row| {
            let currency: Currency = other.text(row, "currency").parse().ok()?;
            Some(Money { amount: other.int(row, "revenue_minor"), currency })
        };
        Ok(Self {
            downloads: downloads.count(0, "downloads"),
            reach_device: devices.count(0, "listeners"),
            reach_months: months(facts.micros(0, "first_us"), facts.micros(0, "last_us"), sums.impressions),
            position_unknown: facts.count(0, "position_unknown"),
            usable,
            unattributed: unattributed.count(0, "unattributed_conversions"),
            unverified: credits.int(0, "unverified_minor"),
            shown_only,
            pacing: question.pacing(spent, question.spend_at()),
            other: (0..other.len()).filter_map(money).collect(),
            sums,
        })
    }

    /// The same by another model: impressions, reach and spend are no model's, and are kept.
    pub(crate) async fn remodeled(&self, ask: &Ask, question: &Question) -> Result<Self> {
        let credits = ask.one(&question.credits()).await?;
        let Sums { spend, impressions, households, .. } = self.sums;
        let sums = Sums { spend, impressions, households, ..credited_sums(&credits, 0) };
        Ok(Self { sums, unverified: credits.int(0, "unverified_minor"), ..self.clone() })
    }

    /// Impressions per listener reached.
    pub(crate) fn frequency(&self) -> Rate {
        frequency(self.sums.impressions, self.reach_device)
    }

    /// The share of impressions at usable addresses: neither in a data centre nor shared by more
    /// than 10 listeners of that day.
    pub(crate) fn usable_share(&self) -> Rate {
        let Some(usable) = self.usable else { return Rate::default() };
        let of = usable.of.unwrap_or(self.sums.impressions);
        let interval = interval::wilson(usable.impressions, of);
        Rate {
            value: ratio(real(usable.impressions), real(of)),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
        }
    }

    /// From when on addresses are known, if not from the range's start.
    pub(crate) fn usable_since(&self) -> Option<Micros> {
        self.usable?.since
    }

    /// Too few conversions to lean on.
    pub(crate) fn thin(&self) -> bool {
        interval::is_thin(self.sums.conversions_micro)
    }

    /// The share of the revenue that nobody has verified.
    pub(crate) fn unverified_share(&self) -> Option<f64> {
        ratio(signed(self.unverified), signed(self.sums.revenue))
    }

    /// What a reader must know to read the figures rightly.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.usable_share().value.is_some_and(|share| share < FEW_USABLE) {
            warnings.push(
                "under 20 % of the impressions came from usable addresses: household figures say little".to_owned(),
            );
        }
        if let Some(since) = self.usable_since() {
            let said = "are past their retention: the share of usable addresses is of later impressions";
            warnings.push(format!("requests before {since} {said}"));
        }
        if self.usable.is_none() && self.sums.impressions > 0 {
            warnings.push(
                "the share of usable addresses is not known: there are too many requests to look through at once, \
                 ask for a shorter period"
                    .to_owned(),
            );
        }
        if self.position_unknown > 0 {
            let all = self.sums.impressions;
            warnings
                .push(format!("{} of {all} impressions: the ad's place in the file is unknown", self.position_unknown));
        }
        if self.reach_months > 1 {
            warnings.push(format!("reach is summed over the keys of {} months", self.reach_months));
        }
        if self.unverified != 0 {
            let share =
                self.unverified_share().map_or_else(|| "some".to_owned(), |share| format!("{:.1} %", share * 100.0));
            warnings.push(format!("{share} of the revenue is unverified (sent by a pixel)"));
        }
        if self.shown_only != 0 {
            warnings
                .push("what the pixel told of is unverified and only shown: it is no part of the revenue".to_owned());
        }
        if !self.other.is_empty() {
            warnings.push("revenue in other currencies is listed, not added".to_owned());
        }
        warnings
    }
}

impl Usable {
    /// Of what is kept: addresses are those of requests.
    async fn read(ask: &Ask, question: &Question) -> Result<Self> {
        let kept = question.since(ask.kept_from());
        let impressions = match ask.usable(&kept).await? {
            Some(usable) => usable,
            None => ask.one(&kept.usable()).await?.count(0, "usable"),
        };
        if kept.from == question.from {
            return Ok(Self { impressions, of: None, since: None });
        }
        let of = ask.one(&kept.impressions()).await?.count(0, "impressions");
        Ok(Self { impressions, of: Some(of), since: Some(kept.from) })
    }
}

/// Impressions per listener reached.
pub(crate) fn frequency(impressions: u64, devices: u64) -> Rate {
    Rate::plain(ratio(real(impressions), real(devices)))
}

/// What a row says is credited.
pub(crate) fn credited_sums(credits: &Rows, row: usize) -> Sums {
    Sums {
        revenue: credits.int(row, "revenue_minor"),
        revenue_squares: credits.real(row, "revenue_squares"),
        visits_micro: credits.int(row, "visits_micro"),
        leads_micro: credits.int(row, "leads_micro"),
        conversions_micro: credits.int(row, "conversions_micro"),
        orders_micro: credits.int(row, "orders_micro"),
        ..Sums::default()
    }
}

/// Months that impressions from `first` to `last` touch.
fn months(first: Micros, last: Micros, impressions: u64) -> i64 {
    if impressions == 0 { 0 } else { i64::from(last.day().month().0 - first.day().month().0) + 1 }
}

#[expect(clippy::cast_precision_loss, reason = "rates are approximate; below 2^53 nothing is lost")]
fn real(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "rates are approximate; below 2^53 nothing is lost")]
fn signed(amount: i64) -> f64 {
    amount as f64
}
