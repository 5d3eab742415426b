//! A chart as shapes. The same drawing goes on paper and on web pages.

use castback_schemas::Micros;
use castback_schemas::time::DAY;

use super::axis::{number_label, numbers, times};
use super::document::{Chart, ChartKind, Point};
use super::shape::{Anchor, Face, Ink, Shape, Spot, corners, length, near, spot, style};
use super::value::Value;

/// The most points drawn, about five years of days: more could not be told apart. Of more, every
/// n-th is drawn and the chart says so.
const MOST_POINTS: usize = 2000;

/// The size of a drawing and of the words in it, in points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub width: f32,
    pub height: f32,
    pub text: f32,
}

/// `chart` as shapes that fill `frame`.
pub(super) fn draw(chart: &Chart, frame: Frame) -> Vec<Shape> {
    let (points, every) = drawn(chart);
    let mut shapes = head(chart, frame, every);
    match Plot::over(&points, frame) {
        Some(plot) => {
            plot.grid(&mut shapes);
            match chart.kind {
                ChartKind::Bars => plot.bars(&mut shapes),
                ChartKind::Line => plot.line(&mut shapes),
            }
            plot.hints(&chart.unit, &mut shapes);
        }
        None => shapes.push(Shape::Words {
            at: spot(frame.width / 2.0, frame.height / 2.0),
            words: "No values in this period".to_owned(),
            style: style(Face::Regular, frame.text, Ink::Muted),
            anchor: Anchor::Middle,
        }),
    }
    shapes
}

/// The least difference between values that an axis can show.
const SMALLEST: f64 = 1e-9;

/// The largest value drawn: up to here `f64` counts exactly. A larger one is taken for absent.
const LARGEST: f64 = 1e15;

/// The points in order of time, thinned to [`MOST_POINTS`], and by how much. What is not a number
/// of a size that can be drawn is absent.
fn drawn(chart: &Chart) -> (Vec<Point>, usize) {
    let fits = |value: &f64| value.abs() <= LARGEST;
    let mut points = chart.points.clone();
    points.sort_by_key(|point| point.at);
    for point in &mut points {
        point.value = point.value.filter(fits);
        point.band = point.band.filter(|(low, high)| fits(low) && fits(high));
    }
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    (points.into_iter().step_by(every).collect(), every)
}

fn head(chart: &Chart, frame: Frame, every: usize) -> Vec<Shape> {
    let at = spot(0.0, frame.text * 1.1);
    let unit = if every > 1 { format!("{} (1 point in {every} drawn)", chart.unit) } else { chart.unit.clone() };
    let unit = Shape::Words {
        at: spot(frame.width, at.y),
        words: shortened(&unit, frame.width * 0.34 / frame.text),
        style: style(Face::Regular, frame.text, Ink::Muted),
        anchor: Anchor::End,
    };
    let title = shortened(&chart.title, frame.width * 0.62 / (frame.text * 1.2));
    vec![Shape::words(at, title, style(Face::Bold, frame.text * 1.2, Ink::Text)), unit]
}

/// `words` cut where they would be about `ems` times as wide as their type is high: what draws
/// does not know its glyphs.
fn shortened(words: &str, ems: f32) -> String {
    const AVERAGE_EM: f32 = 0.55;
    let end = words.char_indices().enumerate().find(|(index, _)| length(*index) * AVERAGE_EM > ems);
    end.map_or_else(|| words.to_owned(), |(_, (at, _))| format!("{}…", words[..at].trim_end()))
}

/// Where the data stands, and how values and times become places.
struct Plot<'a> {
    points: &'a [Point],
    frame: Frame,
    left: f32,
    top: f32,
    width: f32,
    height: f32,
    marks: Vec<f64>,
    step: i64,
}

impl<'a> Plot<'a> {
    /// A plot that holds every value and zero; none if there is no value.
    fn over(points: &'a [Point], frame: Frame) -> Option<Self> {
        let values = || points.iter().filter_map(|point| point.value);
        values().next()?;
        let ends = points.iter().filter_map(|point| point.band).flat_map(|(low, high)| [low, high]);
        let (low, high) =
            values().chain(ends).fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let high = if high - low > SMALLEST { high } else { low + 1.0 };
        let whole = values().all(|value| value.fract().abs() < f64::EPSILON);
        let marks = numbers(low, high, whole);
        let gaps = points.windows(2).map(|pair| pair[1].at.0.saturating_sub(pair[0].at.0));
        let left = frame.text * 4.2;
        let top = frame.text * 2.6;
        Some(Self {
            points,
            frame,
            left,
            top,
            width: frame.width - left,
            height: frame.height - top - frame.text * 2.0,
            marks,
            step: gaps.filter(|gap| *gap > 0).min().unwrap_or(DAY),
        })
    }

