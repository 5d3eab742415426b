//! Series in the mirror: whole, absolute, caught up after an outage, repaired at night.

use std::sync::atomic::Ordering;

use castback_schemas::Topic;
use castback_schemas::time::{DAY, HOUR};

use crate::house::{House, NOON, Process};
use crate::influx::Influx;
use crate::relays::launch;

/// A counter of the mirror, over all series.
fn counted(process: &Process, name: &str, outcome: &str) -> f64 {
    let families = process.registry.gather();
    let metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
    let of = |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|label| label.value() == outcome);
    metrics.filter(of).map(|metric| metric.get_counter().get_value()).sum()
}

#[test]
fn series_are_mirrored_caught_up_and_repaired() {
    let influx = Influx::start();
    let mut house = House::sqlite();
    house.mirror = Some(influx.mirror());
    let sender = house.sender("ada");
    launch(&house, sender);
    let encoder = house.encoder(Topic::ListenerRequests);
    let send = |from: i64, to: i64| {
        let request = |n: i64| sender.request(&format!("r-{n}"), u32::try_from(n).unwrap(), NOON.plus(-n * HOUR));
        house.append((from..to).map(|n| sender.record(&encoder, &request(n))).collect());
    };
    send(0, 5);
    let process = house.process(2);
    let impressions = || influx.field("campaign_performance", "impressions_utc_day");
    house.until("five minutes are mirrored", || impressions() == [1; 5]);
    house.until("the tally is mirrored", || influx.field("tallies", "accepted").iter().sum::<i64>() == 5);
    let whole: usize = influx.values.lock().unwrap().keys().filter(|(of, _, _)| of.starts_with("campaign_p")).count();
    assert_eq!(whole, 5 * 16, "every field of every point");
    house.until("the first night's check is done", || counted(&process, "castback_mirror_checks_total", "same") > 0.0);

    // Nothing else stops while the mirror is away, and it catches up.
    influx.busy.store(true, Ordering::SeqCst);
    send(5, 8);
    house.until("everything is counted without it", || house.is_caught_up());
    assert_eq!(impressions().len(), 5);
    influx.busy.store(false, Ordering::SeqCst);
    house.until("eight minutes are mirrored", || impressions() == [1; 8]);
    assert!(counted(&process, "castback_mirror_points_total", "rejected") < 1.0);

    // Somebody else writes into the bucket, and a point is lost: the next night finds it.
    {
        let mut values = influx.values.lock().unwrap();
        for (_, value) in values.iter_mut().filter(|((series, _, _), _)| series.starts_with("campaign_p")) {
            *value += 7;
        }
        values.retain(|(series, _, _), _| !series.starts_with("tallies"));
    }
    house.clock.advance(DAY);
    house.until("the minutes are repaired", || impressions() == [1; 8]);
    house.until("the tally is repaired", || influx.field("tallies", "accepted").iter().sum::<i64>() == 8);
    assert!(counted(&process, "castback_mirror_checks_total", "different") > 0.0);
    assert!(counted(&process, "castback_mirror_points_total", "repaired") > 0.0);
    process.stop();
}
