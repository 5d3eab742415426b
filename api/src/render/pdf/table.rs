//! Tables: columns as wide as they need, rows over pages under a repeated head.

use super::fonts::settable;
use super::lines::{Measure, wrap};
use super::sheet::{MARGIN, Sheet, WIDTH, baseline, leading, leadings};
use crate::render::document::{Column, ColumnKind, Table};
use crate::render::shape::{Anchor, Face, Ink, Shape, Style, corners, length, spot, style};
use crate::render::value::Value;

/// How tables and charts are titled.
pub(super) const CAPTION: Style = style(Face::Bold, 9.5, Ink::Text);
const NOTE: Style = style(Face::Regular, 8.0, Ink::Muted);

/// Sizes of type: the first one that fits is taken. If none does, the table is parted.
const SIZES: [f32; 3] = [8.5, 7.5, 6.5];

/// Room beside and above words in a cell.
const PAD_X: f32 = 4.5;
const PAD_Y: f32 = 2.6;

/// What a column gets beyond its need, where there is room.
const AIR: f32 = 12.0;

/// The most lines of a cell, so that one name can't fill a page; the whole is in CSV and JSON.
const MOST_CELL_LINES: usize = 4;

/// The most rows on paper, some 200 pages; a line below says how many more CSV and JSON have.
const MOST_ROWS: usize = 10_000;

/// The narrowest column of words, in widths of its type.
const NARROWEST: f32 = 7.0;

/// Sets `table` on `sheet`. Numbers are never broken: if they don't fit side by side, the columns
/// follow in several tables, each with the first column.
pub(super) fn table(table: &Table, sheet: &mut Sheet<'_>) {
    let smallest = Grid { columns: &table.columns, widths: Vec::new(), size: SIZES[SIZES.len() - 1] };
    let rows: Vec<Vec<String>> = table.rows.iter().take(MOST_ROWS).map(|row| texts(row)).collect();
    let total = table.total.as_ref().map(|row| texts(row));
    let wanted = smallest.wanted(rows.iter().chain(&total), sheet);
    for (part, indices) in parts(&smallest.least(&wanted)).into_iter().enumerate() {
        let columns = picked(&table.columns, &indices);
        let rows: Vec<Vec<String>> = rows.iter().map(|row| picked(row, &indices)).collect();
        let total = total.as_ref().map(|row| picked(row, &indices));
        let grid = Grid::fit(&columns, &rows.iter().chain(&total), sheet);
        let continued = if part > 0 && !table.title.is_empty() { " (continued)" } else { "" };
        grid.table(&format!("{}{continued}", table.title), (&rows, total.as_ref()), sheet);
    }
    if table.rows.len() > MOST_ROWS {
        let more = Value::Count(i64::try_from(table.rows.len() - MOST_ROWS).unwrap_or(i64::MAX));
        sheet.flow(
            &format!("{more} more rows are in the CSV and JSON files."),
            MARGIN,
            Measure { style: NOTE, width: WIDTH, most: 1 },
        );
    }
}

/// The columns of each table that columns of these widths are parted into.
fn parts(widths: &[f32]) -> Vec<Vec<usize>> {
    let mut parts = vec![Vec::new()];
    let mut used = 0.0;
    for (index, width) in widths.iter().enumerate() {
        if used + width > WIDTH && index > 1 {
            parts.push(vec![0]);
            used = widths[0];
        }
        used += width;
        if let Some(part) = parts.last_mut() {
            part.push(index);
        }
    }
    parts
}

fn picked<T: Clone>(row: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().filter_map(|index| row.get(*index).cloned()).collect()
}

fn texts(row: &[Value]) -> Vec<String> {
    row.iter().map(ToString::to_string).collect()
}

/// Where the columns stand and how large the type is.
struct Grid<'a> {
    columns: &'a [Column],
    widths: Vec<f32>,
    size: f32,
}

impl<'a> Grid<'a> {
    /// The largest type in which every number stands on one line; the rest of the width goes to words.
    fn fit<'c>(
        columns: &'a [Column],
        rows: &(impl Iterator<Item = &'c Vec<String>> + Clone),
        sheet: &Sheet<'_>,
    ) -> Self {
        let mut fitted = None;
        for size in SIZES {
            let grid = Self { columns, widths: Vec::new(), size };
            let wanted = grid.wanted(rows.clone(), sheet);
            let fits = grid.least(&wanted).iter().sum::<f32>() <= WIDTH;
            fitted = Some(Self { widths: grid.share(&wanted), ..grid });
            if fits {
                break;
            }
        }
        fitted.unwrap_or(Self { columns, widths: Vec::new(), size: SIZES[0] })
    }

    fn plain(&self) -> Style {
        style(Face::Regular, self.size, Ink::Text)
    }

    fn bold(&self) -> Style {
        style(Face::Bold, self.size, Ink::Text)
    }

