//! Shapes as operations of PDF.

use std::collections::{BTreeMap, BTreeSet};

use printpdf::{
    Color, FontId, Line, LinePoint, Mm, Op, PaintMode, PdfFont, PdfFontHandle, PdfFontMap, PdfPage, Point, Polygon,
    PolygonRing, Pt, Rgb, TextItem, WindingOrder,
};

use super::PdfError;
use super::fonts::{Font, Fonts, settable};
use super::sheet::{PAPER_HEIGHT, PAPER_WIDTH};
use crate::render::shape::{Anchor, Ink, Shape, Spot, Style, spot};

/// Pages with the fonts they need.
pub(super) struct Painted {
    pub pages: Vec<PdfPage>,
    pub fonts: PdfFontMap,
}

/// `pages` as operations, and each font with nothing but the glyphs in use.
pub(super) fn paint(pages: Vec<Vec<Shape>>, fonts: &Fonts) -> Result<Painted, PdfError> {
    let mut painter = Painter { fonts, used: BTreeMap::new(), ops: Vec::new() };
    let mut finished = Vec::with_capacity(pages.len());
    for shapes in pages {
        for shape in shapes {
            painter.shape(shape);
        }
        let ops = std::mem::take(&mut painter.ops);
        finished.push(PdfPage::new(Mm::from(Pt(PAPER_WIDTH)), Mm::from(Pt(PAPER_HEIGHT)), ops));
    }
    let mut map = BTreeMap::new();
    for (font, used) in &painter.used {
        map.insert(id(*font), PdfFont::new(fonts.subset(*font, used)?));
    }
    Ok(Painted { pages: finished, fonts: PdfFontMap { map } })
}

fn id(font: Font) -> FontId {
    FontId(font.name().to_owned())
}

struct Painter<'f> {
    fonts: &'f Fonts,
    used: BTreeMap<Font, BTreeSet<char>>,
    ops: Vec<Op>,
}

impl Painter<'_> {
    fn shape(&mut self, shape: Shape) {
        match shape {
            Shape::Stroke { points, width, ink } => {
                let line = Line { points: points.into_iter().map(place).collect(), is_closed: false };
                self.ops.push(Op::SetOutlineColor { col: color(ink) });
                self.ops.push(Op::SetOutlineThickness { pt: Pt(width) });
                self.ops.push(Op::DrawLine { line });
            }
            Shape::Fill { points, ink } => {
                let rings = vec![PolygonRing { points: points.into_iter().map(place).collect() }];
                let polygon = Polygon { rings, mode: PaintMode::Fill, winding_order: WindingOrder::NonZero };
                self.ops.push(Op::SetFillColor { col: color(ink) });
                self.ops.push(Op::DrawPolygon { polygon });
            }
            Shape::Words { at, words, style, anchor } => self.words(at, &words, style, anchor),
            Shape::Hint { .. } => {}
        }
    }

    fn words(&mut self, at: Spot, words: &str, style: Style, anchor: Anchor) {
        let words = settable(words).replace('\n', " ");
        if words.trim().is_empty() {
            return;
        }
        let width = self.fonts.width(&words, style);
        let left = match anchor {
            Anchor::Start => at.x,
            Anchor::Middle => at.x - width / 2.0,
            Anchor::End => at.x - width,
        };
        self.ops.push(Op::SetFillColor { col: color(style.ink) });
        self.ops.push(Op::StartTextSection);
        self.ops.push(Op::SetTextCursor { pos: place(spot(left, at.y)).p });
        for (font, run) in self.fonts.runs(&words, style.face) {
            self.used.entry(font).or_default().extend(run.chars());
            self.ops.push(Op::SetFont { font: PdfFontHandle::External(id(font)), size: Pt(style.size) });
            self.ops.push(Op::ShowText { items: vec![TextItem::Text(run)] });
        }
        self.ops.push(Op::EndTextSection);
    }
}

/// PDF counts from the bottom; a hundredth of a point is exact enough and keeps files small.
fn place(at: Spot) -> LinePoint {
    let round = |number: f32| Pt((number * 100.0).round() / 100.0);
    LinePoint { p: Point { x: round(at.x), y: round(PAPER_HEIGHT - at.y) }, bezier: false }
}

fn color(ink: Ink) -> Color {
    let [r, g, b] = ink.rgb().map(|part| f32::from(part) / 255.0);
    Color::Rgb(Rgb { r, g, b, icc_profile: None })
}
