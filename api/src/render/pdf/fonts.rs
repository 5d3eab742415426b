//! Typefaces: which glyph draws a character, how wide it is, and how little of a font is embedded.
//!
//! IBM Plex holds Latin, Greek and Cyrillic, Noto Sans Hebrew what its name says; both are under
//! the SIL Open Font License, whose text lies beside them. Other characters become U+FFFD.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use allsorts::binary::read::ReadScope;
use allsorts::font_data::FontData;
use allsorts::subset::{CmapTarget, SubsetProfile, subset};
use printpdf::ParsedFont;
use unicode_bidi::{BidiInfo, Level};
use unicode_normalization::UnicodeNormalization;

use super::PdfError;
use crate::render::shape::{Face, Style};
use crate::render::text::{REPLACEMENT, inert, is_invisible};

/// A font file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Font {
    Regular,
    Bold,
    Mono,
    Hebrew,
}

const FILES: [(Font, &str, &[u8]); 4] = [
    (Font::Regular, "IBMPlexSans", include_bytes!("../../../assets/fonts/IBMPlexSans-Regular.ttf")),
    (Font::Bold, "IBMPlexSans-SemiBold", include_bytes!("../../../assets/fonts/IBMPlexSans-SemiBold.ttf")),
    (Font::Mono, "IBMPlexMono", include_bytes!("../../../assets/fonts/IBMPlexMono-Regular.ttf")),
    (Font::Hebrew, "NotoSansHebrew", include_bytes!("../../../assets/fonts/NotoSansHebrew-Regular.ttf")),
];

impl Font {
    /// Its PostScript name.
    pub(super) fn name(self) -> &'static str {
        FILES[self as usize].1
    }

    /// The font to try when this one lacks a glyph.
    fn fallback(self) -> Option<Self> {
        match self {
            Self::Bold | Self::Mono => Some(Self::Regular),
            Self::Regular => Some(Self::Hebrew),
            Self::Hebrew => None,
        }
    }
}

impl From<Face> for Font {
    fn from(face: Face) -> Self {
        match face {
            Face::Regular => Self::Regular,
            Face::Bold => Self::Bold,
            Face::Mono => Self::Mono,
        }
    }
}

/// The embedded fonts, parsed.
#[derive(Debug)]
pub(super) struct Fonts {
    parsed: [ParsedFont; FILES.len()],
}

impl Fonts {
    /// The fonts of the program, parsed on first use.
    pub(super) fn embedded() -> Result<&'static Self, PdfError> {
        static FONTS: LazyLock<Result<Fonts, &'static str>> = LazyLock::new(Fonts::parse);
        FONTS.as_ref().map_err(|name| PdfError::Typeface(name))
    }

    fn parse() -> Result<Self, &'static str> {
        let read = |(_, name, bytes): (Font, &'static str, &[u8])| {
            ParsedFont::from_bytes(bytes, 0, &mut Vec::new()).ok_or(name)
        };
        let [regular, bold, mono, hebrew] = FILES.map(read);
        Ok(Self { parsed: [regular?, bold?, mono?, hebrew?] })
    }

    /// The width of settable `text` in points.
    pub(super) fn width(&self, text: &str, style: Style) -> f32 {
        text.chars().map(|c| self.advance(c, style)).sum()
    }

    /// The width of one settable character in points.
    pub(super) fn advance(&self, c: char, style: Style) -> f32 {
        let (font, c) = self.draws(style.face, c);
        self.em(font, c) * style.size
    }

    fn em(&self, font: Font, c: char) -> f32 {
        let parsed = &self.parsed[font as usize];
        let units = parsed.lookup_glyph_index(u32::from(c)).and_then(|glyph| parsed.get_glyph_width(glyph));
        f32::from(units.unwrap_or(0)) / f32::from(parsed.units_per_em.max(1))
    }

    /// The font that draws `c` in `face`, and what it draws: `c` or U+FFFD.
    fn draws(&self, face: Face, c: char) -> (Font, char) {
        let chain = std::iter::successors(Some(Font::from(face)), |font| font.fallback());
        let has =
            |font: &Font| self.parsed[*font as usize].lookup_glyph_index(u32::from(c)).is_some_and(|glyph| glyph != 0);
        chain.into_iter().find(has).map_or((Font::Regular, REPLACEMENT), |font| (font, c))
    }

    /// Settable `line` from left to right, parted where the font changes.
    pub(super) fn runs(&self, line: &str, face: Face) -> Vec<(Font, String)> {
        let mut runs: Vec<(Font, String)> = Vec::new();
        for c in visual(line).chars() {
            let (font, c) = self.draws(face, c);
            match runs.last_mut() {
                Some((last, run)) if *last == font => run.push(c),
                _ => runs.push((font, c.to_string())),
            }
        }
        runs
    }

    /// `font` with nothing but the glyphs of `used`.
    pub(super) fn subset(&self, font: Font, used: &BTreeSet<char>) -> Result<ParsedFont, PdfError> {
        let (_, name, bytes) = FILES[font as usize];
        let whole = &self.parsed[font as usize];
        let glyphs: BTreeSet<u16> = used.iter().filter_map(|c| whole.lookup_glyph_index(u32::from(*c))).collect();
        // Glyph 0 stands for whatever is missing and has to come first.
        let glyphs: Vec<u16> = std::iter::once(0).chain(glyphs.into_iter().filter(|glyph| *glyph != 0)).collect();
        let file = ReadScope::new(bytes).read::<FontData<'_>>().map_err(|error| PdfError::Parse(name, error.into()))?;
        let tables = file.table_provider(0).map_err(|error| PdfError::Parse(name, error))?;
        let small = subset(&tables, &glyphs, &SubsetProfile::Pdf, CmapTarget::Unicode)
            .map_err(|error| PdfError::Subset(name, error))?;
        let mut small = ParsedFont::from_bytes(&small, 0, &mut Vec::new()).ok_or(PdfError::Typeface(name))?;
        // Six letters and a plus sign mark a subset [ISO 32000-1, 9.6.4].
        small.font_name = Some(format!("CSTBCK+{name}"));
        small.pdf_font_metrics.us_weight_class = whole.pdf_font_metrics.us_weight_class;
        Ok(small)
    }
}

