//! Compaction changes no answer; reading is what a naive reader of every row would say.

use std::collections::BTreeMap;

use castback_schemas::table::Table;
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, Day, Micros, Revision, Slot};
use proptest::prelude::*;

use super::retention::{Expired, Retained};
use crate::harness::{Harness, TODAY, texts};
use crate::samples::{Cell, Row, account, batch, request};
use crate::scan::{Scan, Versions};

/// A step of a history.
#[derive(Debug, Clone, Copy)]
enum Step {
    Request { account: u128, day: i64 },
    Revise { which: usize, verdict: usize },
    Deliver { account: u128, key: i64, withdrawn: bool },
    Commit,
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_u128, 0..3_i64).prop_map(|(account, day)| Step::Request { account, day }),
        3 => (0..64_usize, 0..3_usize).prop_map(|(which, verdict)| Step::Revise { which, verdict }),
        3 => (0..3_u128, 0..4_i64, any::<bool>())
            .prop_map(|(account, key, withdrawn)| Step::Deliver { account, key, withdrawn }),
        3 => Just(Step::Commit),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..60)
}

const VERDICTS: [&str; 3] = ["counted", "duplicate", "late"];

/// A row of the naive model: its table's, of whom, its key, what it says, and its commit.
#[derive(Debug, Clone)]
struct Said {
    table: Table,
    account: AccountId,
    key: i64,
    text: String,
    commit: i64,
}

#[derive(Debug, Default)]
struct Model {
    said: Vec<Said>,
    waiting: Vec<(Said, Row)>,
    requests: Vec<(AccountId, Row)>,
    verdicts: Vec<&'static str>,
    commit: i64,
}

