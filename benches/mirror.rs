//! From committed rows to the mirror: `cargo bench --bench mirror [points]`.
//!
//! A store holds compacted minutes of campaigns (1,000,000 unless told otherwise), as an installation does whose mirror
//! was away. What the mirror lacks is read, made into lines and written to a server that takes InfluxDB's, which runs on
//! the same machine. Each point has the fields of a minute of a campaign.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that prints what it saw")]

mod support {
    pub(crate) mod anew;
    pub(crate) mod commits;
    pub(crate) mod figure;
    pub(crate) mod meter;
    pub(crate) mod parts;
    pub(crate) mod servers;
    pub(crate) mod slow;
    pub(crate) mod store;
}

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use castback_schemas::table::{Column, ColumnType, Table};
use castback_schemas::time::MINUTE;
use castback_schemas::{AccountId, Revision, Series, Slot};
use castback_store::mirror::{Mirror, MirrorAddress, MirrorOptions, Written, batches, changed_places, changed_points};
use support::commits::{Commits, START};
use support::meter::{Meter, Outcome};
use support::{anew, figure, parts, store};
use uuid::Uuid;

const SERIES: Series = Series::CampaignPerformance;
const CAMPAIGNS: i64 = 100;
/// Rows of a commit.
const COMMIT_ROWS: i64 = 50_000;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    if !anew::is_child() {
        return parts::run_each(&["victoria"], &[&["s3-slow"]]);
    }
    let points: i64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    let account = AccountId::from_uuid(Uuid::from_u128(1));
    let commits = Commits::open(folder.path(), store::open(folder.path())?, account).await;
    for start in (0..points).step_by(usize::try_from(COMMIT_ROWS)?) {
        let rows: Vec<i64> = (start..points.min(start + COMMIT_ROWS)).collect();
        commits.commit(vec![(Table::CampaignPerformance, minutes(account, &rows)?)]).await;
    }
    commits.compact().await;

    let meter = Meter::start("self")?;
    let written = mirror(&commits).await?;
    let used = meter.used(u64::try_from(points)?)?;
    if written != (Written { taken: usize::try_from(points)?, rejected: 0 }) {
        return Err(format!("{written:?} of {points} points").into());
    }
    println!("  {used}");
    figure::tell(used.rate())
}

/// Writes all that the mirror lacks, as the relay does.
async fn mirror(commits: &Commits) -> Outcome<Written> {
    let server = parts::address("victoria").ok_or("no server to mirror to")?;
    let MirrorAddress { server, bucket } = format!("influxdb://{server}/castback").parse()?;
    let mirror = Mirror::new(MirrorOptions { server, bucket, organization: None, token: None })?;
    let (bucket, view) = (mirror.prepare().await?, commits.view().await);
    let mut all = Written::default();
    for place in changed_places(&view, SERIES, Revision(0)) {
        let points = changed_points(&commits.store, &view, (SERIES, &place), Revision(0)).await?;
        for batch in batches(points) {
            let written = mirror.write(&bucket, &batch).await?;
            all.taken += written.taken;
            all.rejected += written.rejected;
        }
    }
    Ok(all)
}

/// A minute of every campaign, then the next minute.
fn minutes(account: AccountId, rows: &[i64]) -> Outcome<RecordBatch> {
    let spec = Table::CampaignPerformance.spec();
    let columns = spec.columns.iter().map(|column| values(column, account, rows)).collect();
    Ok(RecordBatch::try_new(spec.schema(), columns)?)
}

fn values(column: &Column, account: AccountId, rows: &[i64]) -> ArrayRef {
    let text = |row: i64| match column.name {
        "account_id" => account.to_string(),
        "currency" => "EUR".to_owned(),
        _ => Uuid::from_u128(u128::from((row % CAMPAIGNS).cast_unsigned())).to_string(),
    };
    let rows = rows.iter().copied();
    match column.column_type {
        ColumnType::Text => Arc::new(rows.map(|row| Some(text(row))).collect::<StringArray>()),
        ColumnType::Time => {
            let starts = rows.map(|row| START + row / CAMPAIGNS * MINUTE);
            Arc::new(TimestampMicrosecondArray::from_iter_values(starts).with_timezone("UTC"))
        }
        ColumnType::Bool => Arc::new(rows.map(|_| Some(false)).collect::<BooleanArray>()),
        _ if column.name == "slot" => {
            let slot = i64::from(Slot::of(account).0);
            Arc::new(rows.map(|_| slot).collect::<Int64Array>())
        }
        // Some thousands, different in each minute.
        _ => Arc::new(rows.map(|row| row * 7_919 % 5_000).collect::<Int64Array>()),
    }
}
