//! Who plays in the demo: podcasts, campaigns, programs, networks. All of it made up.

/// A podcast of the demo.
#[derive(Debug)]
pub(crate) struct Podcast {
    /// In addresses and guids.
    pub(crate) slug: &'static str,
    pub(crate) title: &'static str,
    pub(crate) author: &'static str,
    pub(crate) language: &'static str,
    pub(crate) description: &'static str,
    /// Title and length in seconds, the oldest first.
    pub(crate) episodes: &'static [(&'static str, u32)],
}

/// Every podcast of the demo.
pub(crate) const PODCASTS: [Podcast; 3] = [
    Podcast {
        slug: "cafe-zuerich",
        title: "Café Zürich – Geschichten über Bohnen & Brücken",
        author: "Übermorgen Studio",
        language: "de",
        description: "Jede Woche ein Café, eine Brücke und jemand, der beide kennt.",
        episodes: &[
            ("Röstgrade: wie dunkel ist zu dunkel?", 2_160),
            ("Die Frau, die Mühlen schärft", 1_740),
            ("Crème brûlée und andere Missverständnisse", 2_520),
            ("Wasser: das halbe Getränk", 1_980),
            ("Öffnungszeiten einer Großstadt", 2_340),
        ],
    },
    Podcast {
        slug: "sobremesa",
        title: "Sobremesa con Núria y Íñigo",
        author: "La Cocina Azul",
        language: "es",
        description: "Lo que se dice cuando ya nadie tiene hambre. <Sin prisa>, con preguntas.",
        episodes: &[
            ("El año en que llovió aceite", 3_120),
            ("¿Quién inventó la siesta?", 2_700),
            ("Cañas, garbanzos y ñoquis", 2_940),
            ("Mañana empiezo", 2_580),
        ],
    },
    Podcast {
        slug: "late-signals",
        title: "Late Signals",
        author: "North Pier Audio",
        language: "en",
        description: "Short reports on things that arrive after everybody has left.",
        episodes: &[
            ("A letter from a lighthouse", 900),
            ("The bus that was on time", 1_080),
            ("Two naïve questions about tides", 960),
            ("What the archive forgot", 1_260),
        ],
    },
];

/// Bytes of a second of audio (64 kbit/s).
pub(crate) const BYTES_A_SECOND: u64 = 8_000;

impl Podcast {
    /// The guid of an episode.
    pub(crate) fn guid(&self, episode: usize) -> String {
        format!("{}-{:03}", self.slug, episode + 1)
    }

    /// Where the file of an episode lies: nowhere, since nobody fetches it.
    pub(crate) fn file(&self, episode: usize) -> String {
        format!("https://media.castback.example/{}/episode-{:02}.mp3", self.slug, episode + 1)
    }

    /// Bytes of the file of an episode.
    pub(crate) fn bytes(&self, episode: usize) -> u64 {
        self.episodes.get(episode).map_or(0, |(_, seconds)| u64::from(*seconds) * BYTES_A_SECOND)
    }
}

/// How an advertiser of the demo pays, in minor units of US dollars.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Price {
    Cpm(i64),
    Flat(i64),
}

/// A campaign of the demo.
#[derive(Debug)]
pub(crate) struct Campaign {
    pub(crate) name: &'static str,
    pub(crate) advertiser: &'static str,
    /// Indices of [`PODCASTS`].
    pub(crate) podcasts: &'static [usize],
    pub(crate) data_set: &'static str,
    pub(crate) promo_code: &'static str,
    pub(crate) vanity_slug: &'static str,
    pub(crate) price: Price,
    /// US cents.
    pub(crate) budget: i64,
    /// Position, first second and seconds of each spot.
    pub(crate) spots: &'static [(&'static str, u32, u32)],
}

