//! Processes that end at any moment: nothing is lost, nothing counted twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use castback_schemas::Topic;
use castback_schemas::table::Table;
use castback_schemas::time::{HOUR, SECOND};

use crate::house::{House, NOON};

/// Crashes of a run.
const CRASHES: u8 = 12;

/// Records of a batch.
const BATCH: u32 = 150;

/// A small generator, so that a run can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

on_every_database! {
    processes_that_crash_at_any_moment_end_where_one_that_does_not_would
}

fn processes_that_crash_at_any_moment_end_where_one_that_does_not_would(house: &House) {
    let senders = ["ada", "bob", "cleo", "dora"].map(|name| house.sender(name));
    let encoder = house.encoder(Topic::ListenerRequests);
    let mut dice = Dice(0x5eed_cafe);
    let done = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let (mut dice, mut batch) = (Dice(0xfeed), 0_u32);
            while !done.load(Ordering::SeqCst) {
                let mut records = Vec::new();
                for n in 0..BATCH {
                    let sender = senders[usize::try_from(dice.roll(4)).unwrap()];
                    let at = NOON.plus(-i64::try_from(dice.roll(30)).unwrap() * HOUR - i64::from(n) * SECOND);
                    let listener = u32::try_from(dice.roll(200)).unwrap();
                    // Every third id comes again, perhaps in another batch.
                    let id = if dice.roll(3) == 0 { dice.roll(400) } else { u64::from(batch * BATCH + n) + 1_000 };
                    records.push(sender.record(&encoder, &sender.request(&format!("id-{id}"), listener, at)));
                }
                house.append(records);
                batch += 1;
                house.wait(async { tokio::time::sleep(Duration::from_millis(15)).await });
            }
            batch
        });
        for seed in 0..CRASHES {
            let process = house.process(10 + seed);
            let moment = Duration::from_millis(30 + dice.roll(700));
            house.wait(async { tokio::time::sleep(moment).await });
            process.kill();
        }
        done.store(true, Ordering::SeqCst);
        feeder.join().unwrap()
    });
    let process = house.process(50);
    house.until("all is committed", || house.is_caught_up());
    process.stop();
    let crashed = house.balanced(Topic::ListenerRequests, Table::Requests);
    assert_eq!(crashed.values().sum::<usize>(), usize::try_from(sent * BATCH).unwrap());

    // A process that folds all of it finds nothing to revise.
    let again = house.process(51);
    house.until("nothing is left to do", || house.is_caught_up());
    again.stop();
    assert_eq!(house.balanced(Topic::ListenerRequests, Table::Requests), crashed, "a fold changes nothing");
}
