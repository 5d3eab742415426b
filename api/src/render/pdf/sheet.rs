//! Pages that fill from the top; a new one begins where the room ends.

use super::fonts::{Fonts, settable};
use super::lines::{Measure, clip, wrap};
use crate::render::shape::{Anchor, Face, Ink, Shape, Spot, Style, length, spot, style};

/// The width of A4 in points.
pub(super) const PAPER_WIDTH: f32 = 595.276;
/// The height of A4 in points.
pub(super) const PAPER_HEIGHT: f32 = 841.89;
/// The left and right margin in points.
pub(super) const MARGIN: f32 = 50.0;
/// The width between the margins in points.
pub(super) const WIDTH: f32 = PAPER_WIDTH - 2.0 * MARGIN;

/// Where the first page and the others begin, and where all end.
const FIRST_TOP: f32 = 62.0;
const TOP: f32 = 76.0;
const BOTTOM: f32 = PAPER_HEIGHT - 64.0;

/// The most pages: a bound on time and memory that no report of ours comes near. What follows the
/// last one is left out, and its foot says so.
const MOST_PAGES: usize = 1000;

const RUNNING: Style = style(Face::Regular, 7.5, Ink::Muted);

/// A heading and the index of its page.
pub(super) type Outline = Vec<(String, usize)>;

/// Pages in the making.
#[derive(Debug)]
pub(super) struct Sheet<'f> {
    pub fonts: &'f Fonts,
    /// Where the next thing goes, from the top of the page.
    pub y: f32,
    pages: Vec<Vec<Shape>>,
    outline: Outline,
    cut: bool,
}

impl<'f> Sheet<'f> {
    /// One empty page.
    pub(super) fn new(fonts: &'f Fonts) -> Self {
        Self { fonts, y: FIRST_TOP, pages: vec![Vec::new()], outline: Vec::new(), cut: false }
    }

    /// Whether the page has nothing yet.
    fn is_fresh(&self) -> bool {
        self.pages.last().is_some_and(Vec::is_empty)
    }

    /// Begins a new page unless this one has nothing yet.
    pub(super) fn turn(&mut self) {
        if self.is_fresh() {
            return;
        }
        self.y = TOP;
        if self.pages.len() < MOST_PAGES {
            self.pages.push(Vec::new());
        } else {
            self.cut = true;
        }
    }

    /// Turns the page if less than `height` is left; says whether it did.
    pub(super) fn reserve(&mut self, height: f32) -> bool {
        let full = self.y + height > BOTTOM;
        if full {
            self.turn();
        }
        full
    }

    /// Puts `shape` on the page.
    pub(super) fn put(&mut self, shape: Shape) {
        if let (Some(page), false) = (self.pages.last_mut(), self.cut) {
            page.push(shape);
        }
    }

    /// Leaves `height` free, but not at the head of a page.
    pub(super) fn skip(&mut self, height: f32) {
        if !self.is_fresh() {
            self.y += height;
        }
    }

    /// Names this place in the outline.
    pub(super) fn name(&mut self, heading: &str) {
        self.outline.push((settable(heading), self.pages.len() - 1));
    }

    /// Sets `text` at `x`, line below line, over pages if need be.
    pub(super) fn flow(&mut self, text: &str, x: f32, measure: Measure) {
        let leading = leading(measure.style);
        for line in wrap(self.fonts, text, measure) {
            self.reserve(leading);
            self.y += leading;
            self.put(Shape::words(spot(x, baseline(self.y, measure.style)), line, measure.style));
        }
    }

    /// Sets one line that ends or begins at `at`, no wider than `width`.
    pub(super) fn one_line(&mut self, text: &str, at: Spot, style: Style, width: f32) {
        let line = clip(self.fonts, text, style, width);
        self.put(Shape::words(at, line, style));
    }

    /// The pages with head and foot, and the outline.
    pub(super) fn finish(mut self, title: &str, footer: &str) -> (Vec<Vec<Shape>>, Outline) {
        let count = self.pages.len();
        let footer = if self.cut { format!("{footer} – cut after {MOST_PAGES} pages") } else { footer.to_owned() };
        let title = clip(self.fonts, title, RUNNING, WIDTH);
        let footer = clip(self.fonts, &footer, RUNNING, WIDTH * 0.75);
        for (index, page) in self.pages.iter_mut().enumerate() {
            if index > 0 {
                page.insert(0, Shape::words(spot(MARGIN, 44.0), title.as_str(), RUNNING));
                page.insert(1, Shape::rule(spot(MARGIN, 52.0), WIDTH, 0.5, Ink::Hairline));
            }
            let foot = PAPER_HEIGHT - 36.0;
            page.push(Shape::rule(spot(MARGIN, foot - 13.0), WIDTH, 0.5, Ink::Hairline));
            page.push(Shape::words(spot(MARGIN, foot), footer.as_str(), RUNNING));
            page.push(Shape::Words {
                at: spot(PAPER_WIDTH - MARGIN, foot),
                words: format!("Page {} of {count}", index + 1),
                style: RUNNING,
                anchor: Anchor::End,
            });
        }
        (self.pages, self.outline)
    }
}

/// The height of a line.
pub(super) fn leading(style: Style) -> f32 {
    style.size * 1.38
}

/// The height of `count` lines.
pub(super) fn leadings(style: Style, count: usize) -> f32 {
    leading(style) * length(count)
}

/// The baseline of a line whose lower edge is `y`.
pub(super) fn baseline(y: f32, style: Style) -> f32 {
    y - style.size * 0.36
}
