//! What a drawing is made of, on paper as on a web page. Lengths are points, from the top left.

/// A place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spot {
    pub x: f32,
    pub y: f32,
}

/// The place at (`x`, `y`).
pub(super) const fn spot(x: f32, y: f32) -> Spot {
    Spot { x, y }
}

/// What a color is for. The format decides which color that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// What is read first.
    Text,
    /// What explains it.
    Muted,
    /// Lines that guide the eye.
    Hairline,
    /// The ground under code and headings of tables.
    Panel,
    /// Data.
    Series,
    /// The interval around data.
    Band,
}

impl Ink {
    /// Its color on white, as red, green, blue. Blue and its tint come from the color-blind-safe
    /// set of Okabe and Ito; text contrasts with white by more than 7 : 1, muted text by 5 : 1.
    pub(super) const fn rgb(self) -> [u8; 3] {
        match self {
            Self::Text => [0x1b, 0x21, 0x29],
            Self::Muted => [0x5d, 0x67, 0x73],
            Self::Hairline => [0xd9, 0xde, 0xe4],
            Self::Panel => [0xf4, 0xf6, 0xf8],
            Self::Series => [0x00, 0x72, 0xb2],
            Self::Band => [0xc5, 0xdf, 0xee],
        }
    }
}

/// A cut of the typeface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Face {
    Regular,
    Bold,
    Mono,
}

/// How words look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    pub face: Face,
    pub size: f32,
    pub ink: Ink,
}

/// The style of `face` at `size` points in `ink`.
pub(super) const fn style(face: Face, size: f32, ink: Ink) -> Style {
    Style { face, size, ink }
}

/// Which end of words stands at their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A part of a drawing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// A line through points.
    Stroke { points: Vec<Spot>, width: f32, ink: Ink },
    /// A filled polygon.
    Fill { points: Vec<Spot>, ink: Ink },
    /// Words on a baseline.
    Words { at: Spot, words: String, style: Style, anchor: Anchor },
    /// What a pointer resting on an area is told; paper has none.
    Hint { points: Vec<Spot>, words: String },
}

impl Shape {
    /// Words that begin at `at`.
    pub(super) fn words(at: Spot, words: impl Into<String>, style: Style) -> Self {
        Self::Words { at, words: words.into(), style, anchor: Anchor::Start }
    }

    /// A level line from `from`, `length` long.
    pub(super) fn rule(from: Spot, length: f32, width: f32, ink: Ink) -> Self {
        Self::Stroke { points: vec![from, spot(from.x + length, from.y)], width, ink }
    }

    /// The shape moved by `by`.
    pub(super) fn moved(mut self, by: Spot) -> Self {
        let shift = |place: &mut Spot| *place = spot(place.x + by.x, place.y + by.y);
        match &mut self {
            Self::Stroke { points, .. } | Self::Fill { points, .. } | Self::Hint { points, .. } => {
                points.iter_mut().for_each(shift);
            }
            Self::Words { at, .. } => shift(at),
        }
        self
    }
}

/// The corners of a rectangle, from its top left one.
pub(super) fn corners(at: Spot, width: f32, height: f32) -> Vec<Spot> {
    vec![at, spot(at.x + width, at.y), spot(at.x + width, at.y + height), spot(at.x, at.y + height)]
}

/// A number of things as a length factor; beyond 65,535 it stays there.
pub(super) fn length(count: usize) -> f32 {
    f32::from(u16::try_from(count).unwrap_or(u16::MAX))
}

/// The nearest `f32`: places on paper need no more.
#[expect(clippy::cast_possible_truncation, reason = "a place is good to a thousandth of a point, f32 holds that")]
pub(super) fn near(number: f64) -> f32 {
    number as f32
}
