//! The four credit models, with whole numbers as weights: shares are `weight / Σ weights`, exactly.

use super::DAY;

/// The models in the order of the contract.
pub(crate) const MODELS: [&str; 4] = ["first", "last", "equal", "time_decay"];

/// What halves a weight in `time_decay`.
const HALF_LIFE: i64 = 7 * DAY;

/// Weights are scaled so that the oldest exposure (60 days) keeps 50 binary digits.
const SCALE: i32 = 60;

/// Weights of the exposures, given by time and event id in that order.
pub(crate) fn weights(model: &str, exposures: &[i64]) -> Vec<i128> {
    let newest = exposures.len().saturating_sub(1);
    let at = |chosen: usize| exposures.iter().enumerate().map(|(i, _)| i128::from(i == chosen)).collect();
    match model {
        "first" => at(0),
        "last" => at(newest),
        "equal" => vec![1; exposures.len()],
        "time_decay" => exposures.iter().map(|time| decayed(exposures[newest] - time)).collect(),
        other => panic!("no such model: {other}"),
    }
}

/// `2^(-age / 7 d)`; only the ages' differences matter, a common factor cancels.
fn decayed(younger: i64) -> i128 {
    let (halvings, rest) = (younger / HALF_LIFE, younger % HALF_LIFE);
    let micros_to_float = |micros: i64| i32::try_from(micros / 1_000_000).map(f64::from).expect("under 60 days");
    let fraction = micros_to_float(rest) / micros_to_float(HALF_LIFE);
    let scaled = 2_f64.powf(f64::from(SCALE) - fraction);
    format!("{scaled:.0}").parse::<i128>().expect("a whole number") >> halvings
}

/// Splits an amount by the largest remainder; of equal remainders the earlier one (time, event id) gets the unit.
/// A refund takes back exactly what its purchase gave, so a negative amount is split like its positive one.
pub(crate) fn split(amount: i64, weights: &[i128]) -> Vec<i64> {
    if amount < 0 {
        return split(-amount, weights).into_iter().map(|part| -part).collect();
    }
    let total: i128 = weights.iter().sum();
    let amount = i128::from(amount);
    let mut parts: Vec<i128> = weights.iter().map(|weight| (amount * weight).div_euclid(total)).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| (-(amount * weights[i]).rem_euclid(total), i));
    let left = amount - parts.iter().sum::<i128>();
    for &i in order.iter().take(usize::try_from(left).expect("fewer units than parts")) {
        parts[i] += 1;
    }
    parts.into_iter().map(|part| i64::try_from(part).expect("no more than the amount")).collect()
}

/// `numerator / denominator`, halves to the even neighbor.
pub(crate) fn round_half_even(numerator: i128, denominator: i128) -> i128 {
    let (whole, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    let up = 2 * rest > denominator || (2 * rest == denominator && whole % 2 != 0);
    whole + i128::from(up)
}