impl Model {
    fn say(&mut self, table: Table, (account, key): (AccountId, i64), text: &str, row: Row) {
        let said = Said { table, account, key, text: text.to_owned(), commit: self.commit + 1 };
        self.waiting.push((said, row));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Request { account: number, day } => {
                let (account, offset) = (account(number), i64::try_from(self.requests.len()).unwrap());
                let mut row = request(account, offset);
                row.insert("occurred_at", Cell::Int(TODAY.0 + day * DAY));
                self.requests.push((account, row.clone()));
                self.verdicts.push("counted");
                self.say(Table::Requests, (account, offset), "counted", row);
            }
            Step::Revise { which, verdict } if !self.requests.is_empty() => {
                let offset = which % self.requests.len();
                let (account, request) = self.requests[offset].clone();
                let mut row = Row::from([
                    ("topic", Cell::Text("listener-requests".to_owned())),
                    ("verdict", Cell::Text(VERDICTS[verdict].to_owned())),
                    ("previous", Cell::Text(self.verdicts[offset].to_owned())),
                ]);
                self.verdicts[offset] = VERDICTS[verdict];
                row.extend(["account_id", "slot", "offset", "occurred_at"].map(|name| (name, request[name].clone())));
                self.say(Table::Verdicts, (account, i64::try_from(offset).unwrap()), VERDICTS[verdict], row);
            }
            Step::Deliver { account: number, key, withdrawn } => {
                let account = account(number);
                let row = Row::from([
                    ("account_id", Cell::Text(account.to_string())),
                    ("request_offset", Cell::Int(key)),
                    ("occurred_at", Cell::Int(TODAY.0 + key * DAY / 2)),
                    ("withdrawn", Cell::Bool(withdrawn)),
                ]);
                self.say(Table::AdDeliveries, (account, key), if withdrawn { "withdrawn" } else { "" }, row);
            }
            _ => {}
        }
    }

    async fn commit(&mut self, harness: &Harness) {
        if self.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let row = |(said, row): &(Said, Row)| {
            (Slot::of(said.account), said.table, batch(said.table, std::slice::from_ref(row)))
        };
        let revision = harness.commit(waiting.iter().map(row).collect()).await;
        self.commit += 1;
        assert_eq!(revision, Revision(self.commit));
        self.said.extend(waiting.into_iter().map(|(said, _)| said));
    }

    /// `account key text commit` of the current rows of a table, the naive way.
    fn current(&self, table: Table, of: Option<AccountId>, at: i64) -> Vec<String> {
        let mut newest: BTreeMap<(AccountId, i64), (String, i64)> = BTreeMap::new();
        let over = (table == Table::Requests).then_some(Table::Verdicts);
        for layer in [Some(table), over].into_iter().flatten() {
            for said in self.said.iter().filter(|said| said.table == layer && said.commit <= at) {
                newest.insert((said.account, said.key), (said.text.clone(), said.commit));
            }
        }
        newest.retain(|(account, _), (text, _)| of.is_none_or(|of| of == *account) && text != "withdrawn");
        let mut rows: Vec<String> = newest
            .into_iter()
            .map(|((account, key), (text, commit))| [account.to_string(), key.to_string(), text, commit.to_string()])
            .map(|cells| cells.into_iter().filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" "))
            .collect();
        rows.sort();
        rows
    }

    async fn check(&self, harness: &Harness) {
        for at in 0..=self.commit {
            let view = harness.view(Some(Revision(at))).await;
            for of in [None, Some(account(0)), Some(account(1)), Some(account(2))] {
                for (table, columns) in [
                    (Table::Requests, &["account_id", "offset", "verdict", "commit"][..]),
                    (Table::AdDeliveries, &["account_id", "request_offset", "commit"]),
                ] {
                    let scan = Scan { account: of, columns: Some(columns.to_vec()), ..Scan::new(table) };
                    let rows = harness.store.rows(&view, scan).await.unwrap();
                    assert_eq!(texts(&rows, columns), self.current(table, of, at), "{table:?} of {of:?} at {at}");
                }
            }
            let (nothing, ever) = (crate::balance::Cutoffs::new(), (Micros(i64::MIN), Micros(i64::MAX)));
            for scope in [crate::session::Scope::All, crate::session::Scope::Account(account(1))] {
                let read = harness.store.balance(&view, scope, (ever, &nothing)).await.unwrap();
                let summed = harness.store.balance_of_all(&view, scope, &nothing).await.unwrap();
                assert!(at < self.commit || summed.is_some(), "the newest is always known");
                assert_eq!(summed.unwrap_or_else(|| read.clone()), read, "the balance of {scope:?} at {at}");
            }
            let all = Scan { versions: Versions::All, ..Scan::new(Table::Verdicts) };
            let rows = harness.store.rows(&view, all).await.unwrap();
            let said = self.said.iter().filter(|said| said.table == Table::Verdicts && said.commit <= at).count();
            assert_eq!(rows.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), said);
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 10, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_at_every_revision_is_the_naive_one_compacted_or_not(steps in steps()) {
        block_on(async {
            let harness = Harness::new().await;
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Commit => model.commit(&harness).await,
                    Step::Compact => drop(harness.compactor.run().await.unwrap()),
                    step => model.take(step),
                }
            }
            model.commit(&harness).await;
            model.check(&harness).await;
            harness.compactor.run().await.unwrap();
            assert!(harness.catalogue.view(None).await.unwrap().slices.is_empty());
            model.check(&harness).await;
        });
    }
}

async fn two_days(harness: &Harness) -> AccountId {
    let account = account(1);
    for offset in 0..4 {
        let mut row = request(account, offset);
        let at = Cell::Int(TODAY.0 + offset / 2 * DAY);
        row.extend([("occurred_at", at.clone()), ("recorded_at", at)]);
        harness.commit(vec![(Slot::of(account), Table::Requests, batch(Table::Requests, &[row]))]).await;
    }
    account
}

async fn offsets(harness: &Harness, scan: Scan) -> Vec<String> {
    texts(&harness.store.rows(&harness.view(None).await, scan).await.unwrap(), &["offset"])
}

