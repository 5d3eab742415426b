//! A tolerant walk over RSS, RDF and Atom: events in, fields and items out.
//!
//! One path reads well-formed and broken feeds alike; every repair is a warning. Nothing is ever
//! expanded or fetched: a reference that XML itself does not define stays as it is written. Memory
//! is bounded by the document, one open item and [`MAX_DEPTH`] open elements.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::draft::{Collector, Draft};
use super::model::{Feed, Format};
use super::namespace::{Namespaces, Space};
use super::values::Context;
use super::warning::Warning;
use super::xml_fields::{feed_field, item_field};
use super::{FeedError, refused};

/// Open elements; a deeper document is refused. Real feeds stay under 10, with embedded XHTML under 40. The cost of
/// a stray end tag grows with it.
const MAX_DEPTH: usize = 100;

/// Elements of a document; more refuse it. The most that we read, 20,000 items of 40 elements each, stay under it.
const MAX_ELEMENTS: usize = 1_000_000;

/// Places that are not well-formed; more refuse the document, since each costs a search.
const MAX_REPAIRS: u32 = 100_000;

/// Attributes of one element, namespace declarations included; more refuse the document.
const MAX_ATTRIBUTES: usize = 256;

/// Bytes of text kept per open element; the rest is dropped (descriptions are not kept anyway).
/// Larger than every field's own limit, so that a field that is cut here is also found too long there.
/// An attribute that is longer is left out.
const MAX_ELEMENT_TEXT: usize = 8 * 1024;

/// Bytes of an entity's name; what is longer is no reference.
const MAX_REFERENCE: usize = 32;

/// Times that reading goes on behind a place that is no XML at all; then what was read so far is the feed.
const MAX_RESTARTS: usize = 16;

/// Attributes that carry something we read.
const ATTRIBUTES: [&str; 7] = ["url", "href", "length", "type", "rel", "complete", "about"];

/// Fields of an item that hold nothing but text, and elements that never stand inside them: when one
/// of the latter begins, the former was not closed. Otherwise a mistyped end tag would swallow the GUID.
const SIMPLE_FIELDS: [&str; 4] = ["title", "guid", "link", "pubdate"];
const NEVER_INSIDE: [&str; 5] = ["guid", "link", "pubdate", "enclosure", "description"];

/// Elements that HTML leaves open; feeds contain HTML that is not escaped.
const NEVER_CLOSED: [&str; 3] = ["br", "hr", "img"];

/// An element with its text and that of all elements in it.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// Qualified name in lower case.
    name: String,
    pub(super) space: Space,
    attributes: Vec<(&'static str, String)>,
    pub(super) text: String,
}

impl Element {
    /// Name without prefix, in lower case.
    pub(super) fn local(&self) -> &str {
        self.name.rsplit_once(':').map_or(self.name.as_str(), |(_, local)| local)
    }

