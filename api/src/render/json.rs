//! The whole document as JSON, in the API's notation.

use super::document::Document;

/// `document` as indented JSON with a final line feed.
pub(super) fn json(document: &Document) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::samples;

    #[test]
    fn a_document_is_written_whole() {
        let text = String::from_utf8(super::json(&samples::small()).unwrap()).unwrap();
        insta::assert_snapshot!(text);
    }
}
