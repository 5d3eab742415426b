//! Quoted fields of an access log, and the escapes that servers write into them.

use std::borrow::Cow;

/// A quoted field that never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a closed field in double quotes")]
pub struct Unquoted;

/// Reads one `"…"` field at the start of `text`: its text with escapes undone, and what follows it.
///
/// Apache writes `\"`, `\\`, `\n`, `\t` … and `\xhh`; nginx writes `\xHH` only. Escaped
/// bytes that are not UTF-8 become U+FFFD, which no honest client sends, so a later rule
/// can see them. An escape that neither server writes stays as it is.
pub fn take(text: &str) -> Result<(Cow<'_, str>, &str), Unquoted> {
    let inner = text.strip_prefix('"').ok_or(Unquoted)?;
    let bytes = inner.as_bytes();
    let mut at = 0;
    let mut escaped = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let (field, rest) = (&inner[..at], &inner[at + 1..]);
                let field = if escaped { unescape(field) } else { Cow::Borrowed(field) };
                return Ok((field, rest));
            }
            b'\\' => {
                escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
    Err(Unquoted)
}

fn unescape(field: &str) -> Cow<'_, str> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, read) = if first == b'\\' { escape(tail) } else { (first, 0) };
        bytes.push(byte);
        rest = &tail[read..];
    }
    Cow::Owned(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// The byte that an escape stands for, and how many bytes after the backslash it took.
fn escape(after: &[u8]) -> (u8, usize) {
    match after {
        [b'x' | b'X', high, low, ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => (high << 4 | low, 3),
            _ => (b'\\', 0),
        },
        [b'n', ..] => (b'\n', 1),
        [b't', ..] => (b'\t', 1),
        [b'r', ..] => (b'\r', 1),
        [b'b', ..] => (8, 1),
        [b'f', ..] => (12, 1),
        [b'v', ..] => (11, 1),
        [quoted @ (b'"' | b'\\'), ..] => (*quoted, 1),
        _ => (b'\\', 0),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_of_both_servers_are_undone() {
        for (text, field, rest) in [
            (r#""plain" tail"#, "plain", " tail"),
            (r#""say \"hi\"""#, "say \"hi\"", ""),
            (r#""back\\slash\\" x"#, r"back\slash\", " x"),
            (r#""tab\tline\x0A""#, "tab\tline\n", ""),
            (r#""\xe6\x92\xad""#, "播", ""),
            (r#""\xff""#, "\u{fffd}", ""),
            (r#""\q \x4 \xzz""#, r"\q \x4 \xzz", ""),
            (r#""""#, "", ""),
        ] {
            assert_eq!(take(text), Ok((Cow::Borrowed(field), rest)), "{text}");
        }
    }

    #[test]
    fn a_field_must_open_and_close() {
        for text in ["", "open", "\"open", r#""open\""#, "\"open\\"] {
            assert_eq!(take(text), Err(Unquoted), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_nginx_escapes_comes_back(field in any::<String>()) {
            let escaped = field.bytes().map(|byte| match byte {
                b'"' | b'\\' | 0..=31 | 127.. => format!("\\x{byte:02X}"),
                _ => char::from(byte).to_string(),
            });
            let line = format!("\"{}\" rest", escaped.collect::<String>());
            let (read, rest) = take(&line).unwrap();
            prop_assert_eq!(read, field);
            prop_assert_eq!(rest, " rest");
        }
    }
}
