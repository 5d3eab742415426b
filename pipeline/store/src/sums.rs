//! The balance of everything kept, without reading the ledger again: what each piece adds to it is
//! remembered.
//!
//! Pieces never change, so what one adds never does: a ledger row adds one to its first verdict, a
//! revised verdict moves one from the verdict that it takes the place of. Only pieces are read that
//! were not there at the last call: with compaction, each row a logarithmic number of times. Of a slot
//! exactly the pieces of the view asked for last are remembered, which bounds the memory.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Day, SLOTS, Slot, Topic};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Mutex;

use crate::balance::{Balance, Balances, Cutoffs, empty};
use crate::columns::ints;
use crate::error::{Result, StoreError};
use crate::ledger::JUDGED;
use crate::overlay::topic_of;
use crate::read::readers;
use crate::scan::Scan;
use crate::segment::{self, Wanted};
use crate::session::Scope;
use crate::store::Store;
use crate::view::{Piece, PinnedView, Place};

/// The tables whose rows are records or verdicts over them.
const READ: [Table; 5] = [Table::Requests, Table::Conversions, Table::AppEvents, Table::DeadLetters, Table::Verdicts];

/// A piece: its object and where it begins.
type Key = (String, u64);

/// What a piece, or a day of tallies, adds.
type Added = Arc<[(AccountId, Topic, Balance)]>;

/// What is remembered, by slot; who comes while somebody reads waits and finds it read.
#[derive(Debug)]
pub(crate) struct Sums(Vec<Mutex<OfSlot>>);

#[derive(Debug, Default)]
struct OfSlot {
    /// None: a verdict does not say which it takes the place of.
    pieces: HashMap<Key, Option<Added>>,
    /// Versions of a tally meet within a day, so days are read whole.
    tallies: HashMap<Day, (Vec<Key>, Added)>,
}

impl Default for Sums {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }
}

impl Store {
    /// [`Store::balance`] of all that is kept: of a view in which what was recorded before the
    /// cut-offs has gone, all of it. None where only reading everything tells.
    ///
    /// # Errors
    /// Rows that can't be read.
    pub async fn balance_of_all(
        &self,
        view: &Arc<PinnedView>,
        scope: Scope,
        cutoffs: &Cutoffs,
    ) -> Result<Option<Balances>> {
        if cutoffs.values().any(|cutoff| cutoff.day().start() != *cutoff) {
            return Ok(None);
        }
        let mut balances = empty();
        let slots = Slot::all().filter(|slot| scope.account().is_none_or(|account| Slot::of(account) == *slot));
        for slot in slots {
            let Some(known) = self.sums().0.get(usize::from(slot.0)) else { return Ok(None) };
            let mut known = known.lock().await;
            if is_not_newest(view, slot) {
                return Ok(None);
            }
            known.follow(self, view, slot).await?;
            let Some(pieces) = known.pieces.values().cloned().collect::<Option<Vec<Added>>>() else { return Ok(None) };
            let rows = pieces.iter().flat_map(|added| added.iter());
            rows.for_each(|(account, topic, added)| add(&mut balances, scope, (*account, *topic), added));
            for (day, (_, added)) in &known.tallies {
                let kept = |account, topic| {
                    topic == Topic::Conversions || cutoffs.get(&account).is_none_or(|cutoff| cutoff.day() <= *day)
                };
                for (account, topic, added) in added.iter().filter(|(account, topic, _)| kept(*account, *topic)) {
                    add(&mut balances, scope, (*account, *topic), added);
                }
            }
        }
        Ok(Some(balances))
    }
}

/// Whether pieces hold rows of later commits, too: then what a piece adds is more than the view has.
fn is_not_newest(view: &PinnedView, slot: Slot) -> bool {
    let newer = |table: Table| view.pieces(table, slot).iter().any(|piece| piece.max_revision > view.revision().0);
    READ.into_iter().any(newer)
}

fn add(balances: &mut Balances, scope: Scope, (account, topic): (AccountId, Topic), added: &Balance) {
    if scope.account().is_none_or(|only| only == account)
        && let Some(balance) = balances.get_mut(&topic)
    {
        balance.plus(added);
    }
}