#[tokio::test]
async fn a_scan_reads_only_the_days_and_the_event_asked_for() {
    let harness = Harness::new().await;
    two_days(&harness).await;
    for _ in 0..2 {
        let day = TODAY.day().next();
        let of_day = Scan { days: day..=day, ..Scan::new(Table::Requests) };
        assert_eq!(offsets(&harness, of_day).await, ["2", "3"]);
        let of_event = Scan { event_id: Some("event-1".to_owned()), ..Scan::new(Table::Requests) };
        assert_eq!(offsets(&harness, of_event).await, ["1"]);
        let of_nothing = Scan { event_id: Some("event-9".to_owned()), ..Scan::new(Table::Requests) };
        assert!(offsets(&harness, of_nothing).await.is_empty());
        harness.compactor.run().await.unwrap();
    }
}

#[tokio::test]
async fn rows_past_their_retention_go_and_their_verdicts_with_them() {
    let harness = Harness::new().await;
    let account = two_days(&harness).await;
    let revised = Row::from([
        ("account_id", Cell::Text(account.to_string())),
        ("topic", Cell::Text("listener-requests".to_owned())),
        ("offset", Cell::Int(1)),
        ("occurred_at", Cell::Int(TODAY.0)),
    ]);
    harness.commit(vec![(Slot::of(account), Table::Verdicts, batch(Table::Verdicts, &[revised]))]).await;
    harness.compactor.run().await.unwrap();
    let retain = async |of: AccountId, until: i64, days: usize| {
        let expired = Expired::from([(of, Micros(0)..TODAY.plus(until))]);
        harness.compactor.retain(Slot::of(account), &expired, (None, days)).await.unwrap()
    };
    assert_eq!(retain(crate::samples::account(2), 9 * DAY, 9).await, Retained::default());
    let done = retain(account, DAY, 9).await;
    assert_eq!((done.removed, done.next), (2, None));
    assert_eq!(offsets(&harness, Scan::new(Table::Requests)).await, ["2", "3"]);
    assert!(offsets(&harness, Scan::new(Table::Verdicts)).await.is_empty());
    assert_eq!(retain(account, DAY, 9).await, Retained::default());
    assert_eq!(retain(account, 9 * DAY, 0).await.next, Some(TODAY.day().next()), "no day is looked through");
}

#[tokio::test]
async fn rows_of_an_open_day_are_held_back() {
    let harness = Harness::new().await;
    let account = two_days(&harness).await;
    let day = |state: &str| {
        let text = |text: &str| Cell::Text(text.to_owned());
        let row = Row::from([
            ("account_id", text(&account.to_string())),
            ("topic", text("listener-requests")),
            ("key", text("podcast")),
            ("day", Cell::Int(TODAY.0)),
            ("state", text(state)),
        ]);
        vec![(Slot::of(account), Table::Days, batch(Table::Days, &[row]))]
    };
    let expired = Expired::from([(account, Micros(0)..TODAY.plus(9 * DAY))]);
    harness.commit(day("open")).await;
    let done = harness.compactor.retain(Slot::of(account), &expired, (None, 9)).await.unwrap();
    assert_eq!((done.removed, done.held), (2, [(account, TODAY)].into()));
    assert_eq!(offsets(&harness, Scan::new(Table::Requests)).await, ["0", "1"]);
    harness.commit(day("frozen")).await;
    let done = harness.compactor.retain(Slot::of(account), &expired, (None, 9)).await.unwrap();
    assert_eq!((done.removed, done.held), (2, std::collections::HashMap::new()));
}

