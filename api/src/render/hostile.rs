//! Names that attack, in every field of a document and every format.

use super::{Block, Format, Value, render, samples, svg};

/// What an attacker may call a podcast.
fn payloads() -> Vec<String> {
    let fixed = [
        "=cmd|' /C calc'!A0",
        "=HYPERLINK(\"http://x\",\"y\")",
        "+1+1",
        "-2+3",
        "@SUM(1+1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "＝1+1",
        "a;=1+1",
        "a,\"b\",=1",
        "\"=1\"",
        "'=1",
        "%0A-3+3",
        "a\r\nb,c",
        "=1+1;",
        "a\u{0}b",
        "\u{0}",
        ") Tj ET Q endstream endobj",
        "(unbalanced",
        "))))",
        "\\) Tj",
        "\\",
        "<</S/JavaScript/JS(app.alert(1))>>",
        "/OpenAction 1 0 R",
        "%%EOF",
        "trailer<</Root 1 0 R>>",
        "<script>alert(1)</script>",
        "]]><![CDATA[",
        "</svg><img onerror=x>",
        "&lt;&#x0;",
        "{\"a\":1}",
        "${jndi:ldap://x}",
        "\u{1b}[31mred\u{1b}[0m",
        "user\u{202e}fdp.exe",
        "\u{2066}\u{2067}\u{2068}\u{2069}",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}",
        "👩‍👩‍👧‍👦 family",
        "日本語 한국어 العربية",
        "שלום\u{200f} עולם",
        "\u{feff}\u{fffe}\u{e0041}",
        "",
    ];
    let mut all: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
    all.push("W".repeat(10_000));
    all.push("a ".repeat(10_000));
    all.push("\n".repeat(10_000));
    all
}

/// A document that says `name` wherever it can.
fn named(name: &str) -> super::Document {
    let mut document = samples::small();
    for text in [&mut document.title, &mut document.subtitle, &mut document.footer] {
        *text = name.to_owned();
    }
    for fact in &mut document.facts {
        fact.label = name.to_owned();
        fact.value = Value::text(name);
    }
    for block in &mut document.blocks {
        match block {
            Block::Heading(text) | Block::Paragraph(text) => *text = name.to_owned(),
            Block::Figures(figures) => figures.iter_mut().for_each(|figure| {
                figure.label = name.to_owned();
                figure.note = name.to_owned();
                figure.value = Value::text(name);
            }),
            Block::Chart(chart) => {
                chart.title = name.to_owned();
                chart.unit = name.to_owned();
            }
            Block::Table(table) => {
                table.title = name.to_owned();
                table.columns.iter_mut().for_each(|column| column.label = name.to_owned());
                table.rows.iter_mut().for_each(|row| row[0] = Value::text(name));
            }
            Block::Sql(statements) => statements.iter_mut().for_each(|statement| {
                statement.label = name.to_owned();
                statement.sql = name.to_owned();
            }),
            Block::PageBreak => {}
        }
    }
    document
}

#[test]
fn csv_cells_are_no_formulas() {
    for name in payloads() {
        let bytes = render(&named(&name), Format::Csv).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        for record in reader.records() {
            for cell in &record.unwrap() {
                let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']);
                assert!(!formula || cell.parse::<f64>().is_ok(), "{cell:?}");
                assert!(!cell.contains(['\0', '\u{1b}', '\u{202e}', '\u{2066}']), "{cell:?}");
            }
        }
    }
}

#[test]
fn json_keeps_every_name_as_it_is() {
    for name in payloads() {
        let bytes = render(&named(&name), Format::Json).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["title"], name.as_str());
    }
}

#[test]
fn pdf_objects_stay_ours() {
    let count = |name: &str| {
        let bytes = render(&named(name), Format::Pdf).unwrap();
        let file = lopdf::Document::load_mem(&bytes).unwrap();
        for object in file.objects.values() {
            let keys = ["JS", "JavaScript", "OpenAction", "AA", "URI", "Launch"];
            let Ok(dictionary) = object.as_dict() else { continue };
            assert!(keys.iter().all(|key| !dictionary.has(key.as_bytes())), "{object:?}");
        }
        for page in file.page_iter() {
            let content = file.get_page_content(page);
            let operations = lopdf::content::Content::decode(&content).unwrap().operations;
            let depth = operations.iter().fold(0_i32, |depth, operation| match operation.operator.as_str() {
                "BT" => depth + 1,
                "ET" => depth - 1,
                _ => depth,
            });
            assert_eq!(depth, 0, "{name:?}");
        }
        file.get_pages().len()
    };
    for name in payloads() {
        let pages = count(&name);
        assert!((1..60).contains(&pages), "{pages} pages for {:?}", name.chars().take(20).collect::<String>());
    }
}

#[test]
fn svg_keeps_its_elements() {
    for name in payloads() {
        let mut chart = samples::downloads(3);
        chart.title.clone_from(&name);
        chart.unit = name;
        let text = svg(&chart);
        let plain = svg(&samples::downloads(3));
        assert_eq!(text.matches('<').count(), plain.matches('<').count(), "{text}");
        assert!(!text.contains(['\0', '\u{1b}', '\u{202e}', '\u{fffe}']), "{text}");
    }
}