    /// An attribute's value, entities resolved.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads an XML feed.
pub(super) fn parse(text: &str, context: Context) -> Result<Feed, FeedError> {
    let mut walk = Walk {
        context,
        namespaces: Namespaces::default(),
        open: Vec::new(),
        seen: 0,
        item: None,
        feed: None,
        strayed: false,
        channel: false,
    };
    let mut rest = text;
    for _ in 0..=MAX_RESTARTS {
        let Some(broken_at) = walk.read(rest)? else { break };
        walk.context.warnings.add(Warning::NotWellFormed);
        let behind = rest.get(broken_at + 1..).unwrap_or_default();
        rest = behind.find('<').map_or("", |next| &behind[next..]);
    }
    walk.finish(text)
}

struct Walk {
    context: Context,
    namespaces: Namespaces,
    open: Vec<Element>,
    /// Elements so far.
    seen: usize,
    /// The open item and its place in `open`.
    item: Option<(usize, Draft)>,
    feed: Option<Collector>,
    /// Something else stands before the feed.
    strayed: bool,
    /// RSS has a channel.
    channel: bool,
}

impl Walk {
    /// Reads to the end (`None`) or to a place that is no XML.
    fn read(&mut self, text: &str) -> Result<Option<usize>, FeedError> {
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        config.allow_dangling_amp = true;
        config.allow_unmatched_ends = true;
        config.check_end_names = false;
        loop {
            if self.context.warnings.count(Warning::NotWellFormed) > MAX_REPAIRS {
                return Err(FeedError::Excessive { what: "places that are not XML", limit: MAX_REPAIRS as usize });
            }
            match reader.read_event() {
                Ok(Event::Start(start)) => self.start(&start)?,
                Ok(Event::Empty(start)) => {
                    self.start(&start)?;
                    self.end(start.name().into_inner());
                }
                Ok(Event::End(end)) => self.end(end.name().into_inner()),
                Ok(Event::Text(text)) => self.text(&text),
                Ok(Event::CData(text)) => self.text(&text),
                Ok(Event::GeneralRef(reference)) => self.reference(&reference),
                Ok(Event::Eof) => return Ok(None),
                Ok(_) => {}
                Err(quick_xml::Error::IllFormed(_)) => self.context.warnings.add(Warning::NotWellFormed),
                Err(_) => return Ok(Some(usize::try_from(reader.error_position()).unwrap_or(usize::MAX - 1))),
            }
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), FeedError> {
        self.seen += 1;
        if self.seen > MAX_ELEMENTS {
            return Err(FeedError::Excessive { what: "elements", limit: MAX_ELEMENTS });
        }
        let name = start.name().into_inner().to_ascii_lowercase();
        let mut element = Element { name, ..Element::default() };
        self.attributes(start, &mut element)?;
        if self.feed.is_none() {
            let Some(format) = root_format(element.local()) else {
                self.strayed = true;
                return Ok(());
            };
            self.feed = Some(Collector::new(format));
        }
        self.channel |= element.local() == "channel";
        element.space = self.space_of(&element.name);
        if self.is_item(&element) {
            self.begin_item(&element);
        } else {
            self.end_simple_field(&element);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(FeedError::Excessive { what: "elements inside each other", limit: MAX_DEPTH });
        }
        let left_open = NEVER_CLOSED.contains(&element.name.as_str());
        if !left_open {
            self.open.push(element);
        }
        Ok(())
    }

    fn attributes(&mut self, start: &BytesStart<'_>, element: &mut Element) -> Result<(), FeedError> {
        for (count, attribute) in start.attributes().with_checks(false).enumerate() {
            if count >= MAX_ATTRIBUTES {
                return Err(FeedError::Excessive { what: "attributes on one element", limit: MAX_ATTRIBUTES });
            }
            let Ok(attribute) = attribute else {
                self.context.warnings.add(Warning::NotWellFormed);
                continue;
            };
            let key = attribute.key.into_inner();
            if let Some(prefix) = key.strip_prefix("xmlns:") {
                self.namespaces.declare(prefix, &attribute.value);
            } else if let Some(key) = ATTRIBUTES.iter().find(|name| local_is(key, name)) {
                if attribute.value.len() > MAX_ELEMENT_TEXT {
                    self.context.warnings.add(Warning::TextTooLong);
                    continue;
                }
                let value = self.unescape(&attribute.value);
                element.attributes.push((key, value));
            }
        }
        Ok(())
    }

    fn is_atom(&self) -> bool {
        self.feed.as_ref().is_some_and(|collector| collector.feed.format == Format::Atom)
    }

    /// In an Atom feed, Atom is the feed's own vocabulary, with and without prefix.
    fn space_of(&self, name: &str) -> Space {
        match self.namespaces.of(name) {
            Space::Atom if self.is_atom() => Space::Core,
            space => space,
        }
    }

    fn is_item(&self, element: &Element) -> bool {
        element.space == Space::Core && (element.local() == "item" || element.local() == "entry" && self.is_atom())
    }

    fn begin_item(&mut self, element: &Element) {
        if let Some((place, _)) = self.item {
            self.context.warnings.add(Warning::NotWellFormed);
            self.close_down_to(place);
        }
        let mut draft = Draft::default();
        draft.set_about(element.attribute("about").unwrap_or_default(), &mut self.context.warnings);
        self.item = Some((self.open.len(), draft));
    }

    fn end_simple_field(&mut self, element: &Element) {
        let Some(place) = self.item.as_ref().map(|(place, _)| place + 1) else { return };
        let inside = self.open.get(place).is_some_and(|field| SIMPLE_FIELDS.contains(&field.local()));
        if inside && element.space == Space::Core && NEVER_INSIDE.contains(&element.local()) {
            self.context.warnings.add(Warning::NotWellFormed);
            self.close_down_to(place);
        }
    }

    fn end(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        let Some(place) = self.open.iter().rposition(|element| element.name == name) else {
            if self.feed.is_some() && !NEVER_CLOSED.contains(&name.as_str()) {
                self.context.warnings.add(Warning::NotWellFormed);
            }
            return;
        };
        if place + 1 < self.open.len() {
            self.context.warnings.add(Warning::NotWellFormed);
        }
        self.close_down_to(place);
    }

    fn close_down_to(&mut self, place: usize) {
        while self.open.len() > place {
            let Some(element) = self.open.pop() else { return };
            self.close(&element);
        }
    }

    fn close(&mut self, element: &Element) {
        let Some(collector) = &mut self.feed else { return };
        if let Some((_, draft)) = self.item.take_if(|(place, _)| *place == self.open.len()) {
            collector.push(draft, &mut self.context.warnings);
            return;
        }
        let Some(parent) = self.open.last() else { return };
        match &mut self.item {
            Some((place, draft)) if *place + 1 == self.open.len() => item_field(draft, element, &mut self.context),
            None if is_container(parent) => feed_field(&mut collector.feed, None, element, &mut self.context),
            None if self.open.len() > 1 && is_container(&self.open[self.open.len() - 2]) => {
                feed_field(&mut collector.feed, Some(parent.local()), element, &mut self.context);
            }
            _ => {}
        }
        let is_item = self.item.as_ref().is_some_and(|(place, _)| *place + 1 == self.open.len());
        if let Some(parent) = self.open.last_mut()
            && !is_item
            && !is_container(parent)
        {
            append(&mut parent.text, &element.text);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            append(&mut element.text, text);
        } else if self.feed.is_none() {
            self.strayed |= text.contains(|letter: char| !letter.is_whitespace() && letter != '\u{feff}');
        }
    }

    fn reference(&mut self, reference: &BytesRef<'_>) {
        if self.open.is_empty() {
            return;
        }
        let mut resolved = String::new();
        self.resolve(reference, &mut resolved);
        self.text(&resolved);
    }

    /// Appends what `&name;` stands for, or the reference itself if XML does not define it.
    fn resolve(&mut self, name: &str, into: &mut String) {
        if let Some(text) = resolve_xml_entity(name) {
            into.push_str(text);
        } else if let Ok(Some(letter)) = BytesRef::new(name).resolve_char_ref() {
            into.push(letter);
        } else {
            self.context.warnings.add(Warning::UnknownEntity);
            into.extend(["&", name, ";"]);
        }
    }

    fn unescape(&mut self, raw: &str) -> String {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, behind)) = rest.split_once('&') {
            text.push_str(before);
            rest = behind;
            if let Some(name) = reference_name(behind) {
                self.resolve(name, &mut text);
                rest = &behind[name.len() + 1..];
            } else {
                text.push('&');
            }
        }
        text.push_str(rest);
        text
    }

