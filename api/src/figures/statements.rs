//! The statements of a question: each answers one figure over `POST /v1/sql`.

use castback_schemas::Currency;
use castback_schemas::table::Table;
use castback_store::KeptColumns;

use crate::query::literal::{DAY_NUMBER, list, text, within};

use super::Question;

/// What the statements of a question name of the tables that most of them read.
pub(crate) const NAMED: KeptColumns = &[
    (
        Table::AdDeliveries,
        &[
            "request_offset",
            "campaign_id",
            "episode_id",
            "occurred_at",
            "listener",
            "household",
            "position_unknown",
            "window_utc_day",
            "window_first_touch",
            "window_last_touch",
            "exposure",
            "commit",
        ],
    ),
    (
        Table::Credits,
        &[
            "slot",
            "conversion_offset",
            "campaign_id",
            "model",
            "occurred_at",
            "event_type",
            "credit_micro",
            "revenue_minor",
            "currency",
            "verified",
            "household",
            "commit",
        ],
    ),
];

/// Events that are conversions: all but visits, leads and refunds.
pub(super) const IS_CONVERSION: &str = "event_type NOT IN ('visit', 'page_view', 'lead', 'generate_lead', 'refund')";

/// Listeners of one address and day above which it tells no household.
pub(super) const MAX_SHARED: u16 = 10;

const VISITS_MICRO: &str = "coalesce(sum(CASE WHEN event_type IN ('visit', 'page_view') THEN credit_micro END), 0)";
const LEADS_MICRO: &str = "coalesce(sum(CASE WHEN event_type IN ('lead', 'generate_lead') THEN credit_micro END), 0)";

/// What is credited, as a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Visits.
    Visits,
    /// Leads.
    Leads,
    /// Conversions.
    Conversions,
    /// Conversions that bring money of the campaign's currency.
    Orders,
}

impl Part {
    pub(super) fn micro(self, currency: Currency) -> String {
        match self {
            Self::Visits => VISITS_MICRO.to_owned(),
            Self::Leads => LEADS_MICRO.to_owned(),
            Self::Conversions => format!("coalesce(sum(CASE WHEN {IS_CONVERSION} THEN credit_micro END), 0)"),
            Self::Orders => format!(
                "coalesce(sum(CASE WHEN event_type IN ('purchase', 'subscribe', 'donate') AND currency = {} \
                 THEN credit_micro END), 0)",
                text(currency.code())
            ),
        }
    }
}

impl Question {
    /// Every sum, in the order of [`super::Figures::read`].
    pub(crate) fn statements(&self) -> [String; 9] {
        let (delivered, credited) = (self.delivered(), self.credited());
        let facts = format!(
            "SELECT count(*) AS impressions, coalesce(sum(CASE WHEN position_unknown THEN 1 ELSE 0 END), 0) AS position_unknown, \
             min(CAST(occurred_at AS BIGINT)) AS first_us, max(CAST(occurred_at AS BIGINT)) AS last_us FROM {delivered}"
        );
        let other = format!(
            "SELECT currency, sum(revenue_minor) AS revenue_minor FROM {credited} AND currency <> {} \
             GROUP BY currency HAVING sum(revenue_minor) <> 0 ORDER BY currency",
            text(self.currency.code()),
        );
        [
            facts,
            self.downloads(),
            self.reach("listener"),
            self.reach("household"),
            self.cost(),
            self.credits(),
            other,
            self.converting(),
            self.unattributed(),
        ]
    }

    /// What is credited, all sums at once.
    pub(super) fn credits(&self) -> String {
        format!(
            "SELECT {}, coalesce(sum(CASE WHEN NOT verified AND currency = {} THEN revenue_minor END), 0) AS unverified_minor \
             FROM {}",
            self.credited_sums(),
            text(self.currency.code()),
            self.credited(),
        )
    }

