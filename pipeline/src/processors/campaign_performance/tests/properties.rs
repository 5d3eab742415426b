//! Whatever comes when, and wherever a restart falls, the minutes are the same.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Request(Request),
    Sale(Sale),
}

fn hours() -> impl Strategy<Value = Micros> {
    (0..96_i64, 0..10_i64).prop_map(|(hours, minutes)| MARCH.start().plus(hours * HOUR + minutes * MINUTE))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = (hours(), 0..3_u8, prop::option::of(1..40_i64)).prop_map(|(at, listener, part)| {
        let request = Request::new(0, at, listener);
        Step::Request(part.map_or(request.clone(), |part| request.range(0, LENGTH / 60 * part)))
    });
    let kinds = prop::sample::select(vec!["purchase", "purchase", "refund", "lead"]);
    let sale = (hours(), kinds, (0..4_u8, 0..3_u8), prop::option::of(0..3_u8), 1..5_000_i64).prop_map(
        |(at, kind, (household, customer), transaction, value)| {
            Step::Sale(Sale {
                kind,
                value: Some(value),
                household: (household < 3).then_some(household),
                customer: Some(customer),
                transaction: transaction.map(|n| format!("t{n}")),
                coupon: (value % 7 == 0).then(|| "code2".to_owned()),
                ..Sale::new(0, at)
            })
        },
    );
    let numbered = |steps: Vec<Step>| {
        let number = |(n, step): (i64, Step)| match step {
            Step::Request(r) => {
                Step::Request(Request { event_id: format!("r{n}"), at: r.at.plus(n), recorded: r.at.plus(n), ..r })
            }
            Step::Sale(s) => Step::Sale(Sale { id: format!("s{n}"), at: s.at.plus(n), ..s }),
        };
        (0..).zip(steps).map(number).collect()
    };
    prop::collection::vec(prop_oneof![request, sale], 1..24).prop_map(numbered)
}

fn run(steps: &[Step], restart: usize) -> Bench {
    let mut bench = Bench::new(&[
        campaign(1, &json!({ "lookback_days": 1 })),
        campaign(2, &json!({ "exclusions": { "prior_customers": true } })),
    ]);
    for (offset, step) in (0..).zip(steps) {
        match step {
            Step::Request(request) => bench.requests(&[Request { offset, ..request.clone() }]),
            Step::Sale(sale) => bench.sales(&[Sale { offset, ..sale.clone() }]),
        }
        if usize::try_from(offset) == Ok(restart) {
            assert_eq!(bench.recover(), 0);
        }
    }
    bench
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_restarts_are_of_no_account(steps in steps(), order in prop::collection::vec(any::<u32>(), 24), restart in 0..24_usize) {
        let straight = run(&steps, restart);
        let mut shuffled: Vec<(u32, Step)> = order.into_iter().zip(steps).collect();
        shuffled.sort_by_key(|(place, _)| *place);
        let shuffled: Vec<Step> = shuffled.into_iter().map(|(_, step)| step).collect();
        let other = run(&shuffled, usize::MAX);
        let minutes = |bench: &Bench| {
            let rows = bench.book.rows(Table::CampaignPerformance);
            let text = |row: &RecordBatch| (4..20).map(|i| cell(row, row.schema().field(i).name())).collect::<Vec<_>>();
            rows.iter().map(|r| (cell(r, "campaign_id"), cell(r, "bucket_start"), text(r))).collect::<Vec<_>>()
        };
        prop_assert_eq!(minutes(&straight), minutes(&other));
    }
}