    /// The feed. What has no items is one only if nothing else can be meant: a feed's elements may stand in the text
    /// of a web page.
    fn finish(mut self, text: &str) -> Result<Feed, FeedError> {
        if !self.open.is_empty() {
            self.context.warnings.add(Warning::NotWellFormed);
            self.close_down_to(0);
        }
        let refuse = |found| Err(FeedError::NotAFeed { found });
        let Some(collector) = self.feed.take() else { return refuse(refused::kind(text)) };
        if collector.feed.items_seen == 0 {
            if self.strayed {
                return refuse(refused::kind(text));
            }
            if !self.channel && collector.feed.format != Format::Atom {
                return refuse("RSS without a channel");
            }
        }
        Ok(collector.finish(self.context.warnings))
    }
}

fn root_format(local: &str) -> Option<Format> {
    match local {
        "rss" | "channel" => Some(Format::Rss),
        "rdf" => Some(Format::Rdf),
        "feed" => Some(Format::Atom),
        _ => None,
    }
}

/// Elements whose children are the feed's fields; their own text means nothing.
fn is_container(element: &Element) -> bool {
    matches!(element.local(), "rss" | "rdf" | "channel" | "feed")
}

fn local_is(key: &str, name: &str) -> bool {
    key.rsplit_once(':').map_or(key, |(_, local)| local).eq_ignore_ascii_case(name)
}

/// The name in `name;…`.
fn reference_name(text: &str) -> Option<&str> {
    let end = text.bytes().take(MAX_REFERENCE).position(|byte| byte == b';')?;
    let name = &text[..end];
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#');
    (letters && !name.is_empty()).then_some(name)
}

fn append(text: &mut String, more: &str) {
    let room = MAX_ELEMENT_TEXT.saturating_sub(text.len()).min(more.len());
    text.push_str(&more[..more.floor_char_boundary(room)]);
}