    /// The sums of what is credited, as SELECT lists them.
    pub(super) fn credited_sums(&self) -> String {
        format!(
            "{} AS visits_micro, {} AS leads_micro, {} AS conversions_micro, {} AS orders_micro, \
             {} AS revenue_minor, coalesce(sum({}), 0.0) AS revenue_squares",
            Part::Visits.micro(self.currency),
            Part::Leads.micro(self.currency),
            Part::Conversions.micro(self.currency),
            Part::Orders.micro(self.currency),
            self.revenue_minor(),
            self.square(),
        )
    }

    /// The deliveries of the range, as what follows FROM.
    pub(crate) fn delivered(&self) -> String {
        format!("{} AND {}", self.heard_of(), within("occurred_at", self.from, self.to))
    }

    /// What follows FROM for every delivery of the campaign, of whatever time.
    pub(super) fn heard_of(&self) -> String {
        format!("ad_deliveries WHERE campaign_id = '{}' AND {}", self.campaign, self.heard.flag())
    }

    /// The credits of the range, as what follows FROM.
    pub(crate) fn credited(&self) -> String {
        let (campaign, model) = (self.campaign, self.model.name());
        let range = within("occurred_at", self.from, self.conversions_to);
        format!("credits WHERE campaign_id = '{campaign}' AND model = '{model}' AND {range}")
    }

    /// Impressions.
    pub(crate) fn impressions(&self) -> String {
        format!("SELECT count(*) AS impressions FROM {}", self.delivered())
    }

    /// Downloads that delivered an ad.
    pub(crate) fn downloads(&self) -> String {
        format!("SELECT count(*) AS downloads FROM (SELECT DISTINCT request_offset FROM {}) AS d", self.delivered())
    }

    /// Distinct listeners or households; a hash is of its month's key, so months add up.
    pub(crate) fn reach(&self, of: &str) -> String {
        format!("SELECT count(*) AS {of}s FROM (SELECT DISTINCT {of} FROM {}) AS d", self.delivered())
    }

    /// Impressions before and until the end of the range, which a CPM is cumulated over.
    fn cost(&self) -> String {
        format!(
            "SELECT count(*) AS until, coalesce(sum(CASE WHEN occurred_at < '{}' THEN 1 ELSE 0 END), 0) AS before \
             FROM {} AND occurred_at < '{}'",
            self.from,
            self.heard_of(),
            self.to
        )
    }

    /// Spend: the difference of two cumulates, each rounded half to even, capped at the budget.
    pub(crate) fn spend(&self) -> String {
        if let Some((cpm, budget)) = self.cpm() {
            let capped = |count: &str| format!("least({}, {budget})", half_even(&format!("({count} * {cpm})"), 1_000));
            let (until, before) = (capped("c.until"), capped("c.before"));
            return format!("SELECT {until} - {before} AS spend_minor FROM ({}) AS c", self.cost());
        }
        if let Some((price, [before, until], seconds)) = self.flat() {
            let earned = |elapsed: i64| half_even(&format!("({price} * {elapsed})"), seconds);
            return format!("SELECT {} - {} AS spend_minor", earned(until), earned(before));
        }
        "SELECT CAST(0 AS BIGINT) AS spend_minor".to_owned()
    }

    /// The column of the revenue in the campaign's currency.
    pub(super) fn revenue_minor(&self) -> String {
        let currency = text(self.currency.code());
        format!("coalesce(sum(CASE WHEN currency = {currency} THEN revenue_minor END), 0)")
    }

    /// What the revenue's spread adds up.
    pub(super) fn square(&self) -> String {
        let currency = text(self.currency.code());
        format!(
            "CASE WHEN currency = {currency} THEN CAST(revenue_minor AS DOUBLE) * CAST(revenue_minor AS DOUBLE) END"
        )
    }

    /// Revenue in the campaign's currency, refunds subtracted.
    pub(crate) fn revenue(&self) -> String {
        format!("SELECT {} AS revenue_minor FROM {}", self.revenue_minor(), self.credited())
    }

