//! What the README lists is what there is.

use std::fmt::Write;

use castback_schemas::time::DAY;
use castback_schemas::topic::TOPICS;
use castback_store::Store;

/// The lines of a table between its marks, without its head.
fn listed(mark: &str) -> String {
    let readme = include_str!("../README.md");
    let (_, after) = readme.split_once(&format!("<!-- {mark} -->\n")).expect("the mark stands in the README");
    let (table, _) = after.split_once("<!-- end -->").expect("the table ends");
    table.lines().skip(2).fold(String::new(), |text, line| text + line + "\n")
}

#[tokio::test]
async fn the_tables_are_those_of_describe() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
    let mut actual = String::new();
    for table in castback_store::session::tables(&store).await.unwrap() {
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        writeln!(actual, "| `{}` | {} | {} |", table.name, table.doc, columns.join(", ")).unwrap();
    }
    assert!(actual == listed("sql tables"), "the README's SQL tables should be:\n{actual}");
}

#[test]
fn the_topics_are_all_there() {
    let mut actual = String::new();
    for spec in TOPICS {
        writeln!(actual, "| `{}` | {} | {} d | {} |", spec.name, spec.record, spec.retention / DAY, spec.doc).unwrap();
    }
    assert!(actual == listed("topics"), "the README's topics should be:\n{actual}");
}
