//! `GET /v1/ledger/balance`: accepted = counted + duplicate + filtered + late + dead-lettered.
//!
//! What was accepted is counted by the unit `tally`, which shares no code with the units that give
//! verdicts; both sides are read as of one commit. The tally follows the verdicts by a tick, so a
//! difference is looked at again, for a while, before it is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::retention::Kept;
use castback_catalogue::units::UnitStatus;
use castback_schemas::time::HOUR;
use castback_schemas::{Group, Micros, Slot, Topic, Unit};
use castback_store::balance::Cutoffs;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::extract::Query;
use crate::identity::Scope;
use crate::problem::Result;
use crate::query::range::{range, word};

/// Topics whose records are judged, and by which group.
pub(super) const JUDGED: [(Topic, Group); 3] = [
    (Topic::ListenerRequests, Group::Counting),
    (Topic::Conversions, Group::Counting),
    (Topic::AppEvents, Group::Experience),
];

/// How long the tally may lag behind the verdicts before the difference is told.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// `listener-requests`, `conversions` or `app-events`; all if not given.
    topic: Option<String>,
    /// The first instant of append time; the hour that it lies in is weighed as a whole.
    from: Option<String>,
    /// The first instant of append time no longer asked about; the hour that it lies in is weighed as a whole.
    to: Option<String>,
}

/// Both sides of the identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Balance {
    /// Records on the log that the verdicts have come to.
    pub(crate) accepted: i64,
    /// Used.
    pub(crate) counted: i64,
    /// Sent or heard before.
    pub(crate) duplicate: i64,
    /// Filtered, for a reason.
    pub(crate) filtered: i64,
    /// Of a day that is frozen; a recount follows.
    pub(crate) late: i64,
    /// Unreadable.
    pub(crate) dead_lettered: i64,
    /// On the log, without a verdict yet.
    pub(crate) pending: i64,
    /// Whether both sides are the same.
    pub(crate) balanced: bool,
    /// The first instant of append time that is weighed: the start of an hour. Null for everything, like `to`.
    #[schema(value_type = Option<String>)]
    pub(crate) from: Option<Micros>,
    /// The first instant of append time that is no longer weighed: the start of an hour.
    #[schema(value_type = Option<String>)]
    pub(crate) to: Option<Micros>,
    /// The commit that was read.
    pub(crate) revision: i64,
    /// Records appended before this are past their retention and left out on both sides; of several
    /// accounts the latest such time, each is weighed from its own. Null when nothing is past it.
    #[schema(value_type = Option<String>)]
    pub(crate) kept_from: Option<Micros>,
}

/// What is weighed.
struct Weighed {
    scope: Scope,
    topics: Vec<(Topic, Group)>,
    range: Option<(Micros, Micros)>,
}

/// The identity, for a topic and hours, or for everything.
#[utoipa::path(get, path = "/v1/ledger/balance", tag = "why", params(Parameters),
    responses((status = 200, body = Balance)))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Query(parameters): Query<Parameters>,
) -> Result<Answer<Balance>> {
    let words: Vec<(&str, Option<usize>)> = [("all", None)]
        .into_iter()
        .chain(JUDGED.iter().enumerate().map(|(i, (topic, _))| (topic.name(), Some(i))))
        .collect();
    let topics = match word(parameters.topic.as_deref(), "topic", &words)? {
        None => JUDGED.to_vec(),
        Some(index) => vec![JUDGED[index]],
    };
    let (from, to) = (parameters.from.as_deref(), parameters.to.as_deref());
    let range = if from.is_none() && to.is_none() {
        None
    } else {
        let (from, to) = range((from, to), (Micros(0), app.clock.now().plus(1)))?;
        // Tallies are by hour; the answer says which hours it is about.
        Some((from.floor(HOUR), to.plus(HOUR - 1).floor(HOUR)))
    };
    Ok(Answer(settled(&app, &Weighed { scope, topics, range }).await?))
}

