//! The lists behind the filters: a seed shipped with the program, files that replace it, and
//! versions by date, so that March is judged by March's lists.

use std::borrow::Cow;
use std::sync::Arc;

use castback_schemas::Micros;
use castback_schemas::edge::{HashKey, Networks, NetworksError, fingerprint};

use crate::agents::{AgentTexts, Agents};
use crate::patterns::{PatternError, PatternSet, read};
use crate::safe_list::{SafeList, SafeListError};

/// The version of the seed: the date of its youngest list with a date.
pub const SEED_VERSION: &str = "seed-2026-08-22";

/// Lists that can't be used. The caller keeps the version before.
#[derive(Debug, thiserror::Error)]
pub enum ListsError {
    /// No given file has the name of a list.
    #[error("no file there is a list: expected bots.json, apps.json, …datacenters.csv or another of the lists")]
    NoList,
    /// A patterns file.
    #[error("a list of patterns is unusable")]
    Patterns(#[from] PatternError),
    /// The data-centre ranges.
    #[error("the data-centre ranges are unusable")]
    Networks(#[from] NetworksError),
    /// The safe list.
    #[error("the safe list is unusable")]
    Safe(#[from] SafeListError),
}

/// The texts of all lists, before they are compiled.
#[derive(Debug, Clone)]
pub struct ListTexts {
    version: String,
    texts: [Cow<'static, str>; LISTS.len()],
}

/// Every list: how the name of its file ends, and its seed.
const LISTS: [(&str, &str); 8] = [
    ("bots", include_str!("../lists/opawg/bots.json")),
    ("apps", include_str!("../lists/opawg/apps.json")),
    ("libraries", include_str!("../lists/opawg/libraries.json")),
    ("browsers", include_str!("../lists/opawg/browsers.json")),
    ("referrers", include_str!("../lists/opawg/referrers.json")),
    ("bad-referrers", include_str!("../lists/bad-referrers.json")),
    ("datacenters", include_str!("../lists/ipcat/datacenters.csv")),
    ("safe-list", ""),
];

impl ListTexts {
    /// The lists shipped with the program.
    #[must_use]
    pub fn seed() -> Self {
        Self { version: SEED_VERSION.to_owned(), texts: LISTS.map(|(_, text)| Cow::Borrowed(text)) }
    }

    /// The seed with some lists replaced by files, given as name and text, each known by how
    /// its name ends (see `lists/README.md`). The version is made from the content.
    pub fn from_files(files: impl IntoIterator<Item = (String, String)>) -> Result<Self, ListsError> {
        let mut lists = Self::seed();
        let mut found = false;
        for (name, text) in files {
            if let Some(index) = list_of(&name) {
                lists.texts[index] = Cow::Owned(text);
                found = true;
            }
        }
        if !found {
            return Err(ListsError::NoList);
        }
        // Not secret: the key only has to be the same everywhere. A NUL is in no list.
        let content = fingerprint(&HashKey::from_bytes([0; 32]), lists.texts.join("\0").as_bytes());
        lists.version = format!("files-{}", &content.to_string()[..12]);
        Ok(lists)
    }

    /// The texts of OPAWG's lists.
    #[must_use]
    pub fn agents(&self) -> AgentTexts<'_> {
        let [bots, apps, libraries, browsers, referrers, ..] = &self.texts;
        AgentTexts { bots, apps, libraries, browsers, referrers }
    }
}

/// Which list a file is, by its name: `bots.json`, `…_bots.json`, `bots.runtime.json`, and so on.
fn list_of(name: &str) -> Option<usize> {
    let name = name.replace('_', "-");
    let ending = if let Some(stem) = name.strip_suffix(".csv") {
        if stem.contains("datacent") { "datacenters" } else { stem }
    } else {
        let stem = name.strip_suffix(".json")?;
        stem.strip_suffix(".runtime").unwrap_or(stem)
    };
    // The longest name first, since every bad-referrers file ends in referrers, too.
    let fits = |list: &str| ending.strip_suffix(list).is_some_and(|before| before.is_empty() || before.ends_with('-'));
    let lists = LISTS.iter().enumerate().filter(|(_, (list, _))| fits(list));
    lists.max_by_key(|(_, (list, _))| list.len()).map(|(index, _)| index)
}

/// One version of all lists, compiled.
#[derive(Debug)]
pub struct Lists {
    /// The version's name, written into the rows that it judged.
    pub version: String,
    /// The first instant that it judges.
    pub valid_from: Micros,
    /// User agents.
    pub agents: Agents,
    /// Data-centre ranges, for the edge.
    pub datacentres: Networks,
    /// Addresses that the rate filter spares, for the edge.
    pub safe: SafeList,
    bad_referrers: PatternSet,
}

impl Lists {
    /// Compiles a version.
    pub fn new(texts: &ListTexts, valid_from: Micros) -> Result<Self, ListsError> {
        let [.., bad_referrers, datacentres, safe] = &texts.texts;
        Ok(Self {
            version: texts.version.clone(),
            valid_from,
            agents: Agents::new(texts.agents())?,
            datacentres: Networks::parse(&texts.version, datacentres)?,
            safe: SafeList::parse(safe)?,
            bad_referrers: PatternSet::new(&read("bad-referrers", bad_referrers)?)?,
        })
    }

    /// Whether a referrer is on the list of bad ones: hosts known for referrer spam.
    #[must_use]
    pub fn is_bad_referrer(&self, referer: &str) -> bool {
        self.bad_referrers.any(referer)
    }
}

/// All versions of the lists, by date.
#[derive(Debug, Clone)]
pub struct DatedLists {
    first: Arc<Lists>,
    later: Vec<Arc<Lists>>,
}

impl DatedLists {
    /// These lists, valid from the beginning of time whatever their own date says.
    #[must_use]
    pub fn new(first: Arc<Lists>) -> Self {
        Self { first, later: Vec::new() }
    }

    /// Adds a version; one with the same date replaces the one before. A version dated before
    /// the first is valid from its date on like any other.
    pub fn add(&mut self, lists: Arc<Lists>) {
        self.later.retain(|known| known.valid_from != lists.valid_from);
        let at = self.later.partition_point(|known| known.valid_from < lists.valid_from);
        self.later.insert(at, lists);
    }

    /// The version that judges what happened at `time`.
    #[must_use]
    pub fn at(&self, time: Micros) -> &Arc<Lists> {
        let after = self.later.partition_point(|lists| lists.valid_from <= time);
        after.checked_sub(1).and_then(|index| self.later.get(index)).unwrap_or(&self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    fn one_pattern(name: &str) -> String {
        format!(r#"{{"entries": [{{"name": "{name}", "pattern": "^{name}"}}]}}"#)
    }

    /// Small lists, quick to compile.
    fn small(version: &str, valid_from: i64) -> Arc<Lists> {
        let ranges = file("datacenters.csv", "192.0.2.0,192.0.2.9,A,\n");
        let names = ["bots", "apps", "libraries", "browsers", "referrers", "bad-referrers"];
        let files = names.map(|name| file(&format!("{name}.json"), &one_pattern(name)));
        let mut texts = ListTexts::from_files(files.into_iter().chain([ranges])).unwrap();
        version.clone_into(&mut texts.version);
        Arc::new(Lists::new(&texts, Micros(valid_from)).unwrap())
    }

    #[test]
    fn files_are_known_by_how_their_names_end() {
        let name = |file: &str| list_of(file).map(|index| LISTS[index].0);
        for (file, list) in [
            ("bots.json", Some("bots")),
            ("opawg-v2_src_apps.json", Some("apps")),
            ("libraries.runtime.json", Some("libraries")),
            ("referrers.json", Some("referrers")),
            ("bad_referrers.json", Some("bad-referrers")),
            ("ipcat_datacenters_2026-08-22.csv", Some("datacenters")),
            ("datacentres.csv", Some("datacenters")),
            ("safe-list.csv", Some("safe-list")),
            ("opawg-v2_build_bots.examples.json", None),
            ("robots.json", None),
            ("schema.json", None),
            ("LICENSE", None),
        ] {
            assert_eq!(name(file), list, "{file}");
        }
    }

    #[test]
    fn files_replace_the_seed_one_by_one_and_name_their_version() {
        let bots = || file("bots.json", &one_pattern("Nosy"));
        let texts = ListTexts::from_files([file("LICENSE", "MIT"), bots()]).unwrap();
        assert!(texts.agents().bots.contains("Nosy"));
        assert_eq!(texts.agents().apps, ListTexts::seed().agents().apps);
        assert_eq!(texts.version, ListTexts::from_files([bots()]).unwrap().version);
        assert_ne!(texts.version, ListTexts::from_files([file("bots.json", "{}")]).unwrap().version);
        assert!(texts.version.starts_with("files-"));
        assert!(matches!(ListTexts::from_files([file("LICENSE", "MIT")]), Err(ListsError::NoList)));
    }

    #[test]
    fn an_unusable_file_is_refused() {
        let compile =
            |name, text| Lists::new(&ListTexts::from_files([file(name, text)]).unwrap(), Micros(0)).unwrap_err();
        assert!(matches!(compile("bots.json", "{}"), ListsError::Patterns(_)));
        assert!(matches!(compile("datacenters.csv", "x"), ListsError::Networks(_)));
        assert!(matches!(compile("safe-list.csv", "x"), ListsError::Safe(_)));
    }

    #[test]
    fn a_time_is_judged_by_its_own_version() {
        let mut dated = DatedLists::new(small("first", 100));
        dated.add(small("third", 300));
        dated.add(small("second", 200));
        dated.add(small("third again", 300));
        let version = |time| dated.at(Micros(time)).version.clone();
        assert_eq!([0, 100, 199].map(version), ["first"; 3]);
        assert_eq!([200, 299, 300, i64::MAX].map(version), ["second", "second", "third again", "third again"]);
    }

    #[test]
    fn the_seed_is_usable_and_its_examples_are_bad() {
        let lists = Lists::new(&ListTexts::seed(), Micros(0)).unwrap();
        assert!(lists.datacentres.range_count() > 4_000);
        assert_eq!(lists.datacentres.version(), SEED_VERSION);
        let entries = read("test", LISTS[5].1).unwrap();
        let examples: Vec<_> = entries.iter().flat_map(|entry| &entry.examples).collect();
        assert!(!examples.is_empty() && examples.iter().all(|example| lists.is_bad_referrer(example)));
        for good in [
            "https://castbox.fm/",
            "http://localhost/",
            "https://semalt.company.example/",
            "https://a.example/?u=http://semalt.com/",
        ] {
            assert!(!lists.is_bad_referrer(good), "{good}");
        }
        for entry in read("test", LISTS[4].1).unwrap() {
            assert!(!entry.examples.iter().any(|player| lists.is_bad_referrer(player)), "{}", entry.name);
        }
    }
}