/// Every campaign of the demo.
pub(crate) const CAMPAIGNS: [Campaign; 3] = [
    Campaign {
        name: "Herbströstung – 10 % für Hörerinnen",
        advertiser: "Rösterei Müller & Söhne",
        podcasts: &[0, 1],
        data_set: "roesterei-shop",
        promo_code: "CAFE10",
        vanity_slug: "roesterei",
        price: Price::Cpm(2_800),
        budget: 250_000,
        spots: &[("pre_roll", 0, 30), ("mid_roll", 600, 45)],
    },
    Campaign {
        name: "Libros para el invierno",
        advertiser: "Librería Niño Azul",
        podcasts: &[1, 2],
        data_set: "nino-azul",
        promo_code: "INVIERNO5",
        vanity_slug: "nino-azul",
        price: Price::Flat(60_000),
        budget: 60_000,
        spots: &[("pre_roll", 0, 20)],
    },
    // For the same shop as the first, and to the same people: who is credited depends on the model.
    Campaign {
        name: "Mahlwerk-Wochen",
        advertiser: "Rösterei Müller & Söhne",
        podcasts: &[0, 2],
        data_set: "roesterei-shop",
        promo_code: "MAHLWERK",
        vanity_slug: "mahlwerk",
        price: Price::Flat(45_000),
        budget: 45_000,
        spots: &[("mid_roll", 300, 30)],
    },
];

/// Programs that people listen with.
pub(crate) const PLAYERS: [&str; 8] = [
    "AppleCoreMedia/1.0.0.19A583 (iPhone; U; CPU OS 15_0 like Mac OS X; en_us)",
    "Overcast/3.0 (+http://overcast.fm/; iOS podcast app)",
    "Podcasts/1650.20 CFNetwork/1333.0.4 Darwin/21.5.0",
    "Spotify/8.8.0 iOS/16.1 (iPhone14,5)",
    "AntennaPod/3.1.2",
    "PocketCasts/1.0 (Pocket Casts Feed Parser; +http://pocketcasts.com/)",
    "Castro 2023.4/1456",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
];

/// Programs that only look.
pub(crate) const BOTS: [&str; 3] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "ExampleCrawler/1.0 (+https://crawler.example/)",
    "Python/3.10 aiohttp/3.9.3",
];

/// A watch that loads again what its phone has loaded.
pub(crate) const WATCH: &str = "atc/1.0 watchOS/9.1 model/Watch6,2 hwp/t8301 build/20R75 (6; dt:268)";

/// Addresses of rented machines.
pub(crate) const RENTED: [&str; 2] = ["3.3.2.77", "2.56.8.10"];

#[cfg(test)]
mod tests {
    use castback_rules::filter::{Answer, FilterInput, FilterReason, Subject, judge};
    use castback_rules::lists::{ListTexts, Lists};
    use castback_schemas::Micros;

    use super::*;

    #[test]
    fn the_lists_take_everyone_for_what_they_play() {
        let lists = Lists::new(&ListTexts::seed(), Micros(0)).unwrap();
        let reason = |agent: &str, address: &str| {
            let request = FilterInput {
                subject: Subject::Episode,
                method: "GET",
                answer: Some(Answer { status: 200, bytes_sent: Some(1_000_000) }),
                range: None,
                user_agent: Some(agent),
                network: lists.datacentres.classify(address.parse().unwrap()),
                referer: None,
            };
            judge(&request, &lists)
        };
        for player in PLAYERS {
            assert_eq!(reason(player, "198.51.100.1"), None, "{player}");
        }
        for bot in BOTS {
            assert!(matches!(reason(bot, "198.51.100.1"), Some(FilterReason::Bot | FilterReason::BotLibrary)), "{bot}");
        }
        assert_eq!(reason(WATCH, "198.51.100.1"), Some(FilterReason::WatchosDuplicate));
        for address in RENTED {
            assert_eq!(reason(PLAYERS[0], address), Some(FilterReason::Datacentre), "{address}");
        }
    }

    #[test]
    fn spots_lie_inside_every_episode_they_are_in() {
        for campaign in &CAMPAIGNS {
            for podcast in campaign.podcasts.iter().map(|index| &PODCASTS[*index]) {
                for (_, from, length) in campaign.spots {
                    assert!(podcast.episodes.iter().all(|(_, seconds)| from + length < *seconds), "{}", podcast.slug);
                }
            }
        }
    }
}