/// `text` as it is set: inert, composed, without invisible characters, every character one
/// that some font can draw. Line feeds stay; other white space becomes spaces.
pub(super) fn settable(text: &str) -> String {
    let text = inert(text);
    let composed = text.nfc().filter(|c| !is_invisible(*c));
    composed.map(|c| if c != '\n' && c.is_whitespace() { ' ' } else { c }).collect()
}

/// `line` in the order in which it is drawn; words from right to left are turned around.
fn visual(line: &str) -> std::borrow::Cow<'_, str> {
    if line.is_ascii() {
        return line.into();
    }
    let info = BidiInfo::new(line, Some(Level::ltr()));
    match info.paragraphs.first() {
        Some(paragraph) => info.reorder_line(paragraph, paragraph.range.clone()).into_owned().into(),
        None => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::shape::{Ink, style};

    #[test]
    fn characters_find_a_font_or_the_replacement() {
        let fonts = Fonts::embedded().unwrap();
        let runs = fonts.runs("Żółw Ω ж שלום 世!", Face::Bold);
        let expected = [
            (Font::Bold, "Żółw Ω ж ".to_owned()),
            (Font::Hebrew, "םולש".to_owned()),
            (Font::Bold, " ".to_owned()),
            (Font::Regular, "\u{fffd}".to_owned()),
            (Font::Bold, "!".to_owned()),
        ];
        assert_eq!(runs, expected);
    }

    #[test]
    fn accents_are_composed_and_the_invisible_left_out() {
        assert_eq!(settable("cafe\u{301}\u{200b}\u{a0}\t\u{202e}x"), "café  \u{fffd}x");
    }

    #[test]
    fn digits_are_equally_wide() {
        let fonts = Fonts::embedded().unwrap();
        for face in [Face::Regular, Face::Bold, Face::Mono] {
            let style = style(face, 10.0, Ink::Text);
            let widths: BTreeSet<u32> = ('0'..='9').map(|digit| fonts.advance(digit, style).to_bits()).collect();
            assert_eq!(widths.len(), 1);
        }
    }

    #[test]
    fn a_subset_is_small_and_maps_what_was_used() {
        let fonts = Fonts::embedded().unwrap();
        let used: BTreeSet<char> = "Größe Ж".chars().collect();
        let small = fonts.subset(Font::Regular, &used).unwrap();
        assert!(small.original_bytes.len() < 12_000, "{}", small.original_bytes.len());
        for c in used {
            let glyph = small.lookup_glyph_index(u32::from(c)).unwrap();
            assert_ne!(glyph, 0, "{c}");
            let whole = &fonts.parsed[Font::Regular as usize];
            let before = whole.lookup_glyph_index(u32::from(c)).unwrap();
            assert_eq!(small.get_glyph_width(glyph), whole.get_glyph_width(before));
        }
    }
}
