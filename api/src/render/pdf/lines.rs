//! Words broken into lines.

use super::fonts::{Fonts, settable};
use crate::render::shape::Style;

/// What stands where words were left out.
const MORE: char = '…';

/// A column of words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    pub style: Style,
    /// In points; every line has at least one character, however narrow this is.
    pub width: f32,
    /// The most lines; what does not fit is left out and an ellipsis says so.
    pub most: usize,
}

/// `text` as settable lines no wider than the measure. Lines break at spaces; a word that is too
/// wide breaks anywhere; leading spaces of a line of the text are kept.
pub(super) fn wrap(fonts: &Fonts, text: &str, measure: Measure) -> Vec<String> {
    let clean = settable(text);
    let mut lines = Vec::new();
    for line in clean.split('\n') {
        wrap_line(fonts, line, measure, &mut lines);
        if lines.len() > measure.most {
            lines.truncate(measure.most);
            if let Some(last) = lines.last_mut() {
                cut(fonts, last, measure);
            }
            break;
        }
    }
    lines
}

/// `text` on one settable line.
pub(super) fn clip(fonts: &Fonts, text: &str, style: Style, width: f32) -> String {
    let measure = Measure { style, width, most: 1 };
    wrap(fonts, &text.replace('\n', " "), measure).pop().unwrap_or_default()
}

/// Appends `line` as lines of the measure, at most one more than it allows.
fn wrap_line(fonts: &Fonts, line: &str, measure: Measure, lines: &mut Vec<String>) {
    let mut start = 0;
    let mut width = 0.0;
    // The end of the last space seen since `start`, and the width up to there.
    let mut gap: Option<(usize, f32)> = None;
    let indent = line.len() - line.trim_start_matches(' ').len();
    for (at, c) in line.char_indices() {
        let advance = fonts.advance(c, measure.style);
        // Twice where the break at a space leaves too little room for a wide character.
        while width + advance > measure.width && c != ' ' && at > start {
            let (next, before) = gap.unwrap_or((at, width));
            lines.push(line[start..next].trim_end_matches(' ').to_owned());
            if lines.len() > measure.most {
                return;
            }
            start = next;
            width -= before;
            gap = None;
        }
        width += advance;
        if c == ' ' && at >= indent {
            gap = Some((at + 1, width));
        }
    }
    lines.push(line[start..].trim_end_matches(' ').to_owned());
}

/// Makes room for an ellipsis at the end of `line` and sets it.
fn cut(fonts: &Fonts, line: &mut String, measure: Measure) {
    let room = measure.width - fonts.advance(MORE, measure.style);
    while !line.is_empty() && fonts.width(line, measure.style) > room {
        line.pop();
    }
    line.truncate(line.trim_end_matches(' ').len());
    line.push(MORE);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::shape::{Face, Ink, style};

    const MEASURE: Measure = Measure { style: style(Face::Regular, 10.0, Ink::Text), width: 60.0, most: 4 };

    #[test]
    fn lines_break_at_spaces_and_long_words_anywhere() {
        let fonts = Fonts::embedded().unwrap();
        assert_eq!(wrap(fonts, "one two three four", MEASURE), ["one two", "three four"]);
        assert_eq!(wrap(fonts, "a\n\n  b", MEASURE), ["a", "", "  b"]);
        let long = wrap(fonts, &"x".repeat(10_000), MEASURE);
        assert_eq!(long.len(), 4);
        assert!(long[3].ends_with('…'));
        assert_eq!(clip(fonts, "one two three four", MEASURE.style, 60.0), "one two…");
    }

    proptest! {
        #[test]
        fn no_line_is_too_wide_and_no_word_is_lost(text in "\\PC{0,200}", width in 20.0_f32..300.0) {
            let fonts = Fonts::embedded().unwrap();
            let measure = Measure { width, most: usize::MAX, ..MEASURE };
            let lines = wrap(fonts, &text, measure);
            for line in &lines {
                prop_assert!(line.chars().count() <= 1 || fonts.width(line, measure.style) <= width + 0.01);
            }
            let words = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(words(&lines.concat()), words(&settable(&text)));
        }
    }
}
