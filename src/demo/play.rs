//! The play: last week's log, the day at its speed, the report, and then on in real time.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use castback_connectors::http::ServerClient;
use castback_schemas::time::{DAY, HOUR, MINUTE, SECOND};
use castback_schemas::{Clock, Micros, SystemClock};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::balance::Balance;
use super::cast::CAMPAIGNS;
use super::listeners::Listeners;
use super::post::Sender;
use super::prepare::Prepared;
use super::process::Server;
use super::screen::Screen;
use super::sent::{Request, Sent};
use super::stage::Stage;
use crate::client::{Connection, fetch};

/// Ticks of a second.
const TICKS: u32 = 4;

/// Days before the day, whose requests come as an access log.
const DAYS_BEFORE: i64 = 6;

/// Visits of one of the days before, and of the day.
const VISITS: (i64, i64) = (2_400, 6_000);

/// Visits a day once the day is over: about one a second, so that something moves.
const VISITS_LIVE: i64 = 80_000;

/// Looks at the balance until nothing is pending, four a second.
const LOOKS: u32 = 240;

/// How this demo is played.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) data: PathBuf,
    /// What to type for this program.
    pub(crate) program: String,
    pub(crate) seed: u64,
    /// Simulated seconds of a second.
    pub(crate) speed: u32,
    /// Whether the server is killed at noon.
    pub(crate) crash: bool,
}

/// A demo under way.
#[derive(Debug)]
pub(crate) struct Play {
    scene: Scene,
    server: Server,
    client: ServerClient,
    stage: Stage,
    prepared: Prepared,
    sender: Sender,
    screen: Screen,
    /// The end of the day: when the demo began.
    now: Micros,
    balance: Option<Balance>,
    /// Records that an earlier demo left.
    earlier: u64,
    shown_why: bool,
}

impl Play {
    /// A play that can begin.
    pub(crate) fn new(
        scene: Scene,
        (server, client): (Server, ServerClient),
        (stage, prepared): (Stage, Prepared),
    ) -> anyhow::Result<Self> {
        let screen = Screen::new(u64::try_from(DAY / MINUTE)?)?;
        let sender = Sender::new(client.clone(), stage.clone());
        let now = SystemClock.now();
        let (balance, earlier, shown_why) = (None, 0, false);
        Ok(Self { scene, server, client, stage, prepared, sender, screen, now, balance, earlier, shown_why })
    }

