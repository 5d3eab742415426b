//! What each block looks like on paper.

use super::lines::{Measure, clip, wrap};
use super::sheet::{MARGIN, Sheet, WIDTH, baseline, leading, leadings};
use super::table::{CAPTION, table};
use crate::render::chart::{Frame, draw};
use crate::render::document::{Block, Chart, Document, Fact, Figure, Statement};
use crate::render::shape::{Face, Ink, Shape, Style, corners, length, spot, style};

const TITLE: Style = style(Face::Bold, 21.0, Ink::Text);
const SUBTITLE: Style = style(Face::Regular, 11.0, Ink::Muted);
const HEADING: Style = style(Face::Bold, 13.0, Ink::Text);
const BODY: Style = style(Face::Regular, 9.0, Ink::Text);
const LABEL: Style = style(Face::Regular, 8.0, Ink::Muted);
const FIGURE: Style = style(Face::Bold, 17.0, Ink::Text);
const CODE: Style = style(Face::Mono, 7.2, Ink::Text);
const CODE_LABEL: Style = style(Face::Bold, 8.5, Ink::Text);

/// Columns of facts and of figures, and the gutter between them.
const COLUMNS: usize = 3;
const GUTTER: f32 = 18.0;

const CHART: Frame = Frame { width: WIDTH, height: 138.0, text: 7.5 };

/// The most lines of one paragraph or statement: some pages. The whole text is in the JSON.
const MOST_LINES: usize = 400;

/// Sets `document` on `sheet`.
pub(super) fn lay_out(document: &Document, sheet: &mut Sheet<'_>) {
    title(document, sheet);
    facts(&document.facts, sheet);
    for block in &document.blocks {
        match block {
            Block::Heading(text) => heading(text, sheet),
            Block::Paragraph(text) => {
                sheet.flow(text, MARGIN, Measure { style: BODY, width: WIDTH, most: MOST_LINES });
                sheet.skip(6.0);
            }
            Block::Figures(list) => figures(list, sheet),
            Block::Chart(drawn) => chart(drawn, sheet),
            Block::Table(listed) => table(listed, sheet),
            Block::Sql(statements) => sql(statements, sheet),
            Block::PageBreak => sheet.turn(),
        }
    }
}

fn title(document: &Document, sheet: &mut Sheet<'_>) {
    let bar = corners(spot(MARGIN, sheet.y - 14.0), 30.0, 3.5);
    sheet.put(Shape::Fill { points: bar, ink: Ink::Series });
    sheet.flow(&document.title, MARGIN, Measure { style: TITLE, width: WIDTH, most: 3 });
    sheet.skip(1.0);
    sheet.flow(&document.subtitle, MARGIN, Measure { style: SUBTITLE, width: WIDTH, most: 2 });
    sheet.skip(16.0);
}

fn heading(text: &str, sheet: &mut Sheet<'_>) {
    sheet.skip(10.0);
    // A heading never stands alone at the foot of a page.
    sheet.reserve(leading(HEADING) + 90.0);
    sheet.name(text);
    sheet.flow(text, MARGIN, Measure { style: HEADING, width: WIDTH, most: 2 });
    sheet.skip(7.0);
}

/// The width of one of [`COLUMNS`], and the left edge of the one at `index`.
fn column(index: usize) -> (f32, f32) {
    let width = (WIDTH - GUTTER * length(COLUMNS - 1)) / length(COLUMNS);
    (width, MARGIN + (width + GUTTER) * length(index))
}

fn facts(facts: &[Fact], sheet: &mut Sheet<'_>) {
    for row in facts.chunks(COLUMNS) {
        let (width, _) = column(0);
        let measure = Measure { style: BODY, width, most: 3 };
        let values: Vec<_> = row.iter().map(|fact| wrap(sheet.fonts, &fact.value.to_string(), measure)).collect();
        let lines = values.iter().map(Vec::len).max().unwrap_or(0);
        let height = leading(LABEL) + leadings(BODY, lines) + 9.0;
        sheet.reserve(height);
        let top = sheet.y;
        for (index, (fact, value)) in row.iter().zip(&values).enumerate() {
            let (_, x) = column(index);
            let mut y = top + leading(LABEL);
            sheet.one_line(&fact.label, spot(x, baseline(y, LABEL)), LABEL, width);
            for line in value {
                y += leading(BODY);
                sheet.put(Shape::words(spot(x, baseline(y, BODY)), line.as_str(), BODY));
            }
        }
        sheet.y = top + height;
    }
}

