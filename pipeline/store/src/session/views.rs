//! The public tables over stored ones: each a query, planned once per session.
//!
//! `x` is a stored table as it holds at the view, `x__all` every version up to it. A column's
//! comment is that of the stored column it passes on, or stands in `docs`.

/// A public table over stored ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct ViewSpec {
    /// Its name in SQL.
    pub(super) name: &'static str,
    /// What a row is.
    pub(super) doc: &'static str,
    /// How it comes about.
    pub(super) sql: &'static str,
    /// Comments of columns that are not passed on.
    pub(super) docs: &'static [(&'static str, &'static str)],
}

/// The columns of `ledger`, from requests: they have them all.
macro_rules! requests {
    ($versions:literal) => {
        concat!(
            "SELECT account_id, 'listener-requests' AS topic, slot, \"offset\", event_id, podcast_id, episode_id, ",
            "verdict, reason, duplicate_of, counted_utc_day, counted_first_touch, counted_last_touch, ",
            "rule_version, config_version, occurred_at, recorded_at, commit FROM requests",
            $versions
        )
    };
}

/// The columns of `ledger`, from records that are no downloads.
macro_rules! records {
    ($table:literal, $versions:literal, $topic:literal) => {
        concat!(
            "SELECT account_id, '",
            $topic,
            "' AS topic, slot, \"offset\", event_id, ",
            "CAST(NULL AS VARCHAR) AS podcast_id, CAST(NULL AS VARCHAR) AS episode_id, ",
            "verdict, reason, duplicate_of, false AS counted_utc_day, false AS counted_first_touch, ",
            "false AS counted_last_touch, rule_version, config_version, occurred_at, recorded_at, commit FROM ",
            $table,
            $versions
        )
    };
}

/// The columns of `ledger`, from what could not be read: nothing judged it.
macro_rules! dead_letters {
    ($versions:literal) => {
        concat!(
            "SELECT account_id, topic, slot, \"offset\", CAST(NULL AS VARCHAR) AS event_id, ",
            "CAST(NULL AS VARCHAR) AS podcast_id, CAST(NULL AS VARCHAR) AS episode_id, ",
            "'dead_lettered' AS verdict, reason, CAST(NULL AS BIGINT) AS duplicate_of, ",
            "false AS counted_utc_day, false AS counted_first_touch, false AS counted_last_touch, ",
            "CAST(0 AS BIGINT) AS rule_version, CAST(0 AS BIGINT) AS config_version, ",
            "recorded_at AS occurred_at, recorded_at, commit FROM dead_letters",
            $versions
        )
    };
}

/// The columns of `ledger`, from revised verdicts and the records that they are about.
macro_rules! revisions {
    ($table:literal, $topic:literal, $podcast:literal) => {
        concat!(
            "SELECT v.account_id, v.topic, v.slot, v.\"offset\", r.event_id, ",
            $podcast,
            " AS podcast_id, v.episode_id, v.verdict, v.reason, v.duplicate_of, ",
            "v.counted_utc_day, v.counted_first_touch, v.counted_last_touch, ",
            "v.rule_version, v.config_version, v.occurred_at, r.recorded_at, v.commit FROM verdicts__all v JOIN ",
            $table,
            "__all r ON v.account_id = r.account_id AND v.slot = r.slot AND v.\"offset\" = r.\"offset\" ",
            "WHERE v.topic = '",
            $topic,
            "'"
        )
    };
}

const LEDGER_DOCS: &[(&str, &str)] = &[
    ("account_id", "whose it is"),
    ("topic", "topic of the record"),
    ("slot", "slot of the topic"),
    ("offset", "offset in the slot"),
    ("event_id", "id of the event; null for what could not be read"),
    ("podcast_id", "podcast asked for"),
    ("episode_id", "episode matched by the enclosure"),
    ("verdict", "counted, duplicate, filtered, late or dead_lettered"),
    ("reason", "why it is not counted"),
    (
        "duplicate_of",
        "offset of the row it repeats or helped, same topic and slot; null where same_event_id says it: the row has that id",
    ),
    ("counted_utc_day", "completes a download by UTC day"),
    ("counted_first_touch", "completes a download by the 24 h window from the first"),
    ("counted_last_touch", "completes a download by the 24 h window extended by touches"),
    ("rule_version", "version of the rules that judged; 0 when none did"),
    ("config_version", "change number of the directory that judged; 0 when none did"),
    ("occurred_at", "event time"),
    ("recorded_at", "append time on the log"),
    ("commit", "commit that wrote the verdict: its revision"),
];

