//! A stored table in SQL. The account's rows are picked inside the scan, before anything that
//! SQL says is applied: filters, limits, joins and errors see no other rows.
//!
//! Filters on time and on the event only prune what is read (they are applied again above), a
//! limit is not used, and no statistics are given: those of a file are of every account in it.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use async_trait::async_trait;
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Day, Micros};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use tokio::sync::mpsc::Sender;

use super::{PARTITIONS, Source};
use crate::columns::{conform, stored_schema};
use crate::error::StoreError;
use crate::kept::Kept;
use crate::read::{decoded, readers};
use crate::scan::{Feed, Plan, ReadTask, Scan, Versions};

/// Batches that wait between readers and the query; a full channel stops the readers.
const BATCHES_AHEAD: usize = 4;

/// A stored table for one scope.
#[derive(Debug)]
pub(super) struct StoredTable {
    source: Source,
    table: Table,
    versions: Versions,
    schema: SchemaRef,
}

impl StoredTable {
    pub(super) fn new(source: Source, table: Table, versions: Versions) -> Self {
        Self { source, table, versions, schema: stored_schema(table) }
    }

    fn scan_of(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> Scan {
        let names: Vec<&'static str> =
            self.table.spec().columns.iter().map(|column| column.name).chain([crate::COMMIT]).collect();
        let columns = projection.map(|indices| indices.iter().filter_map(|index| names.get(*index).copied()).collect());
        let account = self.source.scope.account();
        let mut scan = Scan { columns, account, versions: self.versions, ..Scan::new(self.table) };
        for bound in filters.iter().filter_map(|filter| Bound::of(filter, self.table)) {
            bound.narrow(&mut scan);
        }
        scan
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = self.scan_of(projection, filters);
        let schema = scan.schema();
        let rows = Rows { source: self.source.clone(), scan, schema: Arc::clone(&schema) };
        // One partition whatever the files are: a plan's shape tells nothing of other accounts.
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, None, false, None)?))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match Bound::of(filter, self.table) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }
}

/// A filter that prunes.
#[derive(Debug, PartialEq)]
enum Bound {
    From(Micros),
    Until(Micros),
    Event(String),
    Source(String),
    Account(AccountId),
}

impl Bound {
    fn of(filter: &Expr, table: Table) -> Option<Self> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
        let (name, op, value) = match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) => (column.name(), *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => (column.name(), op.swap()?, value),
            _ => return None,
        };
        if name == table.spec().filed_by {
            return Self::of_time(op, value);
        }
        let text = value.try_as_str().flatten().filter(|_| op == Operator::Eq)?;
        match name {
            "event_id" => Some(Self::Event(text.to_owned())),
            "source" => Some(Self::Source(text.to_owned())),
            "account_id" => text.parse().ok().map(Self::Account),
            _ => None,
        }
    }

    fn of_time(op: Operator, value: &ScalarValue) -> Option<Self> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let ScalarValue::TimestampMicrosecond(Some(at), _) = value.cast_to(&micros).ok()? else { return None };
        match op {
            Operator::Gt | Operator::GtEq => Some(Self::From(Micros(at))),
            Operator::Lt | Operator::LtEq => Some(Self::Until(Micros(at))),
            _ => None,
        }
    }

    fn narrow(self, scan: &mut Scan) {
        let (first, last) = (*scan.days.start(), *scan.days.end());
        match self {
            Self::From(at) => scan.days = first.max(at.day())..=last,
            // A day more: a coarser clock's value may have been rounded down.
            Self::Until(at) => scan.days = first..=last.min(Day(at.day().0.saturating_add(1))),
            Self::Source(source) => scan.source = Some(source),
            Self::Event(event_id) => scan.event_id = Some(event_id),
            // Within the scope only: another account's rows are not there to be asked for.
            Self::Account(account) if scan.account.is_none() => scan.account = Some(account),
            Self::Account(_) => {}
        }
    }
}

/// A scan's rows as a stream; every execution reads anew what is not kept.
#[derive(Debug)]
struct Rows {
    source: Source,
    scan: Scan,
    schema: SchemaRef,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_AHEAD);
        let reader = Reader::of(&self.source, &self.scan);
        for _ in 0..PARTITIONS {
            stream.spawn(reader.clone().read(stream.tx()));
        }
        stream.build()
    }
}

/// Reads tasks of a feed until there are none, or nobody listens.
#[derive(Debug, Clone)]
struct Reader {
    feed: Arc<Feed>,
    /// Where the rows of the feed's tasks are kept, and how a task is read for which there is no room.
    kept: Option<(Arc<Kept>, Arc<Plan>)>,
}

