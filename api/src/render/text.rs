//! Text from anyone, made inert: it may be read, it may not act.

use std::borrow::Cow;

/// What stands for a character that would act.
pub(super) const REPLACEMENT: char = '\u{fffd}';

/// `text` with every character that acts instead of being read (controls, direction overrides,
/// noncharacters) made visible as U+FFFD. Tab, line feed and carriage return stay.
pub(super) fn inert(text: &str) -> Cow<'_, str> {
    if text.contains(acts) { Cow::Owned(text.replace(acts, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Whether `c` acts: C0 and C1 controls, the embeddings, overrides and isolates of the
/// bidirectional algorithm, line and paragraph separators, tags and noncharacters.
fn acts(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{e0000}'..='\u{e007f}'
        | '\u{fdd0}'..='\u{fdef}'
        | '\u{fffe}'
        | '\u{ffff}' => true,
        _ => c.is_control(),
    }
}

/// Whether `c` has no shape of its own and is left out where glyphs are set: joiners, direction
/// marks, variation selectors, the byte order mark and the soft hyphen.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_made_visible_and_the_rest_is_left_alone() {
        assert!(matches!(inert("Łódź, Ærø\n\tשלום"), Cow::Borrowed(_)));
        assert_eq!(inert("a\0b\u{1b}[31m\u{202e}gpj.exe\u{2066}"), "a\u{fffd}b\u{fffd}[31m\u{fffd}gpj.exe\u{fffd}");
    }
}
