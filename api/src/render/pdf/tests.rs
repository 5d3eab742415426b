//! PDFs read back.

use lopdf::Document as File;

use super::super::samples;
use super::*;

fn text_of(file: &File) -> String {
    let pages: Vec<u32> = file.get_pages().keys().copied().collect();
    file.extract_text(&pages).unwrap()
}

fn written(document: &Document) -> (Vec<u8>, File) {
    let bytes = pdf(document).unwrap();
    let file = File::load_mem(&bytes).unwrap();
    (bytes, file)
}

#[test]
fn words_and_numbers_can_be_read_back() {
    let (bytes, file) = written(&samples::document(45, 60));
    let text = text_of(&file);
    for expected in [
        "Campaign report: Größe & Łódź",
        "Nordic Café Podcasts",
        "48,120.50 USD",
        "95% interval 2.710 – 3.706",
        "2.31%",
        "12,345.67 USD",
        "Zażółć gęślą jaźń",
        "Ελληνικά μεταξύ μας",
        "Привет, мир",
        "Page 1 of ",
        "Castback, revision 48,211",
        "  AND day >= DATE '2026-02-16'",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
    assert!(bytes.len() < 80_000, "{} bytes", bytes.len());
}

#[test]
fn the_same_document_gives_the_same_bytes() {
    let document = samples::document(45, 60);
    assert_eq!(pdf(&document).unwrap(), pdf(&document).unwrap());
    let mut later = document.clone();
    later.created_at = later.created_at.plus(60_000_000);
    assert_ne!(pdf(&document).unwrap(), pdf(&later).unwrap());
}

#[test]
fn long_tables_go_over_pages_with_their_head() {
    let (_, file) = written(&samples::document(45, 400));
    let pages = file.get_pages();
    assert!(pages.len() > 8, "{}", pages.len());
    let last = u32::try_from(pages.len()).unwrap();
    for page in 3..last - 1 {
        let text = file.extract_text(&[page]).unwrap();
        assert!(text.contains("Published") && text.contains(&format!("Page {page} of {last}")), "{text}");
    }
    let text = text_of(&file);
    for row in 1..=400 {
        assert!(text.contains(&format!("{row}. ")), "row {row}");
    }
}

#[test]
fn the_catalog_says_title_and_language() {
    let (bytes, file) = written(&samples::small());
    assert!(bytes.starts_with(b"%PDF-1.7"));
    let catalog = file.catalog().unwrap();
    assert_eq!(catalog.get(b"Lang").unwrap().as_str().unwrap(), b"en");
    assert!(catalog.has(b"Outlines"));
    let info = file.trailer.get(b"Info").and_then(|id| file.get_dictionary(id.as_reference()?)).unwrap();
    let title = lopdf::decode_text_string(info.get(b"Title").unwrap()).unwrap();
    assert_eq!(title, "Campaign report: Größe & Łódź");
    assert_eq!(info.get(b"CreationDate").unwrap().as_str().unwrap(), b"D:20260402081500+00'00'");
}

#[test]
fn an_empty_document_is_one_page() {
    let mut document = samples::small();
    document.facts.clear();
    document.blocks = vec![super::super::Block::PageBreak, super::super::Block::PageBreak];
    document.title = String::new();
    assert_eq!(written(&document).1.get_pages().len(), 2);
}

/// Four credit models side by side, in many columns.
fn wide() -> Document {
    let mut document = samples::document(45, 3);
    let models = ["First touch", "Last touch", "Equal", "Time decay"];
    let mut table = samples::episodes(12);
    table.title = "Credit models side by side".into();
    let (columns, values) = (table.columns.split_off(2), table.rows[0][2..].to_vec());
    for model in models {
        for (column, value) in columns.iter().zip(&values) {
            table.columns.push(super::super::Column { label: format!("{model} {}", column.label), kind: column.kind });
            table.rows.iter_mut().chain(&mut table.total).for_each(|row| row.push(value.clone()));
        }
    }
    for row in table.rows.iter_mut().chain(&mut table.total) {
        row.drain(2..2 + columns.len());
    }
    document.blocks.push(super::super::Block::Table(table));
    let mut bars = samples::downloads(14);
    for point in &mut bars.points {
        point.band = point.value.map(|value| (value * 0.8, value * 1.15));
    }
    document.blocks.push(super::super::Block::Chart(bars));
    let sql = "SELECT * FROM ledger WHERE x = 'y' AND z IN (1, 2, 3)\n".repeat(120);
    document.blocks.push(super::super::Block::Sql(vec![super::super::Statement { label: "Long".into(), sql }]));
    document
}

#[test]
fn many_columns_fit_on_the_page() {
    let text = text_of(&written(&wide()).1);
    assert_eq!(text.matches("12,345.67 USD").count(), 1 + 4 * 13, "{text}");
}
