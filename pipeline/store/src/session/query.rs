//! Planning and running one query.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionContext};
use futures::StreamExt;
use serde_json::Value;

use super::guard;
use crate::error::StoreError;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The text is longer than 64 KiB.
    #[error("the text is longer than 64 KiB")]
    TooLong,
    /// The statement is nested or chained beyond what is planned.
    #[error("the statement is too complex")]
    TooComplex,
    /// The statement does something other than read.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// The statement is not understood, names what is not there, or does not type.
    #[error("{0}")]
    Invalid(String),
    /// A parameter that is no null, truth value, number or text.
    #[error("parameter ${0} must be null, a truth value, a number or a text")]
    Parameter(usize),
    /// The query failed while it ran: a cast, a division, an overflow.
    #[error("{0}")]
    Failed(String),
    /// The query needs more memory than it may use.
    #[error("the query needs more memory than it may use")]
    Memory,
    /// Rows could not be read.
    #[error("rows can't be read at the moment")]
    Unreadable(#[source] StoreError),
    /// Catalogue rows without the columns of their table.
    #[error("rows of {0} do not have its columns")]
    CatalogueRows(&'static str),
    /// The session could not be set up; a defect.
    #[error("the session can't be set up")]
    Session(#[source] DataFusionError),
}

impl SqlError {
    /// The problem's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "too_large",
            Self::TooComplex | Self::Refused(_) | Self::Invalid(_) | Self::Parameter(_) => "invalid_fields",
            Self::Failed(_) => "query_failed",
            Self::Memory => "query_memory",
            Self::Unreadable(_) | Self::CatalogueRows(_) | Self::Session(_) => "query_unavailable",
        }
    }

    pub(super) fn invalid(error: &DataFusionError) -> Self {
        Self::Invalid(error.strip_backtrace())
    }

    fn running(error: &DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => return Self::Memory,
            DataFusionError::External(source) => {
                if let Some(error) = source.downcast_ref::<StoreError>() {
                    return Self::Unreadable(error.clone());
                }
            }
            _ => {}
        }
        Self::Failed(error.strip_backtrace())
    }
}

/// A query's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Whether there were more rows than allowed.
    pub truncated: bool,
}

/// Runs a caller's query with its parameters `$1 …`, for at most `max_rows` rows.
///
/// # Errors
/// See [`SqlError`]; nothing of the answer is given then.
pub async fn run(context: &SessionContext, sql: &str, params: &[Value], max_rows: usize) -> Result<Answer, SqlError> {
    let plan = plan(context, sql, params).await?;
    let frame = DataFrame::new(context.state(), plan);
    let mut stream = frame.execute_stream().await.map_err(|error| SqlError::running(&error))?;
    let schema = stream.schema();
    let (mut batches, mut left, mut truncated) = (Vec::new(), max_rows, false);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| SqlError::running(&error))?;
        if batch.num_rows() > left {
            batches.push(batch.slice(0, left));
            truncated = true;
            break;
        }
        left -= batch.num_rows();
        batches.push(batch);
    }
    Ok(Answer { schema, batches, truncated })
}

/// Runs a query of our own, whole: reports and figures.
///
/// # Errors
/// See [`SqlError`].
pub async fn query(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
    run(context, sql, &[], usize::MAX).await.map(|answer| answer.batches)
}

async fn plan(context: &SessionContext, sql: &str, params: &[Value]) -> Result<LogicalPlan, SqlError> {
    let statement = guard::statement(sql)?;
    let plan = context.state().statement_to_plan(statement).await.map_err(|error| SqlError::invalid(&error))?;
    let reads_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reads_only.verify_plan(&plan).map_err(|error| SqlError::invalid(&error))?;
    if matches!(plan, LogicalPlan::Analyze(_)) {
        return Err(SqlError::Refused("EXPLAIN ANALYZE is not allowed"));
    }
    let values = params.iter().enumerate().map(|(index, value)| scalar(index, value)).collect::<Result<Vec<_>, _>>()?;
    if values.is_empty() {
        return Ok(plan);
    }
    let values = values.into_iter().map(Into::into).collect();
    plan.with_param_values(ParamValues::List(values)).map_err(|error| SqlError::invalid(&error))
}

fn scalar(index: usize, value: &Value) -> Result<ScalarValue, SqlError> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(value) => Ok(ScalarValue::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Ok(ScalarValue::from(value)),
            (None, Some(value)) => Ok(ScalarValue::from(value)),
            (None, None) => Err(SqlError::Parameter(index + 1)),
        },
        Value::String(text) => Ok(ScalarValue::Utf8(Some(text.clone()))),
        Value::Array(_) | Value::Object(_) => Err(SqlError::Parameter(index + 1)),
    }
}
