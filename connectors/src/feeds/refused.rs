//! What a document is that is no feed, in words for the feed's owner.

/// Bytes of the start by which a document is told.
const START: usize = 1024;

/// Elements and the declaration that only web pages begin with.
const HTML: [&str; 4] = ["<!doctype html", "<html", "<head", "<body"];

/// What the document is.
pub(super) fn kind(text: &str) -> &'static str {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let start = text[..text.floor_char_boundary(START)].to_ascii_lowercase();
    let binary = |letter: char| letter == char::REPLACEMENT_CHARACTER || letter.is_control() && !letter.is_whitespace();
    if start.is_empty() {
        "an empty document"
    } else if HTML.iter().any(|tag| start.contains(tag)) {
        "a web page (HTML)"
    } else if start.starts_with(['{', '[']) {
        "JSON of another kind"
    } else if start.contains(binary) {
        "no text"
    } else if start.starts_with('<') {
        "XML of another kind"
    } else {
        "plain text"
    }
}