    /// The width at which nothing in each column breaks, but its label at spaces.
    fn wanted<'c>(&self, rows: impl Iterator<Item = &'c Vec<String>>, sheet: &Sheet<'_>) -> Vec<f32> {
        let fonts = sheet.fonts;
        let label = |column: &Column| {
            let words = settable(&column.label);
            words.split(' ').map(|word| fonts.width(word, self.bold())).fold(0.0, f32::max)
        };
        let mut wanted: Vec<f32> = self.columns.iter().map(label).collect();
        for row in rows {
            for (wanted, cell) in wanted.iter_mut().zip(row) {
                // The total row is bold: measured so, no row is too narrow.
                *wanted = wanted.max(fonts.width(&settable(cell), self.bold()));
            }
        }
        wanted.iter().map(|width| width + 2.0 * PAD_X).collect()
    }

    /// The least width that each column can do with.
    fn least(&self, wanted: &[f32]) -> Vec<f32> {
        let least = |(column, wanted): (&Column, &f32)| match column.kind {
            ColumnKind::Text => wanted.min(self.size * NARROWEST),
            ColumnKind::Number | ColumnKind::Money => *wanted,
        };
        self.columns.iter().zip(wanted).map(least).collect()
    }

    /// The width of the page shared out: to each column its least, then to each in proportion to
    /// what it still wants, then some air, then what is left to the first column of words.
    fn share(&self, wanted: &[f32]) -> Vec<f32> {
        let least = self.least(wanted);
        let sum: f32 = least.iter().sum();
        if sum > WIDTH {
            return least.iter().map(|width| width * WIDTH / sum).collect();
        }
        let missing: f32 = wanted.iter().sum::<f32>() - sum;
        let part = if missing > 0.0 { ((WIDTH - sum) / missing).min(1.0) } else { 0.0 };
        let mut widths: Vec<f32> =
            wanted.iter().zip(&least).map(|(wanted, least)| least + (wanted - least) * part).collect();
        let air = ((WIDTH - widths.iter().sum::<f32>()) / length(widths.len().max(1))).min(AIR);
        for width in &mut widths {
            *width += air;
        }
        let left = WIDTH - widths.iter().sum::<f32>();
        let words = self.columns.iter().position(|column| column.kind == ColumnKind::Text);
        if let Some(width) = widths.get_mut(words.unwrap_or(0)) {
            *width += left;
        }
        widths
    }

    /// Sets the rows and the total row under `title`.
    fn table(&self, title: &str, (rows, total): (&[Vec<String>], Option<&Vec<String>>), sheet: &mut Sheet<'_>) {
        sheet.reserve(leading(CAPTION) + leading(self.plain()) * 5.0);
        if !title.is_empty() {
            sheet.flow(title, MARGIN, Measure { style: CAPTION, width: WIDTH, most: 2 });
            sheet.skip(3.0);
        }
        self.head(sheet);
        for row in rows {
            self.row(row, self.plain(), sheet);
        }
        if let Some(row) = total {
            sheet.put(Shape::rule(spot(MARGIN, sheet.y), WIDTH, 0.9, Ink::Text));
            self.row(row, self.bold(), sheet);
        }
        sheet.skip(12.0);
    }

    fn head(&self, sheet: &mut Sheet<'_>) {
        let labels: Vec<String> = self.columns.iter().map(|column| column.label.clone()).collect();
        let lines = self.lines(&labels, self.bold(), sheet);
        let height = self.height(&lines);
        let ground = corners(spot(MARGIN, sheet.y), WIDTH, height);
        sheet.put(Shape::Fill { points: ground, ink: Ink::Panel });
        self.set(&lines, self.bold(), sheet);
        sheet.y += height;
        sheet.put(Shape::rule(spot(MARGIN, sheet.y), WIDTH, 0.7, Ink::Muted));
    }

    fn row(&self, cells: &[String], style: Style, sheet: &mut Sheet<'_>) {
        let lines = self.lines(cells, style, sheet);
        let height = self.height(&lines);
        if sheet.reserve(height) {
            self.head(sheet);
        }
        self.set(&lines, style, sheet);
        sheet.y += height;
        sheet.put(Shape::rule(spot(MARGIN, sheet.y), WIDTH, 0.4, Ink::Hairline));
    }

    fn lines(&self, cells: &[String], style: Style, sheet: &Sheet<'_>) -> Vec<Vec<String>> {
        let measures =
            self.widths.iter().map(|width| Measure { style, width: width - 2.0 * PAD_X + 0.01, most: MOST_CELL_LINES });
        cells.iter().zip(measures).map(|(cell, measure)| wrap(sheet.fonts, cell, measure)).collect()
    }

    fn height(&self, lines: &[Vec<String>]) -> f32 {
        leadings(self.plain(), lines.iter().map(Vec::len).max().unwrap_or(1)) + 2.0 * PAD_Y
    }

    /// Sets the cells of a row whose top is where the sheet stands.
    fn set(&self, lines: &[Vec<String>], style: Style, sheet: &mut Sheet<'_>) {
        let mut left = MARGIN;
        for ((lines, width), column) in lines.iter().zip(&self.widths).zip(self.columns) {
            let (x, anchor) = match column.kind {
                ColumnKind::Text => (left + PAD_X, Anchor::Start),
                ColumnKind::Number | ColumnKind::Money => (left + width - PAD_X, Anchor::End),
            };
            let mut y = sheet.y + PAD_Y;
            for line in lines {
                y += leading(style);
                sheet.put(Shape::Words { at: spot(x, baseline(y, style)), words: line.clone(), style, anchor });
            }
            left += width;
        }
    }
}
