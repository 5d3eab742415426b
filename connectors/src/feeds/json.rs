//! JSON Feed 1.0 and 1.1, with podcasts as attachments.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::draft::{Collector, Draft, Enclosure, MAX_EPISODES};
use super::model::{Feed, Format};
use super::values::{Context, duration, identifier, length, line};
use super::{FeedError, refused};

/// Attachments and authors read of one item; more are left out.
const MAX_PARTS: usize = 32;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    version: Text,
    title: Text,
    language: Text,
    home_page_url: Text,
    icon: Text,
    author: Option<Author>,
    authors: Capped<Author, MAX_PARTS>,
    expired: Text,
    items: Option<Capped<Item, MAX_EPISODES>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Author {
    name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    id: Text,
    title: Text,
    url: Text,
    image: Text,
    date_published: Text,
    date_modified: Text,
    attachments: Capped<Attachment, MAX_PARTS>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Attachment {
    url: Text,
    mime_type: Text,
    size_in_bytes: Text,
    duration_in_seconds: Text,
}

/// Reads a JSON feed.
pub(super) fn parse(text: &str, mut context: Context) -> Result<Feed, FeedError> {
    let document: Document = serde_json::from_str(text).map_err(FeedError::Json)?;
    let Some(items) = document.items.filter(|_| document.version.0.contains("jsonfeed.org/version/")) else {
        return Err(FeedError::NotAFeed { found: refused::kind(text) });
    };
    let mut collector = Collector::new(Format::Json);
    let feed = &mut collector.feed;
    let author = document.authors.kept.into_iter().chain(document.author).find(|author| !author.name.0.is_empty());
    feed.title = line(&document.title.0, &mut context.warnings);
    feed.author = author.and_then(|author| line(&author.name.0, &mut context.warnings));
    feed.language = line(&document.language.0, &mut context.warnings);
    feed.link = context.url(&document.home_page_url.0);
    feed.image = context.url(&document.icon.0);
    feed.complete = document.expired.0 == "true";
    for item in items.kept {
        let draft = draft(item, &mut context);
        collector.push(draft, &mut context.warnings);
    }
    collector.skip(items.left_out, &mut context.warnings);
    Ok(collector.finish(context.warnings))
}

fn draft(item: Item, context: &mut Context) -> Draft {
    let mut draft = Draft {
        guid: identifier(&item.id.0, &mut context.warnings),
        title: line(&item.title.0, &mut context.warnings),
        link: context.url(&item.url.0),
        image: context.url(&item.image.0),
        ..Draft::default()
    };
    draft.set_published(&item.date_published.0, &mut context.warnings);
    draft.set_updated(&item.date_modified.0, &mut context.warnings);
    for attachment in item.attachments.kept {
        let Some(url) = context.url(&attachment.url.0) else { continue };
        let warnings = &mut context.warnings;
        let size = attachment.size_in_bytes.0.as_str();
        draft.duration_seconds =
            draft.duration_seconds.or_else(|| duration(&attachment.duration_in_seconds.0, warnings));
        draft.offer(Enclosure {
            url,
            length: if size.is_empty() { None } else { length(size, warnings) },
            media_type: line(&attachment.mime_type.0, warnings),
        });
    }
    draft
}

/// A text, or a number or truth value as text; anything else is empty.
#[derive(Debug, Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E>(self, value: &str) -> Result<Text, E> {
        Ok(Text(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
}

/// The first `LIMIT` elements of an array; the rest is only counted, so that an array of
/// millions of empty elements takes no memory.
#[derive(Debug)]
struct Capped<T, const LIMIT: usize> {
    kept: Vec<T>,
    left_out: usize,
}

impl<T, const LIMIT: usize> Default for Capped<T, LIMIT> {
    fn default() -> Self {
        Self { kept: Vec::new(), left_out: 0 }
    }
}

impl<'de, T: Deserialize<'de>, const LIMIT: usize> Deserialize<'de> for Capped<T, LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CappedVisitor(PhantomData))
    }
}

struct CappedVisitor<T, const LIMIT: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const LIMIT: usize> Visitor<'de> for CappedVisitor<T, LIMIT> {
    type Value = Capped<T, LIMIT>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Capped::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut capped = Capped::default();
        while capped.kept.len() < LIMIT {
            let Some(element) = seq.next_element()? else { return Ok(capped) };
            capped.kept.push(element);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            capped.left_out += 1;
        }
        Ok(capped)
    }
}
