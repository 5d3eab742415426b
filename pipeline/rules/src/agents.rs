//! Who made a request, by its user agent: OPAWG's lists in OPAWG's order (bots, apps,
//! libraries, browsers), first match.
//!
//! Matching a thousand patterns costs microseconds; the user agents of a day are few. Who
//! classifies many requests keeps answers in a bounded map by user agent, one per version
//! of the lists: an [`Agent`] is cheap to clone.

use std::sync::Arc;

use crate::named::named;
use crate::patterns::{Entry, PatternError, PatternSet, read};

named! {
    /// The list that knows a user agent, in the order in which lists are asked.
    AgentKind "kind of agent" {
        /// A machine that fetches for itself.
        Bot "bot",
        /// A player.
        App "app",
        /// A library for HTTP or playing, in somebody's program.
        Library "library",
        /// A web browser.
        Browser "browser",
        /// On no list.
        Unknown "unknown",
    }
}

/// What the lists say about a user agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The list it is on.
    pub kind: AgentKind,
    /// The entry's name; `unknown` if it is on none.
    pub name: Arc<str>,
    /// What OPAWG files the entry under, if anything: of libraries, `bot` are those mostly
    /// used by servers.
    pub category: Option<Arc<str>>,
}

impl Agent {
    /// Whether this is a library that servers use: players' libraries (`AppleCoreMedia`) are not.
    #[must_use]
    pub fn is_bot_library(&self) -> bool {
        self.kind == AgentKind::Library && self.category.as_deref() == Some("bot")
    }
}

/// The texts of the lists, in OPAWG's JSON.
#[derive(Debug, Clone, Copy)]
pub struct AgentTexts<'a> {
    /// `bots.json`.
    pub bots: &'a str,
    /// `apps.json`.
    pub apps: &'a str,
    /// `libraries.json`.
    pub libraries: &'a str,
    /// `browsers.json`.
    pub browsers: &'a str,
    /// `referrers.json`: players that run inside a browser.
    pub referrers: &'a str,
}

/// The compiled lists.
#[derive(Debug)]
pub struct Agents {
    set: PatternSet,
    known: Vec<Agent>,
    unknown: Agent,
    players: PatternSet,
    player_names: Vec<Arc<str>>,
}

impl Agents {
    /// Compiles the lists; an unusable entry refuses them all ([`PatternError`]).
    pub fn new(texts: AgentTexts<'_>) -> Result<Self, PatternError> {
        let lists = [
            (AgentKind::Bot, read("bots", texts.bots)?),
            (AgentKind::App, read("apps", texts.apps)?),
            (AgentKind::Library, read("libraries", texts.libraries)?),
            (AgentKind::Browser, read("browsers", texts.browsers)?),
        ];
        let set = PatternSet::new(lists.iter().flat_map(|(_, entries)| entries))?;
        let known = lists.iter().flat_map(|(kind, entries)| entries.iter().map(|entry| agent(*kind, entry)));
        let players = read("referrers", texts.referrers)?;
        Ok(Self {
            set,
            known: known.collect(),
            unknown: Agent { kind: AgentKind::Unknown, name: Arc::from("unknown"), category: None },
            players: PatternSet::new(&players)?,
            player_names: players.iter().map(|entry| Arc::from(entry.name.as_str())).collect(),
        })
    }

    /// What the lists say about `user_agent`.
    #[must_use]
    pub fn classify(&self, user_agent: &str) -> &Agent {
        self.set.first(user_agent).and_then(|index| self.known.get(index)).unwrap_or(&self.unknown)
    }

    /// The name under which a request is shown: a browser on the page of a known web player is that player.
    #[must_use]
    pub fn app_name<'a>(&'a self, agent: &'a Agent, referer: Option<&str>) -> &'a Arc<str> {
        let player = || self.players.first(referer?).and_then(|index| self.player_names.get(index));
        if agent.kind == AgentKind::Browser { player().unwrap_or(&agent.name) } else { &agent.name }
    }
}

fn agent(kind: AgentKind, entry: &Entry) -> Agent {
    Agent { kind, name: Arc::from(entry.name.as_str()), category: entry.category.as_deref().map(Arc::from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::ListTexts;

    fn seed() -> (ListTexts, Agents) {
        let texts = ListTexts::seed();
        let agents = Agents::new(texts.agents()).unwrap();
        (texts, agents)
    }

    #[test]
    fn every_upstream_example_is_what_upstream_says() {
        let (texts, agents) = seed();
        let texts = texts.agents();
        let mut examples = 0;
        for (kind, json) in [
            (AgentKind::Bot, texts.bots),
            (AgentKind::App, texts.apps),
            (AgentKind::Library, texts.libraries),
            (AgentKind::Browser, texts.browsers),
        ] {
            for entry in read("test", json).unwrap() {
                for example in &entry.examples {
                    assert_eq!(agents.classify(example), &agent(kind, &entry), "{example}");
                    examples += 1;
                }
            }
        }
        assert!(examples > 1_400, "only {examples} examples");
        for entry in read("test", texts.referrers).unwrap() {
            for example in &entry.examples {
                let browser = Agent { kind: AgentKind::Browser, name: Arc::from("Some"), category: None };
                assert_eq!(**agents.app_name(&browser, Some(example)), *entry.name, "{example}");
            }
        }
    }

    #[test]
    fn kinds_categories_and_names() {
        let (_, agents) = seed();
        let media = agents.classify("AppleCoreMedia/1.0.0.16G114 (iPod touch; U; CPU OS 12_4_2 like Mac OS X; en_us)");
        assert_eq!((media.kind, media.is_bot_library()), (AgentKind::Library, false));
        assert!(agents.classify("Go-http-client/1.1").is_bot_library());
        let unknown = agents.classify("Never heard of it/1.0");
        assert_eq!((unknown.kind, &*unknown.name, unknown.is_bot_library()), (AgentKind::Unknown, "unknown", false));

        let page = Some("https://castbox.fm/episode/1");
        let firefox = agents.classify("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
        assert_eq!(&**agents.app_name(firefox, page), "CastBox");
        assert_eq!(agents.app_name(firefox, Some("https://blog.example/")), &firefox.name);
        assert_eq!(agents.app_name(firefox, None), &firefox.name);
        assert_eq!(agents.app_name(media, page), &media.name);
    }
}
