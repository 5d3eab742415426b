//! Which vocabulary a prefix means. Declarations hold for the whole document: publishers do not
//! re-bind prefixes, but they forget to declare them.

/// A vocabulary that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Space {
    /// The feed's own: RSS, RDF, Atom without prefix.
    #[default]
    Core,
    /// Atom inside another format, or with a prefix.
    Atom,
    /// `itunes:*`.
    Itunes,
    /// `podcast:*`.
    Podcast,
    /// Dublin Core.
    DublinCore,
    /// Anything else.
    Other,
}

/// The usual prefixes, valid also when nobody declares them.
const USUAL: [(&str, Space); 6] = [
    ("itunes", Space::Itunes),
    ("podcast", Space::Podcast),
    ("atom", Space::Atom),
    ("dc", Space::DublinCore),
    ("rss", Space::Core),
    ("rdf", Space::Core),
];

/// How the addresses of the vocabularies begin, in lower case, without scheme.
const ADDRESSES: [(&str, Space); 9] = [
    ("www.itunes.com/dtds/podcast", Space::Itunes),
    ("podcastindex.org/namespace", Space::Podcast),
    ("github.com/podcastindex-org/podcast-namespace", Space::Podcast),
    ("www.w3.org/2005/atom", Space::Atom),
    ("purl.org/atom/ns", Space::Atom),
    ("purl.org/dc/elements/", Space::DublinCore),
    ("purl.org/rss/1.0", Space::Core),
    ("www.w3.org/1999/02/22-rdf-syntax-ns", Space::Core),
    ("backend.userland.com/rss", Space::Core),
];

/// Declarations kept besides the usual prefixes; later ones are ignored.
const MAX_DECLARED: usize = 32;

/// The prefixes of one document.
#[derive(Debug, Default)]
pub(super) struct Namespaces(Vec<(String, Space)>);

impl Namespaces {
    /// Notes `xmlns:prefix="address"` if it gives one of our vocabularies an unusual prefix.
    pub(super) fn declare(&mut self, prefix: &str, address: &str) {
        let address = address.trim().to_ascii_lowercase();
        let address = address.split_once("://").map_or(address.as_str(), |(_, rest)| rest);
        let Some((_, space)) = ADDRESSES.iter().find(|(start, _)| address.starts_with(start)) else { return };
        let prefix = prefix.to_ascii_lowercase();
        if self.0.len() < MAX_DECLARED && self.lookup(&prefix) != *space {
            self.0.push((prefix, *space));
        }
    }

    /// The vocabulary of a qualified name in lower case.
    pub(super) fn of(&self, name: &str) -> Space {
        name.split_once(':').map_or(Space::Core, |(prefix, _)| self.lookup(prefix))
    }

    fn lookup(&self, prefix: &str) -> Space {
        let declared = self.0.iter().rev().find(|(known, _)| known == prefix).map(|(_, space)| *space);
        let usual = || USUAL.iter().find(|(known, _)| *known == prefix).map(|(_, space)| *space);
        declared.or_else(usual).unwrap_or(Space::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_by_declaration_then_by_custom() {
        let mut spaces = Namespaces::default();
        assert_eq!(spaces.of("title"), Space::Core);
        assert_eq!(spaces.of("itunes:image"), Space::Itunes);
        assert_eq!(spaces.of("podcast:guid"), Space::Podcast);
        assert_eq!(spaces.of("it:image"), Space::Other);
        spaces.declare("it", "http://www.itunes.com/DTDs/Podcast-1.0.dtd");
        spaces.declare("p20", "https://podcastindex.org/namespace/1.0");
        spaces.declare("x", "http://example.org/");
        assert_eq!(spaces.of("it:image"), Space::Itunes);
        assert_eq!(spaces.of("p20:guid"), Space::Podcast);
        assert_eq!(spaces.of("x:guid"), Space::Other);
    }

    #[test]
    fn declarations_are_bounded() {
        let mut spaces = Namespaces::default();
        for number in 0..1000 {
            spaces.declare(&format!("p{number}"), "http://www.w3.org/2005/Atom");
        }
        assert_eq!(spaces.0.len(), MAX_DECLARED);
    }
}
