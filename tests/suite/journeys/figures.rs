//! Two campaigns on one podcast, their listeners and customers, and the figures that must come out.

use serde_json::{Value, json};

use crate::oracle::access_log::{date_of, rfc3339};
use crate::oracle::attribution::{
    Campaign, Conversion, Credit, Impression, Placement, credits, impressions, is_conversion, reach, spend,
};
use crate::oracle::credit::MODELS;
use crate::oracle::{DAY, Request, SECOND, day_of, intervals};
use crate::support::clock;
use crate::support::traffic::{AGENTS, episodes, oracle};

const HOUR: i64 = 3600 * SECOND;

/// What is played: requests, two campaigns, conversions.
pub(crate) struct Play {
    pub(crate) requests: Vec<Request>,
    pub(crate) campaigns: [Campaign; 2],
    pub(crate) conversions: Vec<Conversion>,
    impressions: Vec<Impression>,
}

/// The figures of one campaign under one model.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) impressions: usize,
    pub(super) reach: (usize, usize),
    pub(super) spend: i64,
    pub(super) revenue: i64,
    pub(super) conversions: f64,
    pub(super) unattributed: usize,
    pub(super) roas_bounds: (f64, f64),
}

impl Play {
    pub(crate) fn new(podcast: &str) -> Self {
        let midnight = day_of(clock::now()) * DAY;
        let requests = requests(podcast, midnight);
        let campaigns = [campaign(podcast, midnight, "TENOFF"), campaign(podcast, midnight, "TWENTYOFF")];
        let [mut early, mut middle] = campaigns;
        early.placements = vec![placement("pre", &episodes()[0].guid, (0, 100_000))];
        middle.placements = vec![placement("mid", &episodes()[1].guid, (1_000_000, 1_200_000))];
        let campaigns = [early, middle];
        let impressions = impressions(&oracle(podcast), &requests, &campaigns, 0);
        Self { requests, campaigns, conversions: conversions(midnight), impressions }
    }

    pub(super) fn figures(&self, campaign: usize, model: &str) -> Figures {
        let all = credits(&self.campaigns, &self.impressions, &self.conversions, model);
        let own: Vec<&Credit> = all.iter().filter(|credit| credit.campaign == campaign).collect();
        let kind = |credit: &Credit| self.conversions[credit.conversion].kind.as_str();
        let of = |credit: &&Credit| parts(credit.share.0) / parts(credit.share.1);
        let spent = spend(&self.campaigns[campaign], self.count(campaign));
        let credited: Vec<f64> = own.iter().map(|credit| minor(credit.revenue)).collect();
        let converted = self.conversions.iter().enumerate().filter(|(_, conversion)| is_conversion(&conversion.kind));
        Figures {
            impressions: self.count(campaign),
            reach: reach(&self.impressions, campaign),
            spend: spent,
            revenue: own.iter().map(|credit| credit.revenue).sum(),
            conversions: own.iter().filter(|credit| is_conversion(kind(credit))).map(of).sum(),
            unattributed: converted.filter(|(index, _)| !all.iter().any(|credit| credit.conversion == *index)).count(),
            roas_bounds: intervals::roas(&credited, minor(spent)),
        }
    }

    fn count(&self, campaign: usize) -> usize {
        self.impressions.iter().filter(|impression| impression.campaign == campaign).count()
    }
}

/// A share's term as a float; both terms of a share lose the same.
fn parts(term: i128) -> f64 {
    f64::from(i32::try_from(term >> if term > 1 << 30 { 32 } else { 0 }).expect("at most 2^63"))
}

fn minor(amount: i64) -> f64 {
    f64::from(i32::try_from(amount).expect("a small amount"))
}

fn placement(id: &str, guid: &str, bytes: (u64, u64)) -> Placement {
    Placement { id: id.to_owned(), guids: vec![guid.to_owned()], dynamic: false, bytes: Some(bytes), seconds: None }
}

fn campaign(podcast: &str, midnight: i64, code: &str) -> Campaign {
    let today = day_of(midnight);
    Campaign {
        podcasts: vec![podcast.to_owned()],
        data_sets: vec!["shop".to_owned()],
        flight: (today - 6, today + 6),
        lookback_days: 30,
        promo_codes: vec![code.to_owned()],
        placements: Vec::new(),
        cpm: 2_512,
        budget: 100_000,
    }
}

/// Twelve households, each with both episodes, the one or the other first; some leave the second before its ad, some
/// hear one again days later, and one loads a file in pieces.
fn requests(podcast: &str, midnight: i64) -> Vec<Request> {
    let mut requests = Vec::new();
    for household in 1..=12_u8 {
        let second_is_short = household % 3 == 0;
        let first_day = if household % 2 == 0 { 4 } else { 3 };
        let mut heard =
            vec![(0, first_day, 4_800_000), (1, 7 - first_day, if second_is_short { 600_000 } else { 9_600_000 })];
        if household > 8 {
            heard.push((0, 2, 4_800_000));
        }
        for (episode, day, bytes) in heard {
            let number = requests.len();
            requests.push(Request {
                id: format!("heard-{number:03}"),
                podcast: podcast.to_owned(),
                url: episodes()[episode].url.clone(),
                at: midnight - day * DAY + i64::from(household) * HOUR + SECOND,
                method: "GET".to_owned(),
                status: 200,
                bytes_sent: Some(bytes),
                agent: Some(AGENTS[usize::from(household % 3)].0.to_owned()),
                address: format!("198.51.100.{household}").parse().ok(),
                ..Request::default()
            });
        }
    }
    for (piece, (from, to)) in [(0_u64, 500_000), (500_000, 900_000), (900_000, 1_300_000)].into_iter().enumerate() {
        let mut request = requests[1].clone();
        request.id = format!("piece-{piece}");
        request.address = "203.0.113.5".parse().ok();
        request.at += 60 * SECOND * i64::try_from(piece).expect("small");
        (request.status, request.range) = (206, Some(format!("bytes={from}-{}", to - 1)));
        request.bytes_sent = Some(to - from);
        requests.push(request);
    }
    requests
}

