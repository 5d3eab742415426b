//! What redirects and pixels saw, on its way to the log.
//!
//! ```text
//! redirect, pixel ─put─▶ bounded queue ─flush, at most every quarter second─▶ records ─append─▶ log
//!                          └ full: dropped and counted
//! ```
//! This is no acceptance. While the log is away the flusher keeps trying with what it holds, the queue
//! fills, and what no longer fits is counted in `castback_redirects_unlogged_total`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use castback_schemas::event::{Conversion, ListenerRequest};
use castback_schemas::{AccountId, CampaignId, Currency, Micros, PodcastId, Topic};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::intake::batch::{Batch, append};
use crate::intake::edge::{Edge, Failure, Seen};
use crate::intake::requests::one;
use crate::intake::{off_the_runtime, room};
use crate::metrics::Metrics;
use crate::problem::{Code, Result};

/// Sightings that wait: some seconds of a busy installation, 5 MB or so. What comes when it is full is
/// dropped and counted.
const QUEUE: usize = 20_000;

/// Sightings of one round.
const ROUND: usize = 5_000;

/// How long a sighting waits for others.
const GATHER: Duration = Duration::from_millis(200);

/// Pause before what the log did not take is sent again.
const AGAIN: Duration = Duration::from_millis(500);

/// Attempts for a round once the server stops; then the rest is dropped and counted.
const LAST_ATTEMPTS: u32 = 2;

/// Longest header that is kept, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// A request that was led on to a file.
#[derive(Debug, Clone)]
pub(crate) struct Download {
    /// Made when it was seen, so that an append that is sent again is known.
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) podcast: PodcastId,
    pub(crate) enclosure_url: String,
    pub(crate) method: String,
    pub(crate) range: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) referer: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) at: Micros,
}

/// A pixel, or a visit by a vanity address (then `slug` is set).
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) account: AccountId,
    pub(crate) campaign: CampaignId,
    pub(crate) data_set: String,
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) value: Option<(i64, Currency)>,
    pub(crate) slug: Option<String>,
    pub(crate) referrer: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) at: Micros,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) enum Sighting {
    Download(Download),
    Visit(Visit),
}

/// The queue's entrance.
#[derive(Debug)]
pub(crate) struct Sightings(mpsc::Sender<Sighting>);

/// The queue's exit, for [`flush`].
#[derive(Debug)]
pub struct SightingsReceiver(mpsc::Receiver<Sighting>);

/// A new queue.
pub(crate) fn sightings() -> (Sightings, SightingsReceiver) {
    let (entrance, exit) = mpsc::channel(QUEUE);
    (Sightings(entrance), SightingsReceiver(exit))
}

impl Sightings {
    /// Never waits: what does not fit is counted.
    pub(crate) fn put(&self, metrics: &Metrics, sighting: Sighting) {
        if self.0.try_send(sighting).is_err() {
            metrics.redirects_unlogged.inc();
        }
    }
}

/// Writes what redirects and pixels saw until `stop`, then what is left. Cancel `stop` once the last
/// connection is closed.
pub async fn flush(app: Arc<App>, SightingsReceiver(mut queue): SightingsReceiver, stop: CancellationToken) {
    let depth = app.metrics.queue_depth.with_label_values(&["redirects"]);
    loop {
        let mut round = Vec::new();
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut round, ROUND) => if taken == 0 { return },
            () = stop.cancelled() => return,
        }
        if !stop.is_cancelled() {
            tokio::time::sleep(GATHER).await;
        }
        while round.len() < ROUND
            && let Ok(more) = queue.try_recv()
        {
            round.push(more);
        }
        depth.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
        write(&app, round, &stop).await;
    }
}

/// Writes a round, as often as it takes.
async fn write(app: &Arc<App>, round: Vec<Sighting>, stop: &CancellationToken) {
    let mut waiting = by_account(round);
    let mut attempts_left = LAST_ATTEMPTS;
    loop {
        let mut left = BTreeMap::new();
        for (key, sightings) in waiting {
            if let Err(problem) = write_all(app, key, sightings.clone()).await {
                tracing::warn!(error = %problem, waiting = sightings.len(), "what redirects saw can't be written yet");
                left.insert(key, sightings);
            }
        }
        attempts_left -= u32::from(stop.is_cancelled());
        if left.is_empty() || attempts_left == 0 {
            let lost: usize = left.values().map(Vec::len).sum();
            app.metrics.redirects_unlogged.inc_by(lost as u64);
            return;
        }
        waiting = left;
        tokio::time::sleep(AGAIN).await;
    }
}