    /// A credited figure, in whole ones.
    pub(crate) fn part(&self, part: Part) -> String {
        format!("SELECT CAST({} AS DOUBLE) / 1000000.0 AS credited FROM {}", part.micro(self.currency), self.credited())
    }

    fn part_micro(&self, part: Part) -> String {
        format!("SELECT {} AS credit_micro FROM {}", part.micro(self.currency), self.credited())
    }

    /// Households that converted, among those reached.
    pub(crate) fn converting(&self) -> String {
        format!(
            "SELECT count(*) AS converting_households FROM \
             (SELECT DISTINCT household FROM {} AND credit_micro > 0 AND {IS_CONVERSION}) AS c \
             JOIN (SELECT DISTINCT household FROM {}) AS d ON c.household = d.household",
            self.credited(),
            self.delivered()
        )
    }

    /// Conversions of the campaign's data sets that nothing is credited for; what anyone could have sent by
    /// a pixel is none.
    pub(crate) fn unattributed(&self) -> String {
        format!("SELECT count(*) AS unattributed_conversions FROM {}", self.of_nobody())
    }

    /// What follows FROM for [`Self::unattributed`]: the credits of nobody as `c`.
    pub(super) fn of_nobody(&self) -> String {
        let range = within("occurred_at", self.from, self.conversions_to);
        format!(
            "(SELECT slot, conversion_offset, occurred_at, commit FROM credits \
             WHERE campaign_id = '' AND {IS_CONVERSION} AND {range}) AS c \
             JOIN (SELECT slot, \"offset\" FROM conversions WHERE data_set_id IN {} AND source <> 'pixel' AND {range}) AS k \
             ON c.slot = k.slot AND c.conversion_offset = k.\"offset\"",
            list(self.data_sets.iter().map(String::as_str))
        )
    }

    /// Revenue that the pixel told of and that is shown only, in the campaign's currency.
    pub(crate) fn shown_only(&self) -> String {
        format!(
            "SELECT coalesce(sum(CASE WHEN event_type = 'refund' THEN -value_minor ELSE value_minor END), 0) AS revenue_minor \
             FROM conversions WHERE campaign_id = '{}' AND source = 'pixel' AND verdict = 'counted' AND currency = {} \
             AND event_type IN ('purchase', 'subscribe', 'donate', 'refund') AND {}",
            self.campaign,
            text(self.currency.code()),
            within("occurred_at", self.from, self.conversions_to)
        )
    }

    /// Impressions at addresses that at most 10 listeners shared that day.
    pub(crate) fn usable(&self) -> String {
        let days = within(
            "occurred_at",
            self.from.floor(castback_schemas::time::DAY),
            self.to.plus(castback_schemas::time::DAY),
        );
        format!(
            "SELECT count(*) AS usable FROM (SELECT household, {DAY_NUMBER} AS day FROM {delivered}) AS d \
             JOIN (SELECT household, day FROM (SELECT DISTINCT household, listener, {DAY_NUMBER} AS day FROM requests WHERE {days} \
             AND household IN (SELECT household FROM {delivered})) AS l \
             GROUP BY household, day HAVING count(*) <= {MAX_SHARED}) AS r ON d.household = r.household AND d.day = r.day",
            delivered = self.delivered()
        )
    }

    /// Downloads with an ad in each window.
    pub(crate) fn in_windows(&self) -> String {
        let of = |flag: &str| format!("count(DISTINCT CASE WHEN {flag} THEN request_offset END)");
        format!(
            "SELECT {} AS utc_day, {} AS first_touch, {} AS last_touch FROM ad_deliveries WHERE campaign_id = '{}' AND {}",
            of("window_utc_day"),
            of("window_first_touch"),
            of("window_last_touch"),
            self.campaign,
            within("occurred_at", self.from, self.to)
        )
    }

