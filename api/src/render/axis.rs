//! Where the marks of an axis stand, and what they say.

use castback_schemas::time::{DAY, HOUR};
use castback_schemas::{Micros, Month};

use super::value::rounded;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The most marks that fit under a chart.
const MOST_TIMES: i64 = 8;

/// Round numbers from at or below `low` to at or above `high`, four or five steps apart. `whole`
/// keeps them integers.
pub(super) fn numbers(low: f64, high: f64, whole: bool) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    let scale = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * scale >= rough).unwrap_or(10.0);
    let mut step = factor * scale;
    if whole {
        step = step.ceil().max(1.0);
    }
    let first = (low / step).floor();
    let marks = std::iter::successors(Some(first), |mark| Some(mark + 1.0)).map(|mark| mark * step);
    let mut out = Vec::new();
    for mark in marks.take(12) {
        out.push(mark);
        if mark >= high {
            break;
        }
    }
    out
}

/// What a mark of the axis of numbers says: short, with as many decimals as `step` needs.
pub(super) fn number_label(number: f64, step: f64) -> String {
    let (divisor, suffix) = match step.abs() {
        step if step >= 1e8 => (1e9, "B"),
        step if step >= 1e5 => (1e6, "M"),
        step if step >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let scaled = step / divisor;
    let decimals = (0..6).find(|decimals| {
        let shifted = scaled * 10_f64.powi(*decimals);
        (shifted - shifted.round()).abs() < 1e-6
    });
    let decimals = usize::try_from(decimals.unwrap_or(6)).unwrap_or(6);
    rounded(number / divisor, decimals).map(|text| text + suffix).unwrap_or_default()
}

/// Marks of the axis of time between `first` and `last`, at most [`MOST_TIMES`], on round hours,
/// days or months of UTC, and no finer than `finest` microseconds, the step of the data.
pub(super) fn times(first: Micros, last: Micros, finest: i64) -> Vec<(Micros, String)> {
    let span = last.0.saturating_sub(first.0).max(1);
    let steps = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];
    match steps.into_iter().find(|step| *step >= finest.min(DAY) && span / step < MOST_TIMES) {
        Some(step) => clock_marks(first, last, step),
        None => month_marks(first, last, span),
    }
}

fn clock_marks(first: Micros, last: Micros, step: i64) -> Vec<(Micros, String)> {
    let start = first.floor(step.min(DAY));
    let marks = std::iter::successors(Some(start), |mark| Some(mark.plus(step)));
    let mut year = None;
    let inside = marks.take_while(|mark| *mark <= last).filter(|mark| *mark >= first);
    inside
        .map(|mark| {
            let month = mark.day().month();
            let label = if mark.floor(DAY) == mark {
                let day = mark.day().0 - month.first_day().0 + 1;
                with_year(format!("{} {day}", name(month)), ", ", month, &mut year)
            } else {
                format!("{:02}:00", mark.0.rem_euclid(DAY) / HOUR)
            };
            (mark, label)
        })
        .collect()
}

fn month_marks(first: Micros, last: Micros, span: i64) -> Vec<(Micros, String)> {
    let months = span / (30 * DAY);
    let step = [1, 2, 3, 6, 12].into_iter().find(|step| months / step < MOST_TIMES);
    let step = step.unwrap_or_else(|| 12 * (months / 12 / MOST_TIMES + 1));
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    let start = first.day().month().0;
    let marks = std::iter::successors(Some(start - start.rem_euclid(step)), |month| month.checked_add(step));
    let mut year = None;
    let marks = marks.map(|month| (Month(month).first_day(), Month(month)));
    marks
        .take_while(|(day, _)| *day <= last.day())
        .filter(|(day, _)| day.start() >= first)
        .map(|(day, month)| (day.start(), with_year(name(month).to_owned(), " ", month, &mut year)))
        .collect()
}

fn name(month: Month) -> &'static str {
    usize::try_from(month.0.rem_euclid(12)).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default()
}

/// The year follows, after `gap`, where it is new.
fn with_year(label: String, gap: &str, month: Month, year: &mut Option<i32>) -> String {
    let now = month.0.div_euclid(12);
    if year.replace(now) == Some(now) { label } else { format!("{label}{gap}{now}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(first: &str, last: &str) -> Vec<String> {
        times(first.parse().unwrap(), last.parse().unwrap(), HOUR).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn numbers_are_round_and_hold_the_range() {
        assert_eq!(numbers(0.0, 10.0, true), [0.0, 3.0, 6.0, 9.0, 12.0]);
        assert_eq!(numbers(0.0, 2.0, true), [0.0, 1.0, 2.0]);
        assert_eq!(numbers(0.0, 3.7, false), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(numbers(-40.0, 80.0, false), [-50.0, 0.0, 50.0, 100.0]);
        assert_eq!(number_label(1500.0, 500.0), "1,500");
        assert_eq!(number_label(0.25, 0.05), "0.25");
        assert_eq!(number_label(1_500_000.0, 500_000.0), "1.5M");
        assert_eq!(number_label(60_000.0, 20_000.0), "60k");
    }

    #[test]
    fn times_stand_on_hours_days_weeks_or_months() {
        assert_eq!(labels("2026-03-01T00:00:00Z", "2026-03-01T05:00:00Z")[..2], ["Mar 1, 2026", "01:00"]);
        assert_eq!(labels("2026-03-01", "2026-03-05"), ["Mar 1, 2026", "Mar 2", "Mar 3", "Mar 4", "Mar 5"]);
        assert_eq!(labels("2026-02-20", "2026-03-31")[..2], ["Feb 20, 2026", "Feb 27"]);
        assert_eq!(labels("2025-11-15", "2026-05-20"), ["Dec 2025", "Jan 2026", "Feb", "Mar", "Apr", "May"]);
        let day = |text: &str| text.parse::<Micros>().unwrap();
        assert_eq!(times(day("2026-03-01"), day("2026-03-03"), DAY).len(), 3);
        assert!(labels("0001-01-01", "9999-01-01").len() <= 9);
    }
}
