//! The maker of reports: claims jobs, writes documents, renders them, keeps the files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use castback_catalogue::reports::{Report, ReportKind};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntGauge};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::identity::Scope;
use crate::problem::{Problem, Result};
use crate::query::Ask;
use crate::render::{Block, Document, Figure, Format, Value, render};
use crate::reports::{Making, spec};

/// How often a job is looked for that another process was asked for.
const LOOK: Duration = Duration::from_millis(500);

/// How often the claim is renewed: the lease is a minute.
const RENEW: Duration = Duration::from_secs(10);

/// What is measured of reports.
struct Measures {
    time: HistogramVec,
    pdf_bytes: Histogram,
    difference: IntGauge,
}

impl Measures {
    fn new(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        let named = |name: &str, help: &str| HistogramOpts::new(name, help).namespace("castback");
        let times = named("report_generation_time_seconds", "Time to make a report")
            .buckets(vec![0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]);
        let sizes = named("report_pdf_bytes", "Size of a report as PDF")
            .buckets(prometheus::exponential_buckets(16_384.0, 2.0, 10)?);
        let difference =
            prometheus::Opts::new("roi_difference_minor", "|printed - recomputed by SQL| of the last ROI report");
        let measures = Self {
            time: HistogramVec::new(times, &["kind"])?,
            pdf_bytes: Histogram::with_opts(sizes)?,
            difference: IntGauge::with_opts(difference.namespace("castback"))?,
        };
        registry.register(Box::new(measures.time.clone()))?;
        registry.register(Box::new(measures.pdf_bytes.clone()))?;
        registry.register(Box::new(measures.difference.clone()))?;
        Ok(measures)
    }
}

/// Makes reports, one after the other, until `stop`; a report begun is ended by another maker.
///
/// # Errors
/// The metrics of reports are registered already: a second maker in one process.
pub async fn run(app: Arc<App>, stop: CancellationToken) -> Result<(), prometheus::Error> {
    let measures = Measures::new(&app.registry)?;
    let owner = app.ids.next(app.clock.now()).to_string();
    loop {
        let claimed = app.catalogue.claim_report(&owner).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "no report can be claimed");
            None
        });
        let work = async {
            match &claimed {
                Some(report) => make(&app, (report, &owner), &measures).await,
                None => drop(tokio::time::timeout(LOOK, app.report_wanted.notified()).await),
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = work => {}
        }
    }
}

async fn make(app: &Arc<App>, (report, owner): (&Report, &str), measures: &Measures) {
    let started = Instant::now();
    let progress = AtomicU8::new(1);
    let renewed = async {
        loop {
            tokio::time::sleep(RENEW).await;
            tell(app, (report, owner), progress.load(Ordering::Relaxed)).await;
        }
    };
    let made = tokio::select! {
        made = files(app, (report, owner), (measures, &progress)) => made,
        () = renewed => return,
    };
    let ended = match made {
        Ok(files) => {
            let kind = report.kind.as_str();
            measures.time.with_label_values(&[kind]).observe(started.elapsed().as_secs_f64());
            tracing::info!(report.id = %report.id, report.kind = kind, "a report is ready");
            app.catalogue.finish_report(report.id, owner, &files).await
        }
        Err(problem) => {
            tracing::error!(report.id = %report.id, problem = ?problem, "a report can't be made");
            app.catalogue.fail_report(report.id, owner, "it could not be made; ask for it again").await
        }
    };
    if let Err(error) = ended {
        tracing::warn!(report.id = %report.id, error = %error, "a report's end can't be kept");
    }
}

async fn tell(app: &App, (report, owner): (&Report, &str), percent: u8) {
    if let Err(error) = app.catalogue.report_progress(report.id, owner, percent).await {
        tracing::warn!(report.id = %report.id, error = %error, "a report's progress can't be told");
    }
}

/// The document in every format, as objects; their keys by format.
async fn files(
    app: &Arc<App>,
    (report, owner): (&Report, &str),
    (measures, progress): (&Measures, &AtomicU8),
) -> Result<BTreeMap<String, String>> {
    let now = app.clock.now();
    let ask = Ask::newest(app, Scope::Account(report.account)).await?.keeping();
    let making = Making { app, ask, report, now };
    let spec = spec(report.kind).ok_or_else(|| Problem::not_found("kind of report"))?;
    let document = (spec.build)(&making).await?;
    if report.kind == ReportKind::Roi {
        measures.difference.set(difference(&making.ask, &document).await?);
    }
    // With what it keeps in memory.
    drop(making);
    progress.store(60, Ordering::Relaxed);
    tell(app, (report, owner), 60).await;
    let rendered = tokio::task::spawn_blocking(move || {
        Format::ALL.map(|format| render(&document, format).map(|bytes| (format, bytes)))
    });
    let mut keys = BTreeMap::new();
    for file in rendered.await.map_err(Problem::internal)? {
        let (format, bytes) = file.map_err(Problem::internal)?;
        if format == Format::Pdf {
            measures.pdf_bytes.observe(f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        let key = format!("reports/{}/{}.{}", report.id, app.ids.next(now), format.name());
        app.store.objects().put(&key, Bytes::from(bytes)).await?;
        keys.insert(format.name().to_owned(), key);
    }
    progress.store(95, Ordering::Relaxed);
    Ok(keys)
}

/// Minor units by which the money printed differs from what its SQL answers: 0, or a defect.
async fn difference(ask: &Ask, document: &Document) -> Result<i64> {
    let figures = document.blocks.iter().filter_map(|block| match block {
        Block::Figures(figures) => Some(figures),
        _ => None,
    });
    let money: Vec<(&Figure, i64)> = figures
        .flatten()
        .filter_map(|figure| match &figure.value {
            Value::Money(money) => Some((figure, money.amount)),
            _ => None,
        })
        .collect();
    let statements: Vec<&str> = money.iter().map(|(figure, _)| figure.sql.as_str()).collect();
    let answers = ask.each(&statements).await?;
    Ok(money.iter().zip(&answers).map(|((_, printed), rows)| (printed - rows.first_int()).abs()).sum())
}