impl Reader {
    fn of(source: &Source, scan: &Scan) -> Self {
        let plan = |scan: &Scan| Plan::new(source.store.clone(), Arc::clone(&source.view), scan.clone());
        match source.kept.as_ref().and_then(|kept| Some((kept, kept.widened(scan)?))) {
            Some((kept, widened)) => {
                let kept = Some((Arc::clone(kept), Arc::new(plan(scan))));
                Self { feed: Arc::new(Feed::new(plan(&widened))), kept }
            }
            None => Self { feed: Arc::new(Feed::new(plan(scan))), kept: None },
        }
    }

    async fn read(self, sender: Sender<Result<RecordBatch>>) -> Result<()> {
        while let Some(task) = self.feed.next().await.map_err(external)? {
            if !self.send(task, &sender).await? {
                break;
            }
        }
        Ok(())
    }

    async fn send(&self, task: ReadTask, sender: &Sender<Result<RecordBatch>>) -> Result<bool> {
        let Some((kept, plan)) = &self.kept else { return decode(task, sender.clone()).await };
        match kept.rows(&task).await.map_err(external)? {
            Some(rows) => send_kept(&rows, plan, sender).await,
            None => decode(ReadTask { plan: Arc::clone(plan), ..task }, sender.clone()).await,
        }
    }

    /// The rows of a task, as [`decoded`] gives them.
    async fn rows(self, task: ReadTask) -> crate::error::Result<Vec<RecordBatch>> {
        let Some((kept, plan)) = self.kept else { return decoded(task).await };
        match kept.rows(&task).await? {
            Some(rows) => rows.iter().map(|batch| conform(batch, &plan.given, plan.scan.table)).collect(),
            None => decoded(ReadTask { plan, ..task }).await,
        }
    }
}

impl Source {
    /// Hands on the rows of a scan, batch by batch, out of what is kept where it is; days are read in parallel and come
    /// in order.
    ///
    /// # Errors
    /// Those of [`crate::store::Store::each_batch`].
    pub(crate) async fn each_batch(
        &self,
        scan: Scan,
        mut each: impl FnMut(RecordBatch) -> crate::error::Result<()>,
    ) -> crate::error::Result<()> {
        let reader = Reader::of(self, &scan);
        let tasks = Arc::clone(&reader.feed).tasks();
        let days = tasks.map(move |task| {
            let reader = reader.clone();
            async move { reader.rows(task?).await }
        });
        let mut read = pin!(days.buffered(readers()));
        while let Some(batches) = read.next().await {
            batches?.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    }
}

async fn send_kept(rows: &[RecordBatch], plan: &Plan, sender: &Sender<Result<RecordBatch>>) -> Result<bool> {
    for batch in rows {
        let batch = conform(batch, &plan.given, plan.scan.table).map_err(external)?;
        if sender.send(Ok(batch)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn external(error: StoreError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Decodes a task on a blocking thread; false when nobody listens any more.
async fn decode(task: ReadTask, sender: Sender<Result<RecordBatch>>) -> Result<bool> {
    let loaded = task.load().await.map_err(external)?;
    let decoded = tokio::task::spawn_blocking(move || {
        let mut listened = true;
        let read = loaded.rows(&mut |batch| {
            listened = sender.blocking_send(Ok(batch)).is_ok();
            Ok(listened)
        });
        read.map(|()| listened)
    });
    decoded.await.map_err(|_| external(StoreError::BrokenOff))?.map_err(external)
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    #[test]
    fn filters_on_time_event_and_account_prune_and_others_do_not() {
        let at = ScalarValue::TimestampMicrosecond(Some(5), Some("UTC".into()));
        let of = |filter: &Expr| Bound::of(filter, Table::Requests);
        assert_eq!(of(&col("occurred_at").gt_eq(lit(at.clone()))), Some(Bound::From(Micros(5))));
        assert_eq!(of(&lit(at.clone()).gt(col("occurred_at"))), Some(Bound::Until(Micros(5))));
        assert_eq!(of(&col("event_id").eq(lit("x"))), Some(Bound::Event("x".to_owned())));
        assert_eq!(of(&col("event_id").not_eq(lit("x"))), None);
        assert_eq!(of(&col("recorded_at").gt(lit(at))), None);
        assert_eq!(of(&col("verdict").eq(lit("counted"))), None);
        assert_eq!(of(&col("source").eq(lit("prefix"))), Some(Bound::Source("prefix".to_owned())));
        assert_eq!(of(&col("account_id").eq(lit("not an id"))), None);
    }

    #[test]
    fn an_account_in_a_filter_never_widens_the_scope() {
        let (mine, other) = (crate::samples::account(1), crate::samples::account(2));
        let mut scan = Scan { account: Some(mine), ..Scan::new(Table::Requests) };
        Bound::Account(other).narrow(&mut scan);
        assert_eq!(scan.account, Some(mine));
    }
}
