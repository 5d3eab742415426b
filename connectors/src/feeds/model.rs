//! A feed as we understand it, whatever format it came in.

use castback_schemas::Micros;

use super::warning::Warnings;

/// The format a feed came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RSS 0.91, 0.92 and 2.0.
    Rss,
    /// RSS 0.90 and 1.0.
    Rdf,
    /// Atom.
    Atom,
    /// JSON Feed.
    Json,
}

/// What identifies an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Its GUID.
    Guid,
    /// Its enclosure's address, because it has no GUID of its own.
    Enclosure,
    /// Its link, because it has neither.
    Link,
}

/// A podcast feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The format it came in.
    pub format: Format,
    /// Title, whitespace collapsed.
    pub title: Option<String>,
    /// Author or publisher.
    pub author: Option<String>,
    /// Language as written, such as `en-US`.
    pub language: Option<String>,
    /// The website.
    pub link: Option<String>,
    /// The cover image.
    pub image: Option<String>,
    /// `podcast:guid`.
    pub podcast_guid: Option<String>,
    /// `podcast:locked`: whether the owner forbids other hosts to import it.
    pub locked: Option<bool>,
    /// No more episodes will come (`podcast:updateFrequency complete` or `itunes:complete`).
    pub complete: bool,
    /// The publisher's wish how long a copy stays fresh, in seconds.
    pub ttl_seconds: Option<u32>,
    /// `itunes:new-feed-url`, as told; it is not followed.
    pub new_feed_url: Option<String>,
    /// What was wrong with the feed.
    pub warnings: Warnings,
    /// Items in the document, also those that are no episode.
    pub items_seen: usize,
    /// The episodes in document order; no two have the same [`Episode::guid`].
    pub episodes: Vec<Episode>,
}

impl Feed {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            title: None,
            author: None,
            language: None,
            link: None,
            image: None,
            podcast_guid: None,
            locked: None,
            complete: false,
            ttl_seconds: None,
            new_feed_url: None,
            warnings: Warnings::default(),
            items_seen: 0,
            episodes: Vec::new(),
        }
    }
}

/// An episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// The identity: the GUID, else the enclosure's address, else the link.
    pub guid: String,
    /// Which of these it is.
    pub identity: Identity,
    /// Title, whitespace collapsed.
    pub title: Option<String>,
    /// The episode's page.
    pub link: Option<String>,
    /// The audio or video file, normalised as an URL.
    pub enclosure_url: Option<String>,
    /// The file's size in bytes, if the feed knows it.
    pub enclosure_length: Option<u64>,
    /// The file's media type as written.
    pub enclosure_type: Option<String>,
    /// Duration in seconds.
    pub duration_seconds: Option<u32>,
    /// When it was published, if that can be read.
    pub published_at: Option<Micros>,
    /// The episode's own image.
    pub image: Option<String>,
    /// `itunes:season`.
    pub season: Option<u32>,
    /// `itunes:episode`.
    pub number: Option<u32>,
}