    fn first(&self) -> Micros {
        self.points.first().map_or(Micros(0), |point| point.at)
    }

    fn last(&self) -> Micros {
        self.points.last().map_or(Micros(0), |point| point.at)
    }

    fn slot(&self) -> f32 {
        self.width * self.share(self.step)
    }

    /// `micros` as a share of the whole time, which ends a step after the last point.
    #[expect(clippy::cast_precision_loss, reason = "a place on an axis is good to a thousandth of its length")]
    fn share(&self, micros: i64) -> f32 {
        let whole = self.last().0.saturating_sub(self.first().0).saturating_add(self.step);
        near(micros as f64 / whole as f64)
    }

    /// The middle of the step that begins `at`.
    fn x(&self, at: Micros) -> f32 {
        self.left + self.width * self.share(at.0.saturating_sub(self.first().0)) + self.slot() / 2.0
    }

    fn y(&self, value: f64) -> f32 {
        let (low, high) = (self.marks[0], self.marks[self.marks.len() - 1]);
        self.top + self.height * near((high - value) / (high - low))
    }

    fn grid(&self, shapes: &mut Vec<Shape>) {
        let small = style(Face::Regular, self.frame.text, Ink::Muted);
        let step = self.marks.get(1).map_or(1.0, |second| second - self.marks[0]);
        for mark in &self.marks {
            let y = self.y(*mark);
            let (width, ink) = if mark.abs() < f64::EPSILON { (0.8, Ink::Muted) } else { (0.5, Ink::Hairline) };
            shapes.push(Shape::rule(spot(self.left, y), self.width, width, ink));
            shapes.push(Shape::Words {
                at: spot(self.left - self.frame.text * 0.6, y + self.frame.text * 0.35),
                words: number_label(*mark, step),
                style: small,
                anchor: Anchor::End,
            });
        }
        let below = self.top + self.height + self.frame.text * 1.6;
        for (at, label) in times(self.first(), self.last(), self.step) {
            let x = self.x(at);
            let room = self.frame.text * 0.3 * length(label.chars().count());
            let anchor = if x + room > self.frame.width { Anchor::End } else { Anchor::Middle };
            let x = if anchor == Anchor::End { self.frame.width } else { x };
            shapes.push(Shape::Words { at: spot(x, below), words: label, style: small, anchor });
        }
    }

    fn bars(&self, shapes: &mut Vec<Shape>) {
        let zero = self.y(0.0);
        let width = (self.slot() * 0.72).min(self.frame.text * 4.0);
        for point in self.points {
            let x = self.x(point.at);
            if let Some(value) = point.value {
                let at = spot(x - width / 2.0, self.y(value));
                shapes.push(Shape::Fill { points: corners(at, width, zero - at.y), ink: Ink::Series });
            }
            if let Some((low, high)) = point.band {
                let (top, bottom) = (self.y(high), self.y(low));
                let half = (width / 4.0).min(3.0);
                let mut whisker = |points: Vec<Spot>| shapes.push(Shape::Stroke { points, width: 0.7, ink: Ink::Text });
                whisker(vec![spot(x, top), spot(x, bottom)]);
                whisker(vec![spot(x - half, top), spot(x + half, top)]);
                whisker(vec![spot(x - half, bottom), spot(x + half, bottom)]);
            }
        }
    }

