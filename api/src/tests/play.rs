//! A campaign with its ads, customers and requests, small enough to be reckoned by hand.

use castback_rules::credit::Model;
use castback_schemas::table::Table;
use serde_json::json;

use super::committed::{Cell, Row, at};
use super::{Account, Bench};

/// Markup, accents, and what a spreadsheet would run.
pub(super) const NAME: &str = "=1+1 Café <b>Übergröße</b>";

/// What was made.
pub(super) struct Play {
    pub(super) podcast: String,
    pub(super) campaign: String,
}

fn row(columns: &[(&'static str, Cell)]) -> Row {
    columns.iter().cloned().collect()
}

/// A delivery: `windows` are UTC day, first touch, last touch; the first is the podcast's.
fn delivery(play: &Play, (offset, when): (i64, &str), (listener, household): (u8, u8), windows: [bool; 3]) -> Row {
    row(&[
        ("request_offset", offset.into()),
        ("campaign_id", play.campaign.as_str().into()),
        ("placement_id", "pre".into()),
        ("podcast_id", play.podcast.as_str().into()),
        ("episode_id", if offset == 3 { "two" } else { "one" }.into()),
        ("occurred_at", at(when).into()),
        ("listener", Cell::Hash(listener)),
        ("household", Cell::Hash(household)),
        ("position_unknown", (offset == 3).into()),
        ("window_utc_day", windows[0].into()),
        ("window_first_touch", windows[1].into()),
        ("window_last_touch", windows[2].into()),
        ("exposure", windows[0].into()),
    ])
}

/// A request with its verdict; counted in the UTC day's window if `reason` is empty.
fn request(play: &Play, (offset, when): (i64, &str), (listener, household): (u8, u8), reason: &str) -> Row {
    let counted = reason.is_empty();
    let mut request = row(&[
        ("offset", offset.into()),
        ("event_id", format!("request-{offset}").as_str().into()),
        ("occurred_at", at(when).into()),
        ("recorded_at", at(when).into()),
        ("podcast_id", play.podcast.as_str().into()),
        ("episode_id", "one".into()),
        ("user_agent", "<script>agent</script>".into()),
        ("app", "Player".into()),
        ("country", "DE".into()),
        ("listener", Cell::Hash(listener)),
        ("household", Cell::Hash(household)),
        ("source", "api".into()),
        ("verdict", if counted { "counted" } else { "filtered" }.into()),
        ("counted_utc_day", counted.into()),
        ("counted_first_touch", counted.into()),
    ]);
    if !counted {
        request.insert("reason", reason.into());
    }
    request
}

fn conversion((offset, when): (i64, &str), (kind, value, currency): (&str, i64, &str), household: u8) -> Row {
    let hash = format!("{household:02x}").repeat(16);
    row(&[
        ("offset", offset.into()),
        ("event_id", format!("shop/{offset}").as_str().into()),
        ("occurred_at", at(when).into()),
        ("recorded_at", at(when).into()),
        ("data_set_id", "shop".into()),
        ("conversion_id", format!("order-{offset}").as_str().into()),
        ("event_type", kind.into()),
        ("value_minor", value.into()),
        ("currency", currency.into()),
        (
            "transaction_id",
            if offset == 12 { "order-10".to_owned() } else { format!("order-{offset}") }.as_str().into(),
        ),
        ("households", format!("[[24322,\"{hash}\"]]").as_str().into()),
        ("source", "api".into()),
        ("verified", true.into()),
        ("verdict", "counted".into()),
    ])
}

/// The credit of a conversion under every model, or of nobody.
fn credits(
    play: &Play,
    (offset, when): (i64, &str),
    (kind, micro, money): (&str, i64, i64),
    currency: &str,
) -> Vec<Row> {
    let credit = |campaign: &str, model: &str| {
        row(&[
            ("conversion_offset", offset.into()),
            ("campaign_id", campaign.into()),
            ("model", model.into()),
            ("occurred_at", at(when).into()),
            ("event_type", kind.into()),
            ("credit_micro", micro.into()),
            ("revenue_minor", money.into()),
            ("currency", currency.into()),
            ("verified", true.into()),
            ("household_month", 24_322.into()),
            ("household", Cell::Hash(1)),
        ])
    };
    match micro {
        -1 => vec![credit("", "none")],
        _ => Model::ALL.map(|model| credit(&play.campaign, model.name())).into(),
    }
}

impl Bench {
    /// The play on an account of its own.
    pub(super) async fn play(&self, name: &str) -> (Account<'_>, Play) {
        let account = self.sign_up(name).await;
        let podcast = account.podcast(name).await;
        let body = json!({
            "name": NAME, "advertiser": "Example & Söhne", "podcast_ids": [podcast], "data_set_ids": ["shop"],
            "starts_on": "2026-11-18", "ends_on": "2026-11-27", "currency": "USD",
            "budget": {"amount": 100_000, "currency": "USD"}, "price_model": {"cpm": {"amount": 2_512, "currency": "USD"}},
            "placements": [{"id": "pre", "position": "pre_roll"}], "lookback_days": 30,
        });
        let campaign = account.post("/v1/campaigns", &body).await.is(201).json()["id"].as_str().unwrap().to_owned();
        let attribution = json!({"promo_codes": [format!("{name}10")], "pixel": "off"});
        account.put(&format!("/v1/campaigns/{campaign}/attribution"), &attribution).await.is(200);
        account.post(&format!("/v1/campaigns/{campaign}/launch"), &json!({})).await.is(200);
        let play = Play { podcast, campaign };
        account.commit(play.rows()).await;
        (account, play)
    }
}

impl Play {
    /// One impression more.
    pub(super) fn later(&self) -> Vec<(Table, Vec<Row>)> {
        vec![(Table::AdDeliveries, vec![delivery(self, (5, "24T09:00"), (1, 1), [true, true, true])])]
    }

    /// 3 impressions by UTC day (of them 2 by last touch) and one by first touch only; 13 requests
    /// counted, 1 filtered; 5 conversions: 100 USD, nobody's, 20 USD taken back, 30 EUR, a visit.
    fn rows(&self) -> Vec<(Table, Vec<Row>)> {
        let deliveries = vec![
            delivery(self, (1, "20T10:00"), (1, 1), [true, true, true]),
            delivery(self, (2, "21T13:00"), (1, 1), [true, true, false]),
            delivery(self, (3, "21T14:00"), (2, 2), [true, true, true]),
            delivery(self, (4, "21T15:00"), (9, 9), [false, true, false]),
        ];
        // Eleven listeners behind household 2 on one day: it tells nobody apart.
        let mut requests: Vec<Row> =
            (0..11).map(|n| request(self, (i64::from(n) + 3, "21T14:00"), (n + 2, 2), "")).collect();
        requests.push(request(self, (1, "20T10:00"), (1, 1), ""));
        requests.push(request(self, (2, "21T13:00"), (1, 1), ""));
        requests.push(request(self, (20, "23T13:00"), (3, 3), "bot"));
        let conversions = vec![
            conversion((10, "22T12:00"), ("purchase", 10_000, "USD"), 1),
            conversion((11, "22T13:00"), ("purchase", 5_000, "USD"), 7),
            conversion((12, "22T14:00"), ("refund", 2_000, "USD"), 1),
            conversion((13, "23T14:00"), ("purchase", 3_000, "EUR"), 1),
            conversion((14, "23T15:00"), ("visit", 0, "USD"), 1),
        ];
        let credits = [
            credits(self, (10, "22T12:00"), ("purchase", 1_000_000, 10_000), "USD"),
            credits(self, (11, "22T13:00"), ("purchase", -1, 0), "USD"),
            credits(self, (12, "22T14:00"), ("refund", 0, -2_000), "USD"),
            credits(self, (13, "23T14:00"), ("purchase", 1_000_000, 3_000), "EUR"),
            credits(self, (14, "23T15:00"), ("visit", 1_000_000, 0), "USD"),
        ];
        let tally = |topic: &str, accepted: i64| {
            row(&[("topic", topic.into()), ("hour", at("24T09:00").into()), ("accepted", accepted.into())])
        };
        vec![
            (Table::AdDeliveries, deliveries),
            (Table::Requests, requests),
            (Table::Conversions, conversions),
            (Table::Credits, credits.concat()),
            (Table::Tallies, vec![tally("listener-requests", 14), tally("conversions", 5)]),
        ]
    }
}