    /// Plays on and on; ends by an error only.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        self.settle().await?;
        self.earlier = self.balance.as_ref().map_or(0, |balance| balance.accepted);
        self.introduce();
        self.days_before().await?;
        let tag = format!("{:x}-{:x}", self.scene.seed, self.now.0 / SECOND);
        let mut listeners = Listeners::new(self.scene.seed, (&tag, self.now.plus(-DAY)), VISITS.1);
        self.day(&mut listeners).await?;
        self.settle().await?;
        self.report().await?;
        listeners.hurry(VISITS_LIVE);
        self.screen.say("The day is over; listeners go on in real time. Ctrl-C ends the demo.");
        self.on(&mut listeners).await
    }

    /// Stops the server and leaves the identity standing.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        if let Ok(balance) = Balance::read(&self.client).await {
            self.balance = Some(balance);
        }
        let stopped = self.server.stop().await;
        self.screen.end(&self.balance.map(|balance| balance.line()).unwrap_or_default());
        stopped
    }

    fn introduce(&self) {
        let Scene { program, seed, .. } = &self.scene;
        let (base, login) = (self.client.base().as_str().trim_end_matches('/'), &self.prepared.login);
        let campaign = self.stage.campaigns.first().map(String::as_str).unwrap_or_default();
        let account = &self.prepared.account;
        self.screen.say(&format!(
            "Castback, everything embedded in ./castback-demo; the same day again: {program} demo --seed {seed}\n\n\
             Look (signed in, good once, for ten minutes):\n  {base}/login/{login}\n\
             Ask:\n  {program} sql --data castback-demo \"SELECT verdict, reason, COUNT(*) AS records FROM ledger \
             GROUP BY verdict, reason ORDER BY records DESC\"\n\
             Call:\n  curl -s -H \"Authorization: Bearer $(cat castback-demo/operator-key)\" \
             \"{base}/v1/campaigns/{campaign}/performance?account={account}\"\n"
        ));
    }

    /// Requests of the days before as the access log of one podcast's server, and what was bought in them.
    async fn days_before(&mut self) -> anyhow::Result<()> {
        self.screen.say(&format!("Posting the access log of the {DAYS_BEFORE} days before …"));
        let tag = format!("{:x}-{:x}-before", self.scene.seed, self.now.0 / SECOND);
        let begun = self.now.plus(-DAY - DAYS_BEFORE * DAY);
        let mut listeners = Listeners::new(self.scene.seed ^ 1, (&tag, begun), VISITS.0);
        for hours in (6..=24 * DAYS_BEFORE).step_by(6) {
            let all = listeners.until(begun.plus(hours * HOUR));
            let requests: Vec<&Request> = all.iter().filter_map(Sent::as_request).collect();
            let logged: Vec<&Request> = requests.into_iter().filter(|request| request.podcast == 0).collect();
            self.sender.send_log(0, &logged).await?;
            let bought: Vec<Sent> = all.iter().filter(|sent| matches!(sent, Sent::Conversion(_))).cloned().collect();
            self.sender.send(&bought).await?;
            self.look("the days before", 0).await?;
        }
        Ok(())
    }

    /// The day, at its speed.
    async fn day(&mut self, listeners: &mut Listeners) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_secs(1) / TICKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let step = i64::from(self.scene.speed) * SECOND / i64::from(TICKS);
        let begun = self.now.plus(-DAY);
        let (mut time, mut tick, mut crash_due) = (begun, 0_u32, self.scene.crash);
        while time < self.now {
            ticks.tick().await;
            time = time.plus(step).min(self.now);
            let all = listeners.until(time);
            self.why(&all);
            if crash_due && time >= begun.plus(DAY / 2) {
                crash_due = false;
                self.crash(&all).await?;
            } else {
                self.sender.send(&all).await?;
            }
            tick += 1;
            if tick % TICKS == 0 {
                let minute = u64::try_from((time.0 - begun.0) / MINUTE)?;
                self.look(&clock_of(time), minute).await?;
            }
        }
        Ok(())
    }

    /// Kills the server while it takes records, and starts it again.
    async fn crash(&mut self, all: &[Sent]) -> anyhow::Result<()> {
        let before = self.sender.acknowledged;
        self.screen
            .say(&format!("Killing the server (SIGKILL) with {before} records acknowledged, and more on their way …"));
        let (sent, restarted) = tokio::join!(self.sender.send(all), self.server.crash(&self.client));
        let took = restarted?;
        sent?;
        self.settle().await?;
        let line = self.balance.as_ref().map(Balance::line).unwrap_or_default();
        self.screen.say(&format!("It is back after {:.1} s, nothing is lost: {line}", took.as_secs_f64()));
        Ok(())
    }

    /// Waits until every record has its verdict, and checks that nothing acknowledged is missing.
    async fn settle(&mut self) -> anyhow::Result<()> {
        for _ in 0..LOOKS {
            let balance = Balance::read(&self.client).await?;
            let there = balance.accepted >= self.earlier + self.sender.acknowledged;
            let settled = balance.pending == 0 && balance.holds() && there;
            let line = balance.line();
            self.balance = Some(balance);
            if settled {
                return Ok(());
            }
            self.screen.show((u64::try_from(DAY / MINUTE)?, "waiting for the last verdicts"), &line);
            self.server.check()?;
            sleep(Duration::from_secs(1) / TICKS).await;
        }
        let line = self.balance.as_ref().map(Balance::line).unwrap_or_default();
        anyhow::bail!("{} records were acknowledged, but: {line}", self.sender.acknowledged)
    }

    /// The ROI report of the first campaign, as a file.
    async fn report(&mut self) -> anyhow::Result<()> {
        let campaign = self.stage.campaigns.first().context("no campaign")?;
        let body = json!({
            "kind": "roi", "campaign_id": campaign, "from": self.stage.flight.0, "to": self.now.day().next(),
        });
        let connection = Connection::of(self.client.base().clone(), self.prepared.key.expose_secret(), None)?;
        let file = self.scene.data.join("roi.pdf");
        fetch(&connection, (&body, "pdf"), &file, |_| ()).await.context("the report can't be made")?;
        let bytes = std::fs::metadata(&file)?.len();
        ensure!(bytes > 0, "the report is empty");
        self.screen.say(&format!(
            "The ROI report of \"{}\": ./castback-demo/roi.pdf ({} KB)",
            CAMPAIGNS[0].name,
            bytes / 1_000
        ));
        Ok(())
    }

    /// On in real time.
    async fn on(&mut self, listeners: &mut Listeners) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = SystemClock.now();
            let all = listeners.until(now);
            self.sender.send(&all).await?;
            self.look(&format!("{} live", clock_of(now)), u64::try_from(DAY / MINUTE)?).await?;
        }
    }

    /// Shows how far the day is, and the identity.
    async fn look(&mut self, time: &str, minute: u64) -> anyhow::Result<()> {
        self.server.check()?;
        let balance = Balance::read(&self.client).await?;
        let sent = self.sender.acknowledged + self.sender.glances;
        self.screen.show((minute, &format!("{time}  {sent} records sent")), &balance.line());
        self.balance = Some(balance);
        Ok(())
    }

    /// Once, the line that asks why a robot was not counted.
    fn why(&mut self, all: &[Sent]) {
        let robots = all.iter().filter_map(Sent::as_request).filter(|request| {
            request.agent.is_some_and(|agent| super::cast::BOTS.contains(&agent)) && request.method == "GET"
        });
        let Some(robot) = robots.into_iter().next().filter(|_| !self.shown_why) else { return };
        self.shown_why = true;
        let line = format!("Why:\n  {} why --data castback-demo {}\n", self.scene.program, robot.id);
        self.screen.say(&line);
    }
}

/// Hours and minutes of an instant (UTC).
fn clock_of(at: Micros) -> String {
    let minutes = at.0.rem_euclid(DAY) / MINUTE;
    format!("{:02}:{:02} UTC", minutes / 60, minutes % 60)
}
