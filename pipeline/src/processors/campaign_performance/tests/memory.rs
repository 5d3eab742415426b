//! What is forgotten, and that nothing hangs on it.

use castback_schemas::Day;
use castback_schemas::table::Table;
use serde_json::json;

use super::bench::{Bench, Sale, campaign};
use crate::samples::{MARCH, Request, at};

fn long_campaign() -> Bench {
    Bench::new(&[campaign(1, &json!({ "ends_on": "2027-03-31" }))])
}

impl Bench {
    /// Requests with deliveries, and minutes, that are in memory.
    fn remembered(&self) -> usize {
        self.performance.accounts.values().map(|state| state.carriers.len() + state.exposures.len()).sum()
    }
}

#[test]
fn what_nothing_open_reaches_is_forgotten() {
    let mut bench = long_campaign();
    // Conversions are open for 31 days and look back for 60; the address is remembered beside its exposures.
    let most = (31 + 60) / 5 + 3;
    for day in (0..200).step_by(5) {
        let today = Day(MARCH.0 + day);
        bench.requests(&[Request::new(i64::from(day), at(today, 9.0), 1)]);
        bench.sales(&[Sale { household: None, ..Sale::new(i64::from(day), at(today, 10.0)) }]);
        bench.freeze(at(today, 23.0));
        assert!(bench.remembered() <= most, "{} on day {day}", bench.remembered());
    }
    assert_eq!(bench.total(1, "impressions_utc_day"), 40);
    assert_eq!(bench.recover(), 0);
    assert!(bench.remembered() <= most);
}

#[test]
fn a_refund_finds_its_order_after_everything_was_forgotten() {
    let mut bench = long_campaign();
    let transaction = Some("t".to_owned());
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    bench.sales(&[Sale { transaction: transaction.clone(), ..Sale::new(0, at(MARCH, 12.0)) }]);
    let later = Day(MARCH.0 + 200);
    bench.requests(&[Request::new(1, at(later, 9.0), 2)]);
    bench.sales(&[Sale { household: None, ..Sale::new(1, at(later, 9.0)) }]);
    bench.freeze(at(Day(later.0 + 2), 9.0));
    assert_eq!(bench.remembered(), 2, "the first exposure is gone");
    bench.sales(&[Sale { kind: "refund", household: None, transaction, ..Sale::new(2, at(later, 10.0)) }]);
    assert_eq!(bench.total(1, "revenue_equal_minor"), 0);
    assert_eq!(bench.recover(), 0);
    // A late sale, and a request of a day that nobody had seen, reach what was forgotten.
    bench.sales(&[Sale::new(3, at(MARCH, 13.0))]);
    assert_eq!(bench.book.verdicts(Table::Conversions)[&3], "late day_frozen");
    bench.recount(MARCH, at(Day(later.0 + 3), 9.0));
    assert_eq!(bench.total(1, "revenue_equal_minor"), 1_000);
    bench.freeze(at(Day(later.0 + 3), 9.0));
    bench.requests(&[Request::new(2, at(Day(MARCH.0 - 1), 9.0), 1)]);
    assert_eq!(bench.total(1, "revenue_equal_minor"), 1_000);
    assert_eq!(bench.book.all(Table::Touches)[0].num_rows(), 6, "the order, its refund and the late sale");
    assert_eq!(bench.recover(), 0);
}
