//! Which element means which field, for RSS, RDF, Atom, iTunes and the podcast namespace.
//! Of a field that is given several times, the first readable value stays.

use super::draft::{Draft, Enclosure};
use super::model::Feed;
use super::namespace::Space;
use super::values::{Context, duration, flag, identifier, length, line, number};
use super::xml::Element;

/// Seconds of a minute: RSS gives `ttl` in minutes.
const MINUTE: u32 = 60;

/// Takes a field of the feed; `parent` is the element between the feed and this one, if there is one.
pub(super) fn feed_field(feed: &mut Feed, parent: Option<&str>, element: &Element, context: &mut Context) {
    let text = element.text.as_str();
    let reference = element.attribute("href").unwrap_or(text);
    let warnings = &mut context.warnings;
    match (parent, element.space, element.local()) {
        (None, Space::Core, "title") => keep(&mut feed.title, || line(text, warnings)),
        (None, Space::Core | Space::DublinCore, "language") => keep(&mut feed.language, || line(text, warnings)),
        (None, Space::Itunes, "author")
        | (None, Space::Core, "managingeditor")
        | (None, Space::DublinCore, "creator" | "publisher")
        | (Some("author"), Space::Core, "name") => keep(&mut feed.author, || line(text, warnings)),
        (None, Space::Core, "link") if matches!(element.attribute("rel"), None | Some("alternate")) => {
            keep(&mut feed.link, || context.url(reference));
        }
        (None, Space::Itunes, "image") | (None, Space::Core, "logo" | "icon") | (Some("image"), Space::Core, "url") => {
            keep(&mut feed.image, || context.url(reference));
        }
        (None, Space::Core, "ttl") => {
            keep(&mut feed.ttl_seconds, || number(text).map(|minutes| minutes.saturating_mul(MINUTE)));
        }
        (None, Space::Itunes, "new-feed-url") => keep(&mut feed.new_feed_url, || context.url(text)),
        (None, Space::Itunes, "complete") => feed.complete |= flag(text),
        (None, Space::Podcast, "guid") => keep(&mut feed.podcast_guid, || identifier(text, warnings)),
        (None, Space::Podcast, "locked") => keep(&mut feed.locked, || Some(flag(text))),
        (None, Space::Podcast, "updatefrequency") => feed.complete |= element.attribute("complete").is_some_and(flag),
        _ => {}
    }
}

/// Takes a field of an item.
pub(super) fn item_field(draft: &mut Draft, element: &Element, context: &mut Context) {
    let text = element.text.as_str();
    let warnings = &mut context.warnings;
    match (element.space, element.local()) {
        (Space::Core, "title") => keep(&mut draft.title, || line(text, warnings)),
        (Space::Itunes, "title") => keep(&mut draft.itunes_title, || line(text, warnings)),
        (Space::Core, "guid" | "id") => keep(&mut draft.guid, || identifier(text, warnings)),
        (Space::Core | Space::Atom, "link") => link(draft, element, context),
        (Space::Core, "enclosure") => enclosure(draft, element, "url", context),
        (Space::Core, "pubdate" | "published" | "issued" | "date") | (Space::DublinCore, "date") => {
            draft.set_published(text, warnings);
        }
        (Space::Core | Space::Atom, "updated" | "modified") => draft.set_updated(text, warnings),
        (Space::Itunes, "duration") => keep(&mut draft.duration_seconds, || duration(text, warnings)),
        (Space::Itunes, "image") => {
            keep(&mut draft.image, || context.url(element.attribute("href").unwrap_or(text)));
        }
        (Space::Itunes, "season") => keep(&mut draft.season, || number(text)),
        (Space::Itunes, "episode") => keep(&mut draft.number, || number(text)),
        _ => {}
    }
}

/// RSS writes a link as text; Atom as attributes, where a relation tells what it is.
fn link(draft: &mut Draft, element: &Element, context: &mut Context) {
    match element.attribute("rel") {
        Some("enclosure") => enclosure(draft, element, "href", context),
        None | Some("alternate") => {
            keep(&mut draft.link, || context.url(element.attribute("href").unwrap_or(&element.text)));
        }
        Some(_) => {}
    }
}

fn enclosure(draft: &mut Draft, element: &Element, address: &str, context: &mut Context) {
    let Some(url) = context.url(element.attribute(address).unwrap_or_default()) else { return };
    let warnings = &mut context.warnings;
    draft.offer(Enclosure {
        url,
        length: element.attribute("length").and_then(|raw| length(raw, warnings)),
        media_type: element.attribute("type").and_then(|raw| line(raw, warnings)),
    });
}

fn keep<T>(slot: &mut Option<T>, read: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = read();
    }
}
