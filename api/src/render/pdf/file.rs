//! Pages as the bytes of a file, with what readers and screen readers ask of it: title, language,
//! outline. No random identifier, no clock: the same document gives the same bytes.

use castback_schemas::Micros;
use castback_schemas::time::SECOND;
use lopdf::{Bookmark, Dictionary, Object, ObjectId, StringFormat};
use printpdf::{OffsetDateTime, PdfDocument, PdfSaveOptions};
use sha2::{Digest, Sha256};

use super::PdfError;
use super::fonts::settable;
use super::paint::Painted;
use super::sheet::Outline;
use crate::render::document::Document;

/// `painted` as a PDF file.
pub(super) fn write(document: &Document, painted: Painted, outline: &Outline) -> Result<Vec<u8>, PdfError> {
    let mut pdf = PdfDocument::new("");
    describe(document, &mut pdf);
    pdf.resources.fonts = painted.fonts;
    pdf.pages = painted.pages;
    let mut file = pdf.to_lopdf_document(&PdfSaveOptions::default(), &mut Vec::new());
    "1.7".clone_into(&mut file.version);
    clean_info(&mut file)?;
    let bookmarks = add_outline(&mut file, outline);
    let catalog = file.catalog_mut().map_err(PdfError::Objects)?;
    catalog.set("Lang", Object::string_literal("en"));
    let preferences = Dictionary::from_iter([("DisplayDocTitle", Object::Boolean(true))]);
    catalog.set("ViewerPreferences", preferences);
    if let Some(bookmarks) = bookmarks {
        catalog.set("Outlines", bookmarks);
    }
    let identifier = identifier(document, &file);
    file.trailer.set("ID", vec![identifier.clone(), identifier]);
    file.compress();
    let mut bytes = Vec::new();
    file.save_to(&mut bytes).map_err(PdfError::Write)?;
    Ok(bytes)
}

fn describe(document: &Document, pdf: &mut PdfDocument) {
    let date = moment(document.created_at);
    let info = &mut pdf.metadata.info;
    info.document_title = settable(&document.title);
    info.subject = settable(&document.subtitle);
    "Castback".clone_into(&mut info.creator);
    "Castback, printpdf".clone_into(&mut info.producer);
    info.creation_date = date;
    info.modification_date = date;
    info.metadata_date = date;
}

/// The epoch stands in for a time that PDF cannot write.
fn moment(time: Micros) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.0.div_euclid(SECOND)).unwrap_or_else(|_| OffsetDateTime::epoch())
}

/// Takes out what printpdf says of every file and is not true of this one.
fn clean_info(file: &mut lopdf::Document) -> Result<(), PdfError> {
    let id = file.trailer.get(b"Info").and_then(Object::as_reference).map_err(PdfError::Objects)?;
    let info = file.get_dictionary_mut(id).map_err(PdfError::Objects)?;
    for key in ["GTS_PDFXVersion", "Identifier", "Keywords", "Author", "Trapped"] {
        info.remove(key.as_bytes());
    }
    Ok(())
}

fn add_outline(file: &mut lopdf::Document, outline: &Outline) -> Option<ObjectId> {
    let pages = file.get_pages();
    for (heading, page) in outline {
        let number = u32::try_from(page + 1).unwrap_or(u32::MAX);
        if let Some(page) = pages.get(&number) {
            file.add_bookmark(Bookmark::new(heading.clone(), [0.0; 3], 0, *page), None);
        }
    }
    file.build_outline()
}

/// What tells this file from any other: a hash of its streams and its time.
fn identifier(document: &Document, file: &lopdf::Document) -> Object {
    let mut hash = Sha256::new();
    hash.update(document.created_at.0.to_le_bytes());
    for object in file.objects.values() {
        if let Object::Stream(stream) = object {
            hash.update(&stream.content);
        }
    }
    Object::String(hash.finalize()[..16].to_vec(), StringFormat::Hexadecimal)
}
