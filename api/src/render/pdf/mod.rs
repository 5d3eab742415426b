//! A document as A4 pages.
//!
//! ```text
//! Document ─blocks─▶ Sheet (shapes on pages) ─paint─▶ printpdf operations + font subsets ─file─▶ bytes
//! ```
//! `blocks` and `table` decide what goes where, `lines` breaks words into lines, `sheet` begins new
//! pages, `fonts` knows glyphs and their widths. Only `fonts`, `paint` and `file` know PDF.

mod blocks;
mod file;
mod fonts;
mod lines;
mod paint;
mod sheet;
mod table;

use super::document::Document;
use fonts::Fonts;
use sheet::Sheet;

/// Why a PDF could not be written. Always a fault of the program.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// An embedded typeface could not be read.
    #[error("the typeface {0} can't be read")]
    Typeface(&'static str),
    /// An embedded typeface has tables that can't be parsed.
    #[error("parsing the typeface {0} failed")]
    Parse(&'static str, #[source] allsorts::error::ReadWriteError),
    /// An embedded typeface could not be reduced to the glyphs in use.
    #[error("subsetting the typeface {0} failed")]
    Subset(&'static str, #[source] allsorts::subset::SubsetError),
    /// The PDF objects don't hang together.
    #[error("the PDF's objects are broken")]
    Objects(#[source] lopdf::Error),
    /// The bytes could not be written.
    #[error("writing the PDF's bytes failed")]
    Write(#[source] std::io::Error),
}

/// `document` as a PDF: the same bytes for the same document.
pub(super) fn pdf(document: &Document) -> Result<Vec<u8>, PdfError> {
    let fonts = Fonts::embedded()?;
    let mut sheet = Sheet::new(fonts);
    blocks::lay_out(document, &mut sheet);
    let (pages, outline) = sheet.finish(&document.title, &document.footer);
    let painted = paint::paint(pages, fonts)?;
    file::write(document, painted, &outline)
}

#[cfg(test)]
mod tests;