/// The balance of everything in a scope as it is now: the tally may be a tick behind.
pub(crate) async fn now(app: &App, scope: Scope) -> Result<Balance> {
    weigh(app, &Weighed { scope, topics: JUDGED.to_vec(), range: None }).await
}

/// Weighs until both sides are the same, or the tally has come as far as the verdicts, or patience ends.
async fn settled(app: &App, weighed: &Weighed) -> Result<Balance> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let balance = weigh(app, weighed).await?;
        if balance.balanced || Instant::now() >= deadline {
            return Ok(balance);
        }
        sleep(PAUSE).await;
    }
}

async fn weigh(app: &App, weighed: &Weighed) -> Result<Balance> {
    // First what waits: whatever comes meanwhile is judged in the view, never missing from both.
    let pending = pending(app, weighed).await?;
    let before = kept(app, weighed.scope).await?;
    let view = app.reads.pinned(&app.catalogue).await?;
    // After the view is pinned: what goes meanwhile is still in it, what has gone is before a cut-off.
    let after = kept(app, weighed.scope).await?;
    // Sums are remembered of what is there: while rows before a cut-off go or wait, all is read.
    let is_clean = before == after && after.iter().all(|kept| kept.cleaned_to >= kept.kept_from);
    let cutoffs: Cutoffs = after.into_iter().map(|kept| (kept.account, kept.kept_from)).collect();
    let summed = if weighed.range.is_none() && is_clean {
        app.store.balance_of_all(&view, weighed.scope.into(), &cutoffs).await?
    } else {
        None
    };
    let balances = if let Some(summed) = summed {
        summed
    } else {
        let range = weighed.range.unwrap_or((Micros(i64::MIN), Micros(i64::MAX)));
        app.store.balance(&view, weighed.scope.into(), (range, &cutoffs)).await?
    };
    let mut sum = castback_store::balance::Balance::default();
    for (topic, _) in &weighed.topics {
        let of = balances.get(topic).copied().unwrap_or_default();
        sum.accepted += of.accepted;
        sum.counted += of.counted;
        sum.duplicate += of.duplicate;
        sum.filtered += of.filtered;
        sum.late += of.late;
        sum.dead_lettered += of.dead_lettered;
    }
    Ok(Balance {
        accepted: sum.accepted,
        counted: sum.counted,
        duplicate: sum.duplicate,
        filtered: sum.filtered,
        late: sum.late,
        dead_lettered: sum.dead_lettered,
        pending,
        balanced: sum.accepted == sum.judged(),
        from: weighed.range.map(|(from, _)| from),
        to: weighed.range.map(|(_, to)| to),
        revision: view.revision().0,
        kept_from: cutoffs.into_values().max(),
    })
}

/// What is kept of a scope's accounts, of those of which something is not.
pub(super) async fn kept(app: &App, scope: Scope) -> Result<Vec<Kept>> {
    let mut kept = match scope {
        Scope::Account(account) => vec![app.catalogue.kept_of(account).await?],
        Scope::All => app.catalogue.kept().await?,
    };
    kept.retain(|kept| kept.kept_from > Micros(0));
    Ok(kept)
}

/// Records on the log behind the position of the unit that gives their verdicts.
async fn pending(app: &App, weighed: &Weighed) -> Result<i64> {
    let slots: BTreeSet<Slot> = match weighed.scope {
        Scope::Account(account) => BTreeSet::from([Slot::of(account)]),
        Scope::All => Slot::all().collect(),
    };
    let units = app.catalogue.units().await?;
    let mut pending = 0;
    for slot in slots {
        for (topic, group) in &weighed.topics {
            let ends = app.log.ends(*topic, slot).await?;
            let position = position(&units, Unit { group: *group, slot }, *topic).unwrap_or(ends.start);
            pending += (ends.end - position.max(ends.start)).max(0);
        }
    }
    Ok(pending)
}

pub(super) fn position(units: &[UnitStatus], unit: Unit, topic: Topic) -> Option<i64> {
    units.iter().find(|status| status.unit == unit)?.positions.0.get(topic.name()).copied()
}
