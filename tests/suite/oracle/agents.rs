//! Who is behind a user agent or an address: the published lists, read as published, or a table for made-up traffic.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use regex::Regex;
use serde_json::Value;

/// What matters of a user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bot,
    BotLibrary,
    Listener,
}

/// Classification of user agents.
#[derive(Debug)]
pub(crate) enum Agents {
    /// Patterns with what they mean, in order of precedence.
    Lists(Vec<(Regex, Kind)>),
    /// Agents of made-up traffic; others are listeners.
    Table(&'static [(&'static str, Kind)]),
}

impl Agents {
    /// The OPAWG lists of a folder: bots, apps, libraries, browsers.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut patterns = Vec::new();
        for list in ["bots", "apps", "libraries", "browsers"] {
            let path = folder.join(format!("opawg-v2_src_{list}.json"));
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let document: Value = serde_json::from_str(&text).expect("JSON");
            for entry in document["entries"].as_array().expect("entries") {
                let pattern = Regex::new(entry["pattern"].as_str().expect("a pattern")).expect("a regular expression");
                let kind = match (list, entry["category"].as_str()) {
                    ("bots", _) => Kind::Bot,
                    ("libraries", Some("bot")) => Kind::BotLibrary,
                    _ => Kind::Listener,
                };
                patterns.push((pattern, kind));
            }
        }
        Agents::Lists(patterns)
    }

    /// The first match decides; agents that no list knows are bots if they say so.
    ///
    /// Reading: "say" is "contain the word, in any case, also inside another word".
    pub(crate) fn kind(&self, agent: &str) -> Kind {
        match self {
            Agents::Table(table) => table.iter().find(|(known, _)| *known == agent).map_or(Kind::Listener, |row| row.1),
            Agents::Lists(patterns) => {
                if let Some((_, kind)) = patterns.iter().find(|(pattern, _)| pattern.is_match(agent)) {
                    return *kind;
                }
                let lower = agent.to_ascii_lowercase();
                let says = ["bot", "crawler", "spider"].iter().any(|word| lower.contains(word));
                if says { Kind::Bot } else { Kind::Listener }
            }
        }
    }
}

/// Ranges of data centres, both ends included.
#[derive(Debug, Default)]
pub(crate) struct Networks(Vec<(Ipv4Addr, Ipv4Addr)>);

impl Networks {
    /// The ipcat table: first address, last address, name, URL.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::of(text.lines())
    }

    pub(crate) fn of<'a>(rows: impl Iterator<Item = &'a str>) -> Self {
        let range = |row: &str| {
            let mut fields = row.split(',');
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        Networks(rows.filter_map(range).collect())
    }

    pub(crate) fn is_datacentre(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&address))
    }
}
