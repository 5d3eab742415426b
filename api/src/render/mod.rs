//! Documents as bytes: JSON, CSV, PDF, Parquet, and charts as SVG.
//!
//! A report or a page builds a [`Document`] out of values and knows no format; a format knows
//! documents and no report. Rendering is pure and synchronous: no clock, no randomness, so the
//! same document gives the same bytes. It costs CPU time: call it from `spawn_blocking`.
//!
//! Text in a document may come from anyone (podcast and campaign names). No format lets it act:
//! it is escaped or quoted, a spreadsheet formula gets an apostrophe, and control characters and
//! direction overrides become U+FFFD.
//!
//! To add a format: a file beside `csv.rs` and a row in [`Format`]. To add a kind of block: a
//! variant of [`Block`]; the compiler names the formats that lack it.

mod axis;
mod chart;
mod csv;
mod document;
mod json;
mod parquet;
mod pdf;
mod shape;
mod svg;
mod text;
mod value;

pub use document::{Block, Chart, ChartKind, Column, ColumnKind, Document, Fact, Figure, Point, Statement, Table};
pub use pdf::PdfError;
pub use svg::svg;
pub use value::Value;

/// What a document can be rendered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Everything, in the API's notation.
    Json,
    /// Figures, charts and tables as RFC 4180 sections, safe to open in a spreadsheet.
    Csv,
    /// A4 pages.
    Pdf,
    /// Facts, figures, charts and tables as rows, one per value.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Json, Self::Csv, Self::Pdf, Self::Parquet];

    /// The format's name, which is also its file extension.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Pdf => "pdf",
            Self::Parquet => "parquet",
        }
    }

    /// The format called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Pdf => "application/pdf",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Why a document could not be rendered. Always a fault of ours, never of the document; trying
/// again does not help.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The JSON writer failed.
    #[error("writing JSON failed")]
    Json(#[source] serde_json::Error),
    /// The CSV writer failed.
    #[error("writing CSV failed")]
    Csv(#[source] ::csv::Error),
    /// The PDF writer failed.
    #[error("writing PDF failed")]
    Pdf(#[source] PdfError),
    /// The Parquet writer failed.
    #[error("writing Parquet failed")]
    Parquet(#[source] castback_store::StoreError),
}

/// The bytes of `document` in `format`.
pub fn render(document: &Document, format: Format) -> Result<Vec<u8>, RenderError> {
    match format {
        Format::Json => json::json(document).map_err(RenderError::Json),
        Format::Csv => csv::csv(document).map_err(RenderError::Csv),
        Format::Pdf => pdf::pdf(document).map_err(RenderError::Pdf),
        Format::Parquet => parquet::parquet(document).map_err(RenderError::Parquet),
    }
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod hostile;