    /// Impressions by episode, the most heard first. What is distinct is made so before it is counted: counting
    /// distinct hashes by group takes ten times as long.
    pub(crate) fn by_episode(&self, most: usize) -> String {
        let delivered = self.delivered();
        let distinct = |of: &str| {
            format!(
                "(SELECT episode_id, count(*) AS {of}s FROM (SELECT DISTINCT episode_id, {of} FROM {delivered}) AS d \
                 GROUP BY episode_id)"
            )
        };
        format!(
            "SELECT i.episode_id, impressions, request_offsets AS downloads, listeners AS devices, households FROM \
             (SELECT episode_id, count(*) AS impressions FROM {delivered} GROUP BY episode_id) AS i \
             JOIN {} AS r ON i.episode_id = r.episode_id JOIN {} AS l ON i.episode_id = l.episode_id \
             JOIN {} AS h ON i.episode_id = h.episode_id ORDER BY impressions DESC, i.episode_id LIMIT {most}",
            distinct("request_offset"),
            distinct("listener"),
            distinct("household"),
        )
    }

    /// What is credited, by type of conversion.
    pub(crate) fn by_type(&self) -> String {
        format!(
            "SELECT event_type, CAST(sum(credit_micro) AS DOUBLE) / 1000000.0 AS credited, {} AS revenue_minor FROM {} \
             GROUP BY event_type ORDER BY event_type",
            self.revenue_minor(),
            self.credited()
        )
    }

    /// Spend per thousand impressions, in major units like the next two.
    pub(crate) fn cpm_rate(&self) -> String {
        quotient(&self.spend(), &self.impressions(), ("* 1000.0 ", self.major()))
    }

    /// Spend per credited part.
    pub(crate) fn cost_per(&self, part: Part) -> String {
        quotient(&self.spend(), &self.part_micro(part), ("* 1000000.0 ", self.major()))
    }

    /// Revenue per order.
    pub(crate) fn order_value(&self) -> String {
        quotient(&self.revenue(), &self.part_micro(Part::Orders), ("* 1000000.0 ", self.major()))
    }

    /// Minor units of a major one.
    pub(super) fn major(&self) -> f64 {
        f64::from(10_u32.pow(self.currency.decimals()))
    }

    /// Revenue per spend.
    pub(crate) fn roas(&self) -> String {
        quotient(&self.revenue(), &self.spend(), WHOLE)
    }

    /// Revenue less spend, per spend.
    pub(crate) fn roi(&self) -> String {
        let (revenue, spend) = (self.revenue(), self.spend());
        let gain =
            format!("SELECT r.revenue_minor - s.spend_minor AS gain FROM ({revenue}) AS r CROSS JOIN ({spend}) AS s");
        quotient(&gain, &spend, WHOLE)
    }

    /// Converting households per household reached.
    pub(crate) fn conversion_rate(&self) -> String {
        quotient(&self.converting(), &self.reach("household"), WHOLE)
    }

    /// Impressions per listener.
    pub(crate) fn frequency(&self) -> String {
        quotient(&self.impressions(), &self.reach("listener"), WHOLE)
    }

    /// The share of impressions at usable addresses.
    pub(crate) fn usable_share(&self) -> String {
        quotient(&self.usable(), &self.impressions(), WHOLE)
    }
}

/// `n / d` to the nearest whole number, halves to the even one, for what is not negative.
fn half_even(n: &str, d: i64) -> String {
    format!(
        "({n} / {d} + CASE WHEN 2 * ({n} % {d}) > {d} OR (2 * ({n} % {d}) = {d} AND {n} / {d} % 2 = 1) THEN 1 ELSE 0 END)"
    )
}

/// A quotient as it is.
const WHOLE: (&str, f64) = ("", 1.0);

/// The quotient of two statements of one value, in units of the last; null where the second is 0.
fn quotient(above: &str, below: &str, (scale, unit): (&str, f64)) -> String {
    format!(
        "SELECT CAST(a.x AS DOUBLE) {scale}/ NULLIF(CAST(b.x AS DOUBLE), 0.0) / {unit:.1} AS quotient \
         FROM ({above}) AS a(x) CROSS JOIN ({below}) AS b(x)"
    )
}