impl OfSlot {
    /// Reads what is in the view and not remembered, and forgets what is not in the view.
    async fn follow(&mut self, store: &Store, view: &Arc<PinnedView>, slot: Slot) -> Result<()> {
        let mut known = HashMap::new();
        let mut missing: Vec<(Table, Key, Piece)> = Vec::new();
        for table in READ {
            for piece in view.pieces(table, slot) {
                let key = key_of(piece);
                match self.pieces.remove(&key) {
                    Some(added) => drop(known.insert(key, added)),
                    None => missing.push((table, key, piece.clone())),
                }
            }
        }
        self.pieces = known;
        let reads = stream::iter(missing).map(|(table, key, piece)| {
            let store = store.clone();
            async move { Ok::<_, StoreError>((key, read(&store, table, &piece).await?)) }
        });
        let mut reads = std::pin::pin!(reads.buffer_unordered(readers()));
        while let Some((key, added)) = reads.try_next().await? {
            self.pieces.insert(key, added);
        }
        let mut days: BTreeMap<Day, Vec<Key>> = BTreeMap::new();
        for piece in view.pieces(Table::Tallies, slot) {
            let (first, last) = piece.days();
            (first.0..=last.0).for_each(|day| days.entry(Day(day)).or_default().push(key_of(piece)));
        }
        self.tallies.retain(|day, (pieces, _)| days.get(day) == Some(pieces));
        for (day, pieces) in days {
            if let Entry::Vacant(unread) = self.tallies.entry(day) {
                let added = tallied(store, view, (slot, day)).await?;
                unread.insert((pieces, added));
            }
        }
        Ok(())
    }
}

fn key_of(piece: &Piece) -> Key {
    let place = match &piece.place {
        Place::Segment { .. } => 0,
        Place::Part(part) => part.offset,
    };
    (piece.key.clone(), place)
}

/// What a piece adds.
async fn read(store: &Store, table: Table, piece: &Piece) -> Result<Option<Added>> {
    let batches = match piece.place {
        Place::Part(_) => store.part(piece, table).await?,
        Place::Segment { crc, .. } => {
            let (key, bytes) = (piece.key.clone(), store.objects().get(&piece.key).await?);
            let decoded = tokio::task::spawn_blocking(move || {
                let columns = &["account_id", "topic", "verdict", "previous"];
                let wanted = Wanted { table, columns, account: None, revision: i64::MAX };
                let batches = segment::open(&key, crc, bytes, &wanted)?;
                batches.collect::<Result<Vec<_>, _>>().map_err(StoreError::from)
            });
            decoded.await.map_err(|_| StoreError::BrokenOff)??
        }
    };
    let mut adding = Adding::default();
    for batch in &batches {
        if !adding.rows(table, batch)? {
            return Ok(None);
        }
    }
    Ok(Some(adding.done()))
}

/// Accepted records of a day, by account and topic.
async fn tallied(store: &Store, view: &Arc<PinnedView>, (slot, day): (Slot, Day)) -> Result<Added> {
    let columns = Some(vec!["account_id", "topic", "accepted"]);
    let scan = Scan { slot: Some(slot), days: day..=day, columns, ..Scan::new(Table::Tallies) };
    let mut adding = Adding::default();
    for batch in store.rows(view, scan).await? {
        let (accounts, topics) = (text(&batch, "account_id")?, text(&batch, "topic")?);
        let accepted = ints(&batch, "accepted", Table::Tallies)?;
        for row in 0..batch.num_rows() {
            if let Some(balance) = adding.of(accounts.value(row), topics.value(row).parse().ok()) {
                balance.accepted += accepted.value(row);
            }
        }
    }
    Ok(adding.done())
}

#[derive(Debug, Default)]
struct Adding(HashMap<(AccountId, Topic), Balance>);

impl Adding {
    fn of(&mut self, account: &str, topic: Option<Topic>) -> Option<&mut Balance> {
        Some(self.0.entry((account.parse().ok()?, topic?)).or_default())
    }

    /// Adds the rows of a batch; false where a verdict does not say which it takes the place of.
    fn rows(&mut self, table: Table, batch: &RecordBatch) -> Result<bool> {
        let accounts = text(batch, "account_id")?;
        let of_table = JUDGED.contains(&table).then(|| topic_of(table)).flatten();
        let topics = if of_table.is_none() { Some(text(batch, "topic")?) } else { None };
        let topic = |row: usize| of_table.or_else(|| topics?.value(row).parse().ok());
        if table == Table::DeadLetters {
            for row in 0..batch.num_rows() {
                if let Some(balance) = self.of(accounts.value(row), topic(row)) {
                    balance.dead_lettered += 1;
                }
            }
            return Ok(true);
        }
        let verdicts = text(batch, "verdict")?;
        let previous = if table == Table::Verdicts { Some(text(batch, "previous")?) } else { None };
        if previous.is_some_and(|previous| previous.null_count() > 0) {
            return Ok(false);
        }
        for row in 0..batch.num_rows() {
            if let Some(balance) = self.of(accounts.value(row), topic(row)) {
                balance.add(verdicts.value(row), 1);
                if let Some(previous) = previous {
                    balance.add(previous.value(row), -1);
                }
            }
        }
        Ok(true)
    }

    fn done(self) -> Added {
        self.0.into_iter().map(|((account, topic), balance)| (account, topic, balance)).collect()
    }
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt());
    column.ok_or_else(|| StoreError::Misfit { table: "a piece", detail: format!("no texts in {name}") })
}
