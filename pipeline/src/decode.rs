//! Records of the log to rows in the ledger's shape; what can't be read becomes dead letters.
//!
//! The decoded columns are taken over as they are. Only what the log knows is added (slot,
//! offset, append time), and event time becomes the earlier of when it happened and when it was
//! appended: a sender's clock that is ahead can't open a day that has not begun.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use castback_broker::Record;
use castback_rules::verdict::DeadLetterReason;
use castback_schemas::codec::{BatchDecoder, DeadReason, DecodeError, Decoded};
use castback_schemas::edge::seal::seal;
use castback_schemas::edge::{Hash128, HashKey};
use castback_schemas::table::{Table, VERDICT_COLUMNS};
use castback_schemas::{AccountId, Slot, Topic};
use serde_json::json;

use crate::change::{Changes, Value};

/// Whether a column comes with the verdict, and not from the log; so does what the lists say of the agent.
pub(crate) fn is_judged(column: &str) -> bool {
    column == "app" || VERDICT_COLUMNS.contains(&column)
}

/// Columns whose name on the topic is another.
const RENAMED: &[(&str, &str)] = &[("conversion_id", "id"), ("event_type", "type")];

/// Why a batch can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The decoder can't go on before the registry was asked.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Columns don't fit together.
    #[error("a decoded batch does not fit the ledger")]
    Columns(#[from] ArrowError),
}

/// The ledger table of a topic that comes from outside.
#[must_use]
pub fn ledger_of(topic: Topic) -> Option<Table> {
    match topic {
        Topic::ListenerRequests => Some(Table::Requests),
        Topic::Conversions => Some(Table::Conversions),
        Topic::AppEvents => Some(Table::AppEvents),
        _ => None,
    }
}

/// Reads the records of one input of one slot.
#[derive(Debug)]
pub struct Intake {
    topic: Topic,
    table: Table,
    slot: Slot,
    /// Under whom records without an account are dead-lettered.
    installation: AccountId,
    decoder: BatchDecoder,
    /// Keys by which dead letters are sealed; none of an account that was erased.
    keys: HashMap<AccountId, Option<HashKey>>,
}

impl Intake {
    /// An intake for `topic`, if it is one that comes from outside.
    ///
    /// # Errors
    /// The topic's schema can't be used to read.
    pub fn new(topic: Topic, slot: Slot, installation: AccountId) -> Result<Option<Self>, IntakeError> {
        let Some(table) = ledger_of(topic) else { return Ok(None) };
        let decoder = BatchDecoder::new(topic)?;
        Ok(Some(Self { topic, table, slot, installation, decoder, keys: HashMap::new() }))
    }

    /// The topic it reads.
    #[must_use]
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Tells what the registry says of a schema id.
    pub fn learn(&mut self, id: u32, schema: Option<&str>) {
        self.decoder.learn(id, schema);
    }

    /// The accounts whose keys must be given before dead letters of theirs can be sealed.
    #[must_use]
    pub fn owner(&self, record: &Record) -> AccountId {
        record.account.unwrap_or(self.installation)
    }

    /// Whether the key of an account is known.
    #[must_use]
    pub fn knows_key(&self, account: AccountId) -> bool {
        self.keys.contains_key(&account)
    }

    /// Gives the key of an account, or says that it was destroyed: then nothing of its records
    /// is kept.
    pub fn give_key(&mut self, account: AccountId, key: Option<HashKey>) {
        self.keys.insert(account, key);
    }

    /// The rows of `records`, in order; dead letters go to `out`.
    ///
    /// # Errors
    /// A schema id is not loaded: [`Self::learn`] it and call again. Nothing was written.
    pub fn read(&mut self, records: &[Record], out: &mut Changes) -> Result<RecordBatch, IntakeError> {
        let values: Vec<&[u8]> = records.iter().map(|record| record.value.as_ref()).collect();
        let decoded = self.decoder.decode(&values)?;
        for bad in &decoded.bad {
            let reason = match bad.reason {
                DeadReason::Undecodable => DeadLetterReason::Undecodable,
                DeadReason::Schema => DeadLetterReason::Schema,
                DeadReason::TooLarge => DeadLetterReason::TooLarge,
            };
            self.dead_letter(&records[bad.index], (reason, &bad.detail), out)?;
        }
        let (batch, rows) = self.owned(&decoded, records, out)?;
        let rows: Vec<&Record> = rows.iter().map(|&index| &records[index]).collect();
        Ok(normalize(self.table, self.slot, &batch, &rows)?)
    }

