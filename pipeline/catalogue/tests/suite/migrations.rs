//! Catalogues as every migration has left them, with rows in them, brought to this version.
//!
//! Where to add: a migration has its line in `recorded/checksums.txt`, which says that it never changes again, and a file
//! `recorded/<number>.sql` with rows as that version wrote them.

use std::fmt::Write;

use castback_catalogue::Catalogue;
use castback_catalogue::installation::Common;
use castback_catalogue::podcasts::DownloadWindow;
use castback_schemas::campaign::CampaignState;
use castback_schemas::{Micros, Revision};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, Connection};

/// The migrations as this version has them.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// What every one of them was when it came.
const CHECKSUMS: &str = include_str!("recorded/checksums.txt");

/// Rows by the migration that they came with.
const ROWS: &[(i64, &str)] = &[
    (1, include_str!("recorded/0001.sql")),
    (2, include_str!("recorded/0002.sql")),
    (3, include_str!("recorded/0003.sql")),
    (4, include_str!("recorded/0004.sql")),
    (5, include_str!("recorded/0005.sql")),
    (6, include_str!("recorded/0006.sql")),
    (7, include_str!("recorded/0007.sql")),
    (10, include_str!("recorded/0010.sql")),
    (11, include_str!("recorded/0011.sql")),
    (12, include_str!("recorded/0012.sql")),
];

#[test]
fn a_migration_never_changes_and_has_rows() {
    let mut now = String::new();
    for migration in MIGRATIONS.iter() {
        let digits = migration.checksum.iter().fold(String::new(), |all, byte| all + &format!("{byte:02x}"));
        writeln!(now, "{} {digits}", migration.version).unwrap();
        assert!(ROWS.iter().any(|(version, _)| *version == migration.version), "{} has no rows", migration.version);
    }
    assert_eq!(now, CHECKSUMS, "whoever has it already would be refused: write another migration");
}

on_every_database! {
    async fn every_earlier_catalogue_is_brought_to_this_version(house) {
        for (version, _) in ROWS {
            let url = house.beside(&format!("before_{version}")).await;
            leave(&url, *version).await;
            let catalogue = Catalogue::open(&url, house.clock.clone(), [3; 32]).await.unwrap();
            read_back(&catalogue, *version).await;
            works(&catalogue).await;
            catalogue.close().await.unwrap();
        }
    }
}

/// Leaves a database as a process of that version would.
async fn leave(url: &str, version: i64) {
    let options = if url.starts_with("sqlite:") { "?mode=rwc" } else { "" };
    let mut connection = AnyConnection::connect(&format!("{url}{options}")).await.unwrap();
    MIGRATIONS.run_direct(Some(version), &mut connection, false).await.unwrap();
    for (_, rows) in ROWS.iter().filter(|(of, _)| *of <= version) {
        sqlx::raw_sql(*rows).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// What was written under `version` is there.
async fn read_back(catalogue: &Catalogue, version: i64) {
    let id = |last: u8| format!("018f0000-0000-7000-8000-00000000000{last}");
    let (installation, account) = (catalogue.installation(), id(4).parse().unwrap());
    assert_eq!(installation.id.to_string(), id(1));
    assert_eq!(installation.account.to_string(), id(2));
    assert_eq!(catalogue.newest_commit().await.unwrap(), Revision(7));
    if version >= 2 {
        let units = catalogue.units().await.unwrap();
        assert_eq!((units[0].unit.to_string().as_str(), units[0].epoch), ("counting/3", 4));
        assert_eq!(units[0].positions.0["listener-requests"], 12);
        catalogue.view(None).await.unwrap();
    }
    if version >= 3 {
        assert_eq!(catalogue.account(account).await.unwrap().tier, "professional");
        assert_eq!(catalogue.account(installation.account).await.unwrap().tier, "enterprise");
        let kept = if version >= 10 { Micros(1_772_300_000_000_000) } else { Micros(0) };
        assert_eq!(catalogue.kept_from(account).await.unwrap(), kept);
    }
    if version >= 4 {
        let podcast = catalogue.podcast(account, id(6).parse().unwrap()).await.unwrap();
        assert_eq!((podcast.title.as_deref(), podcast.window), (Some("A podcast"), DownloadWindow::LastTouch24h));
        assert_eq!(podcast.facts["language"], "en");
    }
    if version >= 5 {
        let campaign = catalogue.campaign(account, id(7).parse().unwrap()).await.unwrap();
        assert_eq!((campaign.state, campaign.version), (CampaignState::Active, 3));
        assert_eq!((campaign.terms.budget, campaign.terms.attribution.promo_codes.len()), (Some(100_000), 1));
    }
    if version >= 6 {
        assert_eq!(catalogue.schema(1).await.unwrap().as_deref(), Some("\"long\""));
        assert_eq!(catalogue.subject_versions("a-value").await.unwrap().len(), 1);
    }
    if version >= 7 {
        assert_eq!(catalogue.relay_position("topics").await.unwrap(), Revision(6));
    }
    if version >= 11 {
        let polls = catalogue.feed_polls(account, 10).await.unwrap();
        assert_eq!((polls[0].outcome.as_str(), polls[0].status, polls[0].episodes), ("fetched", Some(200), Some(3)));
    }
    if version >= 12 {
        // Once only: the account has had its first.
        assert_eq!(catalogue.note_first_value(account).await.unwrap(), None);
    }
}

/// It can be written, too.
async fn works(catalogue: &Catalogue) {
    let held = catalogue.take("now", 1).await.unwrap();
    assert!(held.iter().all(|held| held.epoch == 5), "{held:?}");
    assert_eq!(catalogue.record_common(Common::Secret, "x").await.unwrap(), "x");
}
