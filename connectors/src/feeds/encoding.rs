//! From bytes to text: byte order mark, zero bytes, what the text itself shows, HTTP, declaration, guess.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};

use super::warning::{Warning, Warnings};

/// Bytes at the start in which an XML declaration is looked for (some feeds have garbage before it).
const DECLARATION_WITHIN: usize = 4096;

/// Decodes a feed document. `charset` is the one of the HTTP header.
///
/// Text that is valid UTF-8 and not plain ASCII is UTF-8 whatever is declared: no text of another
/// encoding looks like that by accident. Otherwise HTTP goes before the XML declaration (RFC 7303).
pub(super) fn decode<'a>(bytes: &'a [u8], charset: Option<&str>, warnings: &mut Warnings) -> Cow<'a, str> {
    if let Some(text) = decode_wide(bytes, warnings) {
        return text;
    }
    let declared = charset.and_then(known).or_else(|| declaration(bytes).and_then(known));
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if declared.is_some_and(|encoding| encoding != UTF_8) && !text.is_ascii() {
            warnings.add(Warning::EncodingMismatch);
        }
        // ISO-2022-JP is the one encoding of the web that is spelled in ASCII only.
        return match declared {
            Some(encoding) if text.is_ascii() && !encoding.is_ascii_compatible() => lossy(encoding, bytes, warnings),
            _ => Cow::Borrowed(text),
        };
    }
    match declared {
        Some(encoding) if encoding != UTF_8 => lossy(encoding, bytes, warnings),
        _ if mostly_utf8(bytes) => lossy(UTF_8, bytes, warnings),
        _ => {
            warnings.add(Warning::EncodingGuessed);
            lossy(guess(bytes), bytes, warnings)
        }
    }
}

/// UTF-16 and UTF-32, by their mark or by the zero bytes around the first `<`.
fn decode_wide(bytes: &[u8], warnings: &mut Warnings) -> Option<Cow<'static, str>> {
    let encoding = match bytes {
        [0xFF, 0xFE, 0, 0, rest @ ..] => return Some(decode_utf32(rest, u32::from_le_bytes, warnings)),
        [0, 0, 0xFE, 0xFF, rest @ ..] => return Some(decode_utf32(rest, u32::from_be_bytes, warnings)),
        [b'<', 0, 0, 0, ..] => return Some(decode_utf32(bytes, u32::from_le_bytes, warnings)),
        [0, 0, 0, b'<', ..] => return Some(decode_utf32(bytes, u32::from_be_bytes, warnings)),
        [0xFF, 0xFE, ..] | [b'<', 0, ..] => UTF_16LE,
        [0xFE, 0xFF, ..] | [0, b'<', ..] => UTF_16BE,
        _ => return None,
    };
    Some(Cow::Owned(lossy(encoding, bytes, warnings).into_owned()))
}

fn decode_utf32(bytes: &[u8], read: fn([u8; 4]) -> u32, warnings: &mut Warnings) -> Cow<'static, str> {
    let units = bytes.as_chunks::<4>().0.iter().map(|unit| char::from_u32(read(*unit)));
    let text: String = units.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    if text.contains(char::REPLACEMENT_CHARACTER) {
        warnings.add(Warning::BytesReplaced);
    }
    Cow::Owned(text)
}

fn lossy<'a>(encoding: &'static Encoding, bytes: &'a [u8], warnings: &mut Warnings) -> Cow<'a, str> {
    let (text, replaced) = encoding.decode_with_bom_removal(bytes);
    if replaced {
        warnings.add(Warning::BytesReplaced);
    }
    text
}

/// An encoding that single bytes can be in. A document that we could read the label of is not UTF-16.
fn known(label: impl AsRef<[u8]>) -> Option<&'static Encoding> {
    let encoding = Encoding::for_label(label.as_ref())?;
    (encoding != REPLACEMENT && encoding != UTF_16LE && encoding != UTF_16BE).then_some(encoding)
}

/// The label in `<?xml … encoding="…"?>`.
fn declaration(bytes: &[u8]) -> Option<&[u8]> {
    let head = &bytes[..bytes.len().min(DECLARATION_WITHIN)];
    let start = find(head, b"<?xml")?;
    let declaration = &head[start..start + find(&head[start..], b"?>")?];
    let value = declaration[find(declaration, b"encoding")? + b"encoding".len()..].trim_ascii_start();
    let value = value.strip_prefix(b"=")?.trim_ascii_start();
    let (quote, value) = value.split_first()?;
    let end = value.iter().position(|byte| byte == quote)?;
    matches!(quote, b'"' | b'\'').then_some(&value[..end])
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Whether most of what is not ASCII is well-formed UTF-8: damaged UTF-8 rather than something else.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let mut good = 0;
    let mut bad = 0;
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    good > bad
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], charset: Option<&str>) -> (String, Warnings) {
        let mut warnings = Warnings::default();
        let text = decode(bytes, charset, &mut warnings).into_owned();
        (text, warnings)
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn wide_encodings_are_seen_with_and_without_a_mark() {
        let text = "<rss>Ärger</rss>";
        assert_eq!(decoded(&utf16(text, u16::to_le_bytes), None).0, text);
        assert_eq!(decoded(&utf16(text, u16::to_be_bytes), None).0, text);
        assert_eq!(decoded(&utf16(&format!("\u{feff}{text}"), u16::to_be_bytes), Some("utf-8")).0, text);
        let utf32: Vec<u8> = text.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
        assert_eq!(decoded(&utf32, None).0, text);
    }

    #[test]
    fn http_goes_before_the_declaration() {
        let bytes = b"<?xml version='1.0' encoding='iso-8859-1'?><t>\xcf</t>";
        assert!(decoded(bytes, Some("windows-1251")).0.contains('П'));
        assert!(decoded(bytes, Some("no such thing")).0.contains('Ï'));
        assert!(decoded(bytes, None).0.contains('Ï'));
    }

    #[test]
    fn what_is_utf8_stays_utf8_whatever_is_declared() {
        for label in ["utf-16", "ISO-8859-1", "windows-1251", "nonsense"] {
            let text = format!("<?xml version=\"1.0\" encoding = \"{label}\"?><t>Käse</t>");
            assert_eq!(decoded(text.as_bytes(), None).0, text);
        }
        let (_, warnings) = decoded("<?xml version='1.0' encoding='koi8-r'?><t>ж</t>".as_bytes(), None);
        assert_eq!(warnings.count(Warning::EncodingMismatch), 1);
    }

    #[test]
    fn undeclared_and_damaged_text_is_read_with_a_warning() {
        let (text, warnings) = decoded("<t>Ünïcödé ünd mehr \u{e9}".as_bytes().split_last().unwrap().1, None);
        assert!(text.ends_with('\u{fffd}'));
        assert_eq!(warnings.count(Warning::BytesReplaced), 1);
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode("<t>Новости подкаста о музыке и кино</t>");
        let (text, warnings) = decoded(&bytes, Some("utf-8"));
        assert!(text.contains("Новости"), "{text}");
        assert_eq!(warnings.count(Warning::EncodingGuessed), 1);
    }
}
