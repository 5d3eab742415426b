//! What a person sees: lines on standard output, errors on standard error. A reader that has gone away is no error.

use std::io::{self, Write};

/// A line of an answer. Whether anybody still reads.
pub(crate) fn line(text: &str) -> bool {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}").and_then(|()| output.flush()).is_ok()
}

/// Bytes of an answer as they are.
pub(crate) fn bytes(bytes: &[u8]) -> bool {
    let mut output = io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).is_ok()
}

/// A line about what went wrong.
pub(crate) fn error_line(text: &str) {
    // Where errors can't be written either, the exit code says the rest.
    writeln!(io::stderr().lock(), "castback: {text}").ok();
}

/// Rows in columns, the head underlined; numbers to the right.
pub(crate) fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(head.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            if cell.parse::<f64>().is_ok() { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  ");
    let body = rows.iter().map(|row| line(row));
    [line(head), rule].into_iter().chain(body).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let shown = table(&text(&["verdict", "n"]), &[text(&["counted", "12"]), text(&["Ünï", "3"])]);
        assert_eq!(shown, "verdict  n\n-------  --\ncounted  12\nÜnï       3");
    }
}