    fn line(&self, shapes: &mut Vec<Shape>) {
        for run in self.points.split(|point| point.band.is_none()) {
            let upper = run.iter().filter_map(|point| Some(spot(self.x(point.at), self.y(point.band?.1))));
            let lower = run.iter().rev().filter_map(|point| Some(spot(self.x(point.at), self.y(point.band?.0))));
            let points: Vec<Spot> = upper.chain(lower).collect();
            if run.len() > 1 {
                shapes.push(Shape::Fill { points, ink: Ink::Band });
            } else if !points.is_empty() {
                shapes.push(Shape::Stroke { points, width: 2.5, ink: Ink::Band });
            }
        }
        for run in self.points.split(|point| point.value.is_none()) {
            let points: Vec<Spot> =
                run.iter().filter_map(|point| Some(spot(self.x(point.at), self.y(point.value?)))).collect();
            match points.as_slice() {
                [] => {}
                [only] => shapes.push(Shape::Fill {
                    points: corners(spot(only.x - 1.5, only.y - 1.5), 3.0, 3.0),
                    ink: Ink::Series,
                }),
                _ => shapes.push(Shape::Stroke { points, width: 1.5, ink: Ink::Series }),
            }
        }
    }

    fn hints(&self, unit: &str, shapes: &mut Vec<Shape>) {
        for point in self.points {
            let Some(value) = point.value else { continue };
            let daily = self.step.rem_euclid(DAY) == 0;
            let when = if daily { Value::Day(point.at.day()) } else { Value::Time(point.at) };
            let at = spot(self.x(point.at) - self.slot() / 2.0, self.top);
            let band = point
                .band
                .map_or_else(String::new, |(low, high)| format!(" ({} – {})", Value::Rate(low), Value::Rate(high)));
            let words = format!("{when}: {}{band} {unit}", plain(value));
            shapes.push(Shape::Hint {
                points: corners(at, self.slot(), self.height),
                words: words.trim_end().to_owned(),
            });
        }
    }
}

/// A whole number without decimals, any other as a rate.
fn plain(value: f64) -> String {
    if value.fract().abs() < f64::EPSILON {
        super::value::rounded(value, 0).unwrap_or_default()
    } else {
        Value::Rate(value).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    const FRAME: Frame = Frame { width: 480.0, height: 140.0, text: 8.0 };

    fn places(shapes: &[Shape]) -> impl Iterator<Item = Spot> + '_ {
        shapes.iter().flat_map(|shape| match shape {
            Shape::Stroke { points, .. } | Shape::Fill { points, .. } | Shape::Hint { points, .. } => points.clone(),
            Shape::Words { at, .. } => vec![*at],
        })
    }

    #[test]
    fn every_shape_stays_in_the_frame() {
        for mut chart in [samples::downloads(30), samples::roas(90), samples::roas(1), samples::downloads(5000)] {
            chart.points.reverse();
            for place in places(&draw(&chart, FRAME)) {
                assert!((-0.01..=FRAME.width + 0.01).contains(&place.x), "{place:?}");
                assert!((-0.01..=FRAME.height + 0.01).contains(&place.y), "{place:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_drawn() {
        let mut chart = samples::roas(6);
        for point in &mut chart.points {
            point.value = Some(f64::NAN);
            point.band = Some((f64::NEG_INFINITY, f64::INFINITY));
        }
        let shapes = draw(&chart, FRAME);
        assert!(shapes.iter().all(|shape| matches!(shape, Shape::Words { .. })));
        chart.points.clear();
        assert_eq!(draw(&chart, FRAME), shapes);
    }

    #[test]
    fn extremes_keep_their_places_finite() {
        for extreme in [1e300, -1e300, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e15, -1e15, 1e-12] {
            let mut chart = samples::roas(6);
            chart.points[2].value = Some(extreme);
            chart.points.truncate(3);
            for kind in [ChartKind::Bars, ChartKind::Line] {
                chart.kind = kind;
                for place in places(&draw(&chart, FRAME)) {
                    assert!(
                        place.x.is_finite() && (-0.01..=FRAME.height + 0.01).contains(&place.y),
                        "{extreme}: {place:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn long_titles_end_before_the_unit() {
        let mut chart = samples::downloads(3);
        chart.title = "é ".repeat(500);
        let Shape::Words { words, .. } = &draw(&chart, FRAME)[0] else { panic!("the title comes first") };
        assert!(words.ends_with('…') && words.chars().count() < 70, "{words}");
    }

    #[test]
    fn an_absent_value_breaks_the_line() {
        let mut chart = samples::roas(9);
        chart.points[4].value = None;
        let lines = |chart: &Chart| {
            let shapes = draw(chart, FRAME);
            shapes.iter().filter(|shape| matches!(shape, Shape::Stroke { ink: Ink::Series, .. })).count()
        };
        assert_eq!(lines(&chart), 2);
    }
}