/// Sightings of one account on one topic, in order.
fn by_account(round: Vec<Sighting>) -> BTreeMap<(AccountId, Topic), Vec<Sighting>> {
    let mut sorted: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sighting in round {
        let key = match &sighting {
            Sighting::Download(download) => (download.account, Topic::ListenerRequests),
            Sighting::Visit(visit) => (visit.account, Topic::Conversions),
        };
        sorted.entry(key).or_default().push(sighting);
    }
    sorted
}

async fn write_all(app: &Arc<App>, (account, topic): (AccountId, Topic), all: Vec<Sighting>) -> Result<()> {
    if topic == Topic::Conversions
        && let Err(problem) = room::for_conversions(app, account).await
    {
        if problem.code() != Code::RateLimited {
            return Err(problem);
        }
        tracing::warn!(%account, lost = all.len(), "conversions of redirects are not taken: the account is full");
        app.metrics.redirects_unlogged.inc_by(all.len() as u64);
        return Ok(());
    }
    let mut edge = Edge::new(Arc::clone(app));
    let here = Arc::clone(app);
    let batch = off_the_runtime(app, move || {
        let mut batch = Batch::new(topic, account);
        for sighting in all {
            match sighting {
                Sighting::Download(seen) => {
                    let key = Bytes::from(seen.podcast.to_string());
                    batch.add(&here.encoders, one(download(&mut edge, seen))?.map(|event| (key, event)))?;
                }
                Sighting::Visit(seen) => {
                    let event = visit(&mut edge, seen)?;
                    batch.add(&here.encoders, Ok((Bytes::from(event.event_id.clone()), event)))?;
                }
            }
        }
        batch.months = edge.into_months();
        Ok(batch)
    });
    let accepted = append(app, batch.await?).await?;
    app.metrics.redirects_unlogged.inc_by(accepted.rejected.len() as u64);
    Ok(())
}

/// A redirect sends no byte of the file, and so completes no download; the status is the one that the file's host would
/// have to give for one.
fn download(edge: &mut Edge, seen: Download) -> Result<ListenerRequest, Failure> {
    let short = |text: Option<String>| text.filter(|text| text.len() <= MAX_TEXT);
    let status = if seen.range.is_some() { 206 } else { 200 };
    edge.request(
        seen.account,
        Seen {
            id: seen.id,
            podcast: seen.podcast,
            enclosure_url: seen.enclosure_url,
            occurred_at: seen.at,
            method: seen.method,
            status,
            range: short(seen.range),
            bytes_sent: Some(0),
            file_bytes: None,
            user_agent: short(seen.user_agent).filter(|text| !text.is_empty()),
            address: seen.address,
            referer: short(seen.referer),
            country: None,
            ads: Vec::new(),
            source: "prefix",
        },
    )
}

fn visit(edge: &mut Edge, seen: Visit) -> Result<Conversion> {
    let by_vanity = seen.slug.is_some();
    let (network, network_version) = edge.network(seen.address, seen.at);
    Ok(Conversion {
        event_id: format!("{}/{}", seen.data_set, seen.id),
        account_id: seen.account,
        occurred_at: seen.at,
        recorded_at: edge.now(),
        revision: 0,
        data_set_id: seen.data_set,
        id: seen.id,
        event_type: seen.event_type,
        value_minor: seen.value.map(|(minor, _)| minor),
        currency: seen.value.map(|(_, currency)| currency.to_string()),
        transaction_id: None,
        coupon: None,
        referrer: seen.referrer.filter(|text| text.len() <= MAX_TEXT),
        customer: None,
        network: network.as_str().to_owned(),
        network_version,
        households: edge.households(seen.address, seen.at)?,
        campaign_id: Some(seen.campaign.to_string()),
        vanity_slug: seen.slug,
        survey_answer: None,
        utm: None,
        source: if by_vanity { "vanity" } else { "pixel" }.to_owned(),
        // A visit was seen by ourselves; what a pixel says, anyone could have said.
        verified: by_vanity,
    })
}
