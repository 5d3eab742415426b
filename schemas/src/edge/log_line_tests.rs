use proptest::prelude::*;

use super::*;

const COMBINED: &str = r#"192.0.2.7 - - [24/Nov/2026:10:00:00 +0100] "GET /audio/one.mp3?x=1 HTTP/1.1" 206 1234 "https://player.example/" "Pod/1.0""#;

#[test]
fn a_combined_line_is_read_field_by_field() {
    let line = LogLine::parse(COMBINED).unwrap();
    assert_eq!(line.address, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(line.occurred_at, "2026-11-24T09:00:00Z".parse().unwrap());
    assert_eq!((line.method, &*line.target), ("GET", "/audio/one.mp3?x=1"));
    assert_eq!((line.status, line.bytes_sent), (206, 1234));
    assert_eq!(line.referer.as_deref(), Some("https://player.example/"));
    assert_eq!(line.user_agent.as_deref(), Some("Pod/1.0"));
    assert_eq!((line.vhost, line.extra), (None, ""));
    assert!(!line.is_malformed());
}

#[test]
fn the_common_format_has_no_referer_and_no_agent() {
    let line = LogLine::parse("2001:db8::1 - ann [24/Nov/2026:10:00:00 +0000] \"HEAD / HTTP/1.0\" 304 -\r\n").unwrap();
    assert_eq!(line.address, Some("2001:db8::1".parse().unwrap()));
    assert_eq!((line.method, line.status, line.bytes_sent), ("HEAD", 304, 0));
    assert_eq!((line.referer, line.user_agent), (None, None));
}

#[test]
fn virtual_hosts_names_and_extras_are_tolerated() {
    let line = format!("pod.example:443 {COMBINED} \"203.0.113.9\" 0.004");
    let line = LogLine::parse(&line).unwrap();
    assert_eq!((line.vhost, line.host), (Some("pod.example:443"), "192.0.2.7"));
    assert_eq!(line.extra, "\"203.0.113.9\" 0.004");

    let line = COMBINED.replacen("192.0.2.7 - -", "cpe-7.isp.example - a [b] c", 1);
    let line = LogLine::parse(&line).unwrap();
    assert_eq!((line.host, line.address), ("cpe-7.isp.example", None));
}

#[test]
fn escapes_in_quoted_fields_are_undone() {
    let line = COMBINED.replace("Pod/1.0", r#"Pod \"One\" \xc3\xa9"#).replace("one.mp3", r"o\x22ne.mp3");
    let line = LogLine::parse(&line).unwrap();
    assert_eq!(line.user_agent.as_deref(), Some("Pod \"One\" é"));
    assert_eq!((line.method, &*line.target), ("GET", "/audio/o\"ne.mp3?x=1"));
}

#[test]
fn a_request_without_sense_is_still_a_line() {
    for request in [
        "-",
        "",
        r"\x16\x03\x01",
        "GET",
        "GET  ",
        "GET /",
        "GET /a b HTTP/1.1",
        "G\\x45T\\x00 / HTTP/1.1",
        "quit\\n now",
        "a@b / HTTP/1.1",
    ] {
        let text = format!(r#"192.0.2.7 - - [24/Nov/2026:10:00:00 +0000] "{request}" 400 0 "-" "-""#);
        let line = LogLine::parse(&text).unwrap();
        assert!(line.is_malformed(), "{request}");
        assert_eq!((&*line.target, line.status, line.user_agent), ("", 400, None), "{request}");
    }
}

#[test]
fn no_status_is_told_as_none() {
    for none in ["-", "000"] {
        let text = COMBINED.replace(" 206 ", &format!(" {none} "));
        assert_eq!(LogLine::parse(&text).map(|line| line.status), Ok(0), "{none}");
    }
}

#[test]
fn an_unreadable_line_says_why() {
    let unquoted = |field| LogLineError::Quoted { field, source: quoted::Unquoted };
    let long = format!("{COMBINED}{}", "x".repeat(MAX_LINE));
    for (line, error) in [
        ("  \r\n".to_owned(), LogLineError::Empty),
        (long, LogLineError::TooLong),
        ("{\"status\":200}".to_owned(), LogLineError::Time),
        (COMBINED.replace("Nov", "Nox"), LogLineError::Time),
        (COMBINED.replace(" - - ", " "), LogLineError::Client),
        (COMBINED.replace("\"GET", "GET"), unquoted("request")),
        (COMBINED.replace("206", "2O6"), LogLineError::Status),
        (COMBINED.replace("206", "006"), LogLineError::Status),
        (COMBINED.replace("1234", "-1"), LogLineError::Bytes),
        (COMBINED.replace("Pod/1.0\"", "Pod/1.0"), unquoted("user agent")),
        (COMBINED.replace(" 206 1234 \"https://player.example/\" \"Pod/1.0\"", ""), LogLineError::Status),
    ] {
        assert_eq!(LogLine::parse(&line), Err(error), "{line}");
    }
}

proptest! {
    #[test]
    fn the_line_end_changes_nothing(any in any::<String>(), cut in 0..COMBINED.len(), junk in "[\"\\\\ \\[\\]\\-é]{0,8}") {
        let broken = format!("{}{junk}{}", &COMBINED[..cut], &COMBINED[cut..]);
        for line in [any, broken] {
            let ended = format!("{line}\r\n");
            prop_assert_eq!(LogLine::parse(&ended), LogLine::parse(&line));
        }
    }
}