/// The public tables over stored ones, by name.
pub(super) const VIEWS: &[ViewSpec] = &[
    ViewSpec {
        name: "ad_deliveries",
        doc: "an ad delivered inside a valid download",
        sql: "SELECT * EXCEPT (withdrawn) FROM ad_deliveries",
        docs: &[],
    },
    ViewSpec {
        name: "app_events",
        doc: "one row per accepted app event",
        sql: "SELECT * EXCEPT (properties) FROM app_events",
        docs: &[],
    },
    ViewSpec {
        name: "campaign_performance",
        doc: "what adds up, by campaign and minute, absolute",
        sql: "SELECT * EXCEPT (withdrawn) FROM campaign_performance",
        docs: &[],
    },
    ViewSpec {
        name: "campaign_performance_history",
        doc: "every version of every minute of a campaign",
        sql: "SELECT * FROM campaign_performance__all",
        docs: &[],
    },
    ViewSpec {
        name: "conversions",
        doc: "one row per accepted conversion",
        sql: "SELECT * FROM conversion_records",
        docs: &[],
    },
    ViewSpec {
        name: "credits",
        doc: "credit of a conversion to a campaign under a model",
        sql: "SELECT * EXCEPT (withdrawn) FROM credits",
        docs: &[],
    },
    ViewSpec {
        name: "dead_letters",
        doc: "one row per record that could not be read",
        sql: "SELECT * EXCEPT (value) FROM dead_letters",
        docs: &[],
    },
    ViewSpec {
        name: "downloads",
        doc: "one row per request that completes a download in at least one window",
        sql: "SELECT account_id, slot, \"offset\", event_id, occurred_at, podcast_id, episode_id, counted_utc_day, \
              counted_first_touch, counted_last_touch, app, country, listener, network, source, commit \
              FROM requests WHERE counted_utc_day OR counted_first_touch OR counted_last_touch",
        docs: &[],
    },
    ViewSpec {
        name: "ledger",
        doc: "one row per accepted record of any topic, with its current verdict",
        sql: concat!(
            requests!(""),
            " UNION ALL ",
            records!("conversion_records", "", "conversions"),
            " UNION ALL ",
            records!("app_events", "", "app-events"),
            " UNION ALL ",
            dead_letters!("")
        ),
        docs: LEDGER_DOCS,
    },
    ViewSpec {
        name: "ledger_history",
        doc: "every verdict that was ever given, the first and each revision",
        sql: concat!(
            requests!("__all"),
            " UNION ALL ",
            records!("conversion_records", "__all", "conversions"),
            " UNION ALL ",
            records!("app_events", "__all", "app-events"),
            " UNION ALL ",
            dead_letters!("__all"),
            " UNION ALL ",
            revisions!("requests", "listener-requests", "r.podcast_id"),
            " UNION ALL ",
            revisions!("conversion_records", "conversions", "CAST(NULL AS VARCHAR)"),
            " UNION ALL ",
            revisions!("app_events", "app-events", "CAST(NULL AS VARCHAR)")
        ),
        docs: LEDGER_DOCS,
    },
    ViewSpec {
        name: "listener_metrics",
        doc: "requests by podcast and hour of event time: downloads per window and verdicts",
        sql: "SELECT account_id, podcast_id, date_trunc('hour', occurred_at) AS bucket_start, \
              count(*) AS requests, \
              sum(CASE WHEN counted_utc_day THEN 1 ELSE 0 END) AS downloads_utc_day, \
              sum(CASE WHEN counted_first_touch THEN 1 ELSE 0 END) AS downloads_first_touch, \
              sum(CASE WHEN counted_last_touch THEN 1 ELSE 0 END) AS downloads_last_touch, \
              sum(CASE WHEN source = 'prefix' AND reason = 'below_threshold' THEN 1 ELSE 0 END) AS downloads_prefix_estimated, \
              sum(CASE WHEN verdict = 'counted' THEN 1 ELSE 0 END) AS counted, \
              sum(CASE WHEN verdict = 'duplicate' THEN 1 ELSE 0 END) AS duplicate, \
              sum(CASE WHEN verdict = 'filtered' THEN 1 ELSE 0 END) AS filtered, \
              sum(CASE WHEN verdict = 'late' THEN 1 ELSE 0 END) AS late, \
              max(commit) AS commit \
              FROM requests GROUP BY account_id, podcast_id, date_trunc('hour', occurred_at)",
        docs: &[
            ("bucket_start", "start of the hour of event time"),
            ("requests", "accepted requests"),
            ("downloads_utc_day", "downloads by UTC day"),
            ("downloads_first_touch", "downloads by the first-touch window"),
            ("downloads_last_touch", "downloads by the last-touch window"),
            (
                "downloads_prefix_estimated",
                "requests that a prefix redirect saw and no other filter refused, repeats and all",
            ),
            ("counted", "requests with the verdict counted"),
            ("duplicate", "requests with the verdict duplicate"),
            ("filtered", "requests with the verdict filtered"),
            ("late", "requests with the verdict late"),
            ("commit", "highest commit among the hour's rows: its revision"),
        ],
    },
    ViewSpec {
        name: "requests",
        doc: "one row per accepted listener request with every input that a rule may need",
        sql: "SELECT * FROM requests",
        docs: &[],
    },
    ViewSpec {
        name: "tallies",
        doc: "records on the log by account and hour of append time, counted apart from the rules",
        sql: "SELECT * EXCEPT (withdrawn) FROM tallies",
        docs: &[],
    },
    ViewSpec {
        name: "touches",
        doc: "what connects a conversion to a campaign",
        sql: "SELECT * EXCEPT (withdrawn) FROM touches",
        docs: &[],
    },
];