/// Customers: shared, repeated, by code, by nobody, taken back.
fn conversions(midnight: i64) -> Vec<Conversion> {
    let mut all = Vec::new();
    let mut add = |kind: &str, value_minor, address: &str, hour: i64| {
        let id = format!("order-{}", all.len());
        all.push(Conversion {
            data_set: "shop".to_owned(),
            transaction: Some(id.clone()),
            id,
            kind: kind.to_owned(),
            at: midnight - DAY + hour * HOUR,
            value_minor,
            address: address.parse().ok(),
            coupon: None,
        });
        all.len() - 1
    };
    add("purchase", 10_000, "198.51.100.1", 1);
    add("purchase", 4_999, "198.51.100.2", 2);
    add("subscribe", 1_201, "198.51.100.3", 3);
    add("donate", 333, "198.51.100.9", 4);
    let by_code = add("purchase", 7_777, "203.0.113.200", 5);
    let by_nobody = add("purchase", 8_888, "203.0.113.201", 6);
    let refund = add("refund", 2_000, "203.0.113.200", 7);
    add("purchase", 555, "203.0.113.5", 8);
    add("generate_lead", 0, "198.51.100.4", 9);
    let lower = add("purchase", 1_501, "198.51.100.10", 10);
    assert!(by_nobody > by_code);
    all[by_code].coupon = Some("TENOFF".to_owned());
    all[lower].coupon = Some("tenoff".to_owned());
    all[refund].transaction = all[by_code].transaction.clone();
    all
}

/// The campaign as the contract has it.
pub(super) fn campaign_json(campaign: &Campaign, name: &str) -> Value {
    let placements: Vec<Value> = campaign
        .placements
        .iter()
        .map(|placement| {
            let (from, to) = placement.bytes.expect("known bytes");
            json!({"id": placement.id, "position": "mid_roll", "episode_guids": placement.guids,
                   "dynamic": false, "from_byte": from, "to_byte": to})
        })
        .collect();
    json!({
        "name": name,
        "advertiser": "Example & Söhne",
        "podcast_ids": campaign.podcasts,
        "data_set_ids": campaign.data_sets,
        "starts_on": date_of(campaign.flight.0),
        "ends_on": date_of(campaign.flight.1),
        "currency": "USD",
        "budget": {"amount": campaign.budget, "currency": "USD"},
        "price_model": {"cpm": {"amount": campaign.cpm, "currency": "USD"}},
        "placements": placements,
        "lookback_days": campaign.lookback_days,
    })
}

/// The conversion as ECAPI 1.0 has it: seconds, and the value in major units.
pub(super) fn conversion_json(conversion: &Conversion) -> Value {
    let value: Value =
        serde_json::from_str(&format!("{}.{:02}", conversion.value_minor / 100, conversion.value_minor % 100))
            .expect("a number");
    let mut event = json!({
        "data_set_id": conversion.data_set,
        "id": conversion.id,
        "event_type": conversion.kind,
        "timestamp": conversion.at / SECOND,
        "user_data": {"event_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"},
        "properties": {"transaction_id": conversion.transaction},
    });
    if let Some(address) = conversion.address {
        event["user_data"]["event_ip_address"] = json!(address.to_string());
    }
    if let Some(coupon) = &conversion.coupon {
        event["properties"]["coupon"] = json!(coupon);
    }
    if conversion.value_minor > 0 {
        event["value"] = value;
        event["currency_code"] = json!("USD");
    }
    event
}

#[test]
fn the_play_has_every_part() {
    let play = Play::new("p");
    assert!(play.requests.iter().all(|request| request.at < clock::now()), "{}", rfc3339(clock::now()));
    for campaign in [0, 1] {
        let figures: Vec<Figures> = MODELS.iter().map(|model| play.figures(campaign, model)).collect();
        assert!(
            figures.iter().all(|figures| figures.impressions > 5 && figures.revenue > 0 && figures.unattributed == 1)
        );
        assert!(figures[2].revenue != figures[0].revenue || figures[2].revenue != figures[1].revenue);
    }
    let both: f64 = [0, 1].map(|campaign| play.figures(campaign, "time_decay").conversions).iter().sum();
    let attributed = play.conversions.iter().filter(|conversion| is_conversion(&conversion.kind)).count() - 1;
    assert!((both - f64::from(u32::try_from(attributed).expect("few"))).abs() < 1e-6, "{both} of {attributed}");
}