fn figures(figures: &[Figure], sheet: &mut Sheet<'_>) {
    for row in figures.chunks(COLUMNS) {
        let (width, _) = column(0);
        let measure = Measure { style: LABEL, width, most: 3 };
        let below: Vec<_> = row.iter().map(|figure| wrap(sheet.fonts, &explained(figure), measure)).collect();
        let lines = below.iter().map(Vec::len).max().unwrap_or(0);
        let height = 6.0 + leading(LABEL) + leading(FIGURE) + leadings(LABEL, lines) + 12.0;
        sheet.reserve(height);
        let top = sheet.y;
        for (index, (figure, below)) in row.iter().zip(&below).enumerate() {
            let (_, x) = column(index);
            sheet.put(Shape::rule(spot(x, top), width, 0.9, Ink::Series));
            let mut y = top + 6.0 + leading(LABEL);
            sheet.one_line(&figure.label, spot(x, baseline(y, LABEL)), LABEL, width);
            y += leading(FIGURE);
            sheet.one_line(&figure.value.to_string(), spot(x, baseline(y, FIGURE)), FIGURE, width);
            for line in below {
                y += leading(LABEL);
                sheet.put(Shape::words(spot(x, baseline(y, LABEL)), line.as_str(), LABEL));
            }
        }
        sheet.y = top + height;
    }
}

/// What stands below a figure.
fn explained(figure: &Figure) -> String {
    let interval = match (figure.low.is_null(), figure.high.is_null()) {
        (true, true) => String::new(),
        _ => format!("95% interval {} – {}", figure.low, figure.high),
    };
    let parts = [interval.as_str(), figure.note.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn chart(chart: &Chart, sheet: &mut Sheet<'_>) {
    sheet.reserve(CHART.height + 14.0);
    let origin = spot(MARGIN, sheet.y);
    let fitting = Chart {
        title: clip(sheet.fonts, &chart.title, CAPTION, WIDTH * 0.62),
        unit: clip(sheet.fonts, &chart.unit, LABEL, WIDTH * 0.34),
        ..chart.clone()
    };
    for shape in draw(&fitting, CHART) {
        sheet.put(shape.moved(origin));
    }
    sheet.skip(CHART.height + 14.0);
}

fn sql(statements: &[Statement], sheet: &mut Sheet<'_>) {
    const INSET: f32 = 7.0;
    for statement in statements {
        sheet.reserve(leading(CODE_LABEL) + leadings(CODE, 3) + 2.0 * INSET);
        sheet.flow(&statement.label, MARGIN, Measure { style: CODE_LABEL, width: WIDTH, most: 2 });
        sheet.skip(2.0);
        let measure = Measure { style: CODE, width: WIDTH - 2.0 * INSET, most: MOST_LINES };
        let lines = wrap(sheet.fonts, &statement.sql, measure);
        for (index, line) in lines.iter().enumerate() {
            let above = if index == 0 { INSET } else { 0.0 };
            let below = if index + 1 == lines.len() { INSET } else { 0.0 };
            sheet.reserve(above + leading(CODE) + below);
            // Half a point of overlap hides the seams between the strips.
            let ground = corners(
                spot(MARGIN, sheet.y),
                WIDTH,
                above + leading(CODE) + below + if below > 0.0 { 0.0 } else { 0.5 },
            );
            sheet.put(Shape::Fill { points: ground, ink: Ink::Panel });
            sheet.skip(above + leading(CODE));
            sheet.put(Shape::words(spot(MARGIN + INSET, baseline(sheet.y, CODE)), line.as_str(), CODE));
            sheet.skip(below);
        }
        sheet.skip(9.0);
    }
}