    /// The rows whose account is the header's and whose time is one; the others are dead letters
    /// of the header's account, or of the installation's where there is no header.
    fn owned(
        &self,
        decoded: &Decoded,
        records: &[Record],
        out: &mut Changes,
    ) -> Result<(RecordBatch, Vec<usize>), IntakeError> {
        let accounts = decoded.batch.column_by_name("account_id").and_then(|column| column.as_string_opt::<i32>());
        let accounts = accounts.ok_or_else(|| missing("account_id"))?;
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let occurred = source(&decoded.batch, "occurred_at")?.as_primitive_opt::<TimestampMicrosecondType>();
        let occurred = occurred.ok_or_else(|| missing("occurred_at"))?;
        let mut owned = |row: usize| match records[decoded.rows[row]].account {
            _ if occurred.value(row) < 0 => Err("the record happened before 1970"),
            None => Err("the record has no account in its header"),
            Some(account) if *account.uuid().hyphenated().encode_lower(&mut text) == *accounts.value(row) => Ok(()),
            Some(_) => Err("the record's account is not its header's"),
        };
        let judged: Vec<Result<(), &str>> = (0..decoded.rows.len()).map(&mut owned).collect();
        if judged.iter().all(Result::is_ok) {
            return Ok((decoded.batch.clone(), decoded.rows.clone()));
        }
        for (row, wrong) in judged.iter().enumerate() {
            if let Err(detail) = wrong {
                self.dead_letter(&records[decoded.rows[row]], (DeadLetterReason::Schema, detail), out)?;
            }
        }
        let keep: BooleanArray = judged.iter().map(|judged| Some(judged.is_ok())).collect();
        let kept = decoded.rows.iter().zip(&judged).filter(|(_, judged)| judged.is_ok()).map(|(&index, _)| index);
        Ok((filter_record_batch(&decoded.batch, &keep)?, kept.collect()))
    }

    fn dead_letter(
        &self,
        record: &Record,
        (reason, detail): (DeadLetterReason, &str),
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let account = self.owner(record);
        let context = format!("{}/{}/{}", self.topic, self.slot, record.offset);
        let key = self.keys.get(&account).ok_or_else(|| missing("key of the account"))?;
        let sealed = match key {
            None => Vec::new(),
            Some(key) => {
                seal(key, context.as_bytes(), &record.value).map_err(|error| ArrowError::ExternalError(error.into()))?
            }
        };
        let account = account.to_string();
        out.row(
            Table::DeadLetters,
            &[
                account.as_str().into(),
                self.topic.name().into(),
                i64::from(self.slot.0).into(),
                record.offset.into(),
                record.appended_at.into(),
                reason.as_str().into(),
                detail.into(),
                Value::Bytes(&sealed),
            ],
        )
    }
}

fn missing(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("the decoded batch has no column {name}"))
}

/// The decoded columns in the ledger's order, with what the log knows of each record.
fn normalize(table: Table, slot: Slot, batch: &RecordBatch, records: &[&Record]) -> Result<RecordBatch, ArrowError> {
    let schema = table.spec().schema();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for field in schema.fields().iter().filter(|field| !is_judged(field.name())) {
        let column: ArrayRef = match field.name().as_str() {
            "slot" => Arc::new(Int64Array::from_value(i64::from(slot.0), records.len())),
            "offset" => Arc::new(records.iter().map(|record| Some(record.offset)).collect::<Int64Array>()),
            "recorded_at" => utc(records.iter().map(|record| record.appended_at.0)),
            "occurred_at" => {
                let occurred = source(batch, "occurred_at")?.as_primitive::<TimestampMicrosecondType>();
                utc(occurred.values().iter().zip(records).map(|(at, record)| (*at).min(record.appended_at.0)))
            }
            "ads" => Arc::new(ads(source(batch, "ads")?)?),
            "households" => Arc::new(households(source(batch, "households")?)?),
            name => cast(source(batch, name)?, field.data_type())?,
        };
        fields.push(Arc::clone(field));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)
}

fn source<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    // A topic may have the column under the ledger's own name, too.
    let renamed =
        || RENAMED.iter().find(|(ours, _)| *ours == name).and_then(|(_, theirs)| batch.column_by_name(theirs));
    batch.column_by_name(name).or_else(renamed).ok_or_else(|| missing(name))
}

fn utc(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

/// Ads as JSON: `[[placement, from, to], …]`, null where there are none.
fn ads(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let lists = column.as_list_opt::<i32>().ok_or_else(|| missing("ads"))?;
    let mut builder = StringBuilder::with_capacity(lists.len(), 0);
    for list in lists.iter() {
        match list.filter(|list| !list.is_empty()) {
            None => builder.append_null(),
            Some(list) => {
                let entry = list.as_struct();
                let placements = entry.column(0).as_string::<i32>();
                let (from, to) =
                    (entry.column(1).as_primitive::<Int64Type>(), entry.column(2).as_primitive::<Int64Type>());
                let ads: Vec<_> =
                    (0..entry.len()).map(|i| json!([placements.value(i), from.value(i), to.value(i)])).collect();
                builder.append_value(json!(ads).to_string());
            }
        }
    }
    Ok(builder.finish())
}

/// Households as JSON: `[[month, hash in hex], …]`.
fn households(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let lists = column.as_list_opt::<i32>().ok_or_else(|| missing("households"))?;
    let mut builder = StringBuilder::with_capacity(lists.len(), lists.len() * 44);
    for list in lists.iter() {
        let keys: Vec<serde_json::Value> = match list {
            None => Vec::new(),
            Some(list) => {
                let entry = list.as_struct();
                let (months, hashes) =
                    (entry.column(0).as_primitive::<Int32Type>(), entry.column(1).as_fixed_size_binary());
                (0..entry.len()).map(|i| json!([months.value(i), hex(hashes.value(i))])).collect()
            }
        };
        builder.append_value(json!(keys).to_string());
    }
    Ok(builder.finish())
}

fn hex(hash: &[u8]) -> String {
    Hash128::from_bytes(hash.try_into().unwrap_or_default()).to_string()
}
