//! What verdicts and reasons mean, in words for whoever asks why.

/// A reason's name in the ledger, and its words.
const REASONS: &[(&str, &str)] = &[
    ("same_event_id", "its event id came before: the same send, again"),
    ("same_download", "the listener's download of this episode was counted already inside the window"),
    ("part_of", "a piece of the file that helped the download named below to its threshold"),
    ("malformed_request", "it names no file or no time that can be read"),
    ("rerouted", "its account is of another slot; it was sent on there"),
    ("unknown_podcast", "no podcast of this account has that id"),
    ("not_an_episode", "the file is no episode of the podcast's feed"),
    ("method", "only GET asks for a file"),
    ("status", "only answers with 200 and 206 carry a file"),
    ("range_probe", "players ask for two bytes to learn whether ranges work"),
    ("no_user_agent", "it says not which program asked"),
    ("malformed_user_agent", "its user agent is none that a program would send"),
    ("watchos_duplicate", "a watch loads again what its phone has loaded"),
    ("bot", "the user agent is a robot's by OPAWG's lists, or says so itself"),
    ("bot_library", "the user agent is a library of robots by OPAWG's lists"),
    ("datacentre", "the address is a data centre's"),
    ("referrer", "it comes from a page on the list of bad referrers"),
    ("rate", "more than 300 different requests came from its address that day"),
    ("below_threshold", "less than a minute of the episode was sent"),
    ("day_frozen", "its day was closed when it came; a recount takes it in"),
    ("undecodable", "its bytes fit no schema"),
    ("schema", "its content breaks the contract"),
    ("too_large", "it is larger than a record may be"),
];

/// The words of a reason.
pub(super) fn words(reason: &str) -> &'static str {
    REASONS.iter().find(|(name, _)| *name == reason).map_or("a reason of a newer version", |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use castback_rules::verdict::Reason;

    use super::*;

    #[test]
    fn every_reason_has_its_words_and_no_other() {
        let all: Vec<&str> = Reason::all().map(Reason::as_str).collect();
        for name in &all {
            assert!(REASONS.iter().any(|(known, _)| known == name), "{name}");
        }
        assert_eq!(REASONS.len(), all.len());
    }
}