#[tokio::test]
async fn replaced_objects_live_an_hour_longer_and_orphans_go() {
    let harness = Harness::new().await;
    two_days(&harness).await;
    let before = harness.view(None).await;
    harness.compactor.run().await.unwrap();
    let objects = harness.store.objects().clone();
    let files = async || objects.written_before("commits", Micros(i64::MAX)).await.unwrap().len();
    assert_eq!(harness.compactor.sweep(TODAY.plus(DAY / 24)).await.unwrap(), 0);
    assert_eq!(files().await, 4);
    let rows = harness.store.rows(&before, Scan::new(Table::Requests)).await.unwrap();
    assert_eq!(texts(&rows, &["offset"]), ["0", "1", "2", "3"]);
    assert_eq!(harness.compactor.sweep(TODAY.plus(DAY / 24 + 1)).await.unwrap(), 4);
    assert_eq!(files().await, 0);
    harness.store.objects().put("commits/orphan", "x".into()).await.unwrap();
    let far = Micros(i64::MAX / 2);
    assert_eq!(harness.compactor.sweep_orphans(far).await.unwrap(), 0, "its commit may come still");
    assert_eq!(harness.compactor.sweep_orphans(far.plus(DAY / 24)).await.unwrap(), 1);
    assert_eq!(offsets(&harness, Scan::new(Table::Requests)).await, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_damaged_or_missing_object_is_an_error_never_fewer_rows() {
    let harness = Harness::new().await;
    two_days(&harness).await;
    harness.compactor.run().await.unwrap();
    let view = harness.view(None).await;
    let slot = Slot::of(account(1));
    let piece = &view.pieces(Table::Requests, slot)[0];
    let objects = harness.store.objects();
    let written = objects.get(&piece.key).await.unwrap();
    for index in (0..written.len()).step_by(37) {
        let mut bytes = written.to_vec();
        bytes[index] ^= 4;
        objects.damage(&piece.key, bytes.into()).await;
        let read = harness.store.rows(&view, Scan::new(Table::Requests)).await;
        assert!(matches!(read, Err(crate::StoreError::Corrupt { .. })), "byte {index}: {read:?}");
    }
    for index in (0..written.len()).rev().step_by(7).take(200) {
        let mut bytes = written.to_vec();
        bytes[index] ^= 4;
        objects.damage(&piece.key, bytes.into()).await;
        let of_event = Scan { event_id: Some("event-9".to_owned()), ..Scan::new(Table::Requests) };
        let read = harness.store.rows(&view, of_event).await;
        assert!(matches!(read, Err(crate::StoreError::Corrupt { .. })), "byte {index} of a filter: {read:?}");
    }
    objects.remove(&piece.key).await.unwrap();
    let read = harness.store.rows(&view, Scan::new(Table::Requests)).await;
    assert!(matches!(read, Err(crate::StoreError::Missing { .. })), "{read:?}");
    let day = TODAY.day().next();
    let rest = Scan { days: day..=Day(i32::MAX), ..Scan::new(Table::Requests) };
    assert_eq!(offsets(&harness, rest).await, ["2", "3"], "the rest is served");
}

#[tokio::test]
async fn compaction_is_due_by_number_or_by_age() {
    let harness = Harness::new().await;
    assert_eq!(harness.compactor.run_if_due().await.unwrap().slices, 0);
    two_days(&harness).await;
    assert_eq!(harness.compactor.run_if_due().await.unwrap().slices, 0);
    harness.clock.advance(super::DUE_AGE);
    assert_eq!(harness.compactor.run_if_due().await.unwrap().slices, 4);
}

#[tokio::test]
async fn two_compactors_at_once_change_nothing_and_leave_nothing() {
    let harness = Harness::new().await;
    two_days(&harness).await;
    let (first, second) = tokio::join!(harness.compactor.run(), harness.compactor.run());
    assert_eq!(first.unwrap().slices + second.unwrap().slices, 4);
    assert_eq!(offsets(&harness, Scan::new(Table::Requests)).await, ["0", "1", "2", "3"]);
    let far = Micros(i64::MAX / 2);
    harness.compactor.sweep_orphans(far).await.unwrap();
    assert_eq!(
        harness.compactor.sweep_orphans(far.plus(DAY)).await.unwrap(),
        0,
        "the one that came too late tidied up"
    );
}
