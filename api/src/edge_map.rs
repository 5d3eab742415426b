//! What redirects and pixels need to know of podcasts and campaigns, in memory.
//!
//! A listener's player must get its file while the catalogue is away, and no redirect may wait
//! for it. So every process holds hosts, slugs and landing pages, reads what changed every second
//! (one cheap read when nothing did), and answers from what it has when it can't.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use castback_catalogue::directory::DirectoryRows;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::campaign::{CampaignState, CampaignVersion, PixelUse};
use castback_schemas::{AccountId, CampaignId, PodcastId};
use tokio::sync::Mutex;
use url::Url;

use crate::App;

/// How often changes made by other processes are looked for.
const REFRESH: Duration = Duration::from_secs(1);

/// A podcast, as a prefix redirect needs it.
#[derive(Debug, Clone)]
pub(crate) struct PodcastEdge {
    pub(crate) account: AccountId,
    deleted: bool,
    /// Hosts of its enclosures and whether one of them is served by HTTPS.
    hosts: HashMap<String, bool>,
}

impl PodcastEdge {
    /// The scheme to redirect to a host with; none if no enclosure is there.
    pub(crate) fn scheme_of(&self, host: &str) -> Option<&'static str> {
        let secure = self.hosts.get(&host.to_ascii_lowercase())?;
        Some(if *secure { "https" } else { "http" })
    }
}

/// A campaign, as a pixel or a vanity address needs it.
#[derive(Debug, Clone)]
pub(crate) struct CampaignEdge {
    pub(crate) id: CampaignId,
    pub(crate) account: AccountId,
    pub(crate) state: CampaignState,
    pub(crate) landing_url: Option<String>,
    pub(crate) slug: Option<String>,
    /// The first data set; the campaign's own id if it has none.
    pub(crate) data_set: String,
    pub(crate) pixel: PixelUse,
    pub(crate) currency: castback_schemas::Currency,
}

#[derive(Debug, Clone, Default)]
struct Snapshot {
    change: i64,
    podcasts: HashMap<PodcastId, Arc<PodcastEdge>>,
    campaigns: HashMap<CampaignId, Arc<CampaignEdge>>,
    slugs: HashMap<String, CampaignId>,
}

/// The newest snapshot.
#[derive(Debug)]
pub(crate) struct EdgeMap {
    newest: RwLock<Arc<Snapshot>>,
    /// One reader of changes at a time; who comes second finds them read.
    reading: Mutex<()>,
}

impl EdgeMap {
    /// Everything there is.
    pub(crate) async fn load(catalogue: &Catalogue) -> Result<Self, CatalogueError> {
        let map = Self { newest: RwLock::default(), reading: Mutex::new(()) };
        map.refresh(catalogue).await?;
        Ok(map)
    }

    /// Reads what changed since.
    pub(crate) async fn refresh(&self, catalogue: &Catalogue) -> Result<(), CatalogueError> {
        let _turn = self.reading.lock().await;
        let before = self.newest();
        let rows = catalogue.directory_since(before.change).await?;
        if rows.change > before.change {
            let after = Arc::new(Snapshot::clone(&before).with(rows));
            *self.newest.write().unwrap_or_else(PoisonError::into_inner) = after;
        }
        Ok(())
    }

    pub(crate) fn podcast(&self, id: PodcastId) -> Option<Arc<PodcastEdge>> {
        self.newest().podcasts.get(&id).filter(|podcast| !podcast.deleted).cloned()
    }

    pub(crate) fn campaign(&self, id: CampaignId) -> Option<Arc<CampaignEdge>> {
        self.newest().campaigns.get(&id).cloned()
    }

    /// The campaign of a vanity address, once it was launched.
    pub(crate) fn slug(&self, slug: &str) -> Option<Arc<CampaignEdge>> {
        let newest = self.newest();
        let id = newest.slugs.get(&slug.trim().to_lowercase())?;
        newest.campaigns.get(id).filter(|campaign| campaign.state != CampaignState::Draft).cloned()
    }

    fn newest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Snapshot {
    /// Rows come in the order of their changes: the last one of a thing is how it is now.
    fn with(mut self, rows: DirectoryRows) -> Self {
        self.change = rows.change;
        for version in rows.podcasts {
            let podcast = self.podcast_mut(version.podcast, version.account);
            podcast.deleted = version.deleted;
        }
        for version in rows.episodes {
            let hosts = hosts_of(version.podcast, &version.facts.enclosure_url);
            let podcast = self.podcast_mut(version.podcast, version.account);
            for (host, secure) in hosts {
                *podcast.hosts.entry(host).or_default() |= secure;
            }
        }
        for (account, version) in rows.campaigns {
            self.put_campaign(account, version);
        }
        self
    }

    fn podcast_mut(&mut self, id: PodcastId, account: AccountId) -> &mut PodcastEdge {
        let new = || Arc::new(PodcastEdge { account, deleted: false, hosts: HashMap::new() });
        Arc::make_mut(self.podcasts.entry(id).or_insert_with(new))
    }

    fn put_campaign(&mut self, account: AccountId, version: CampaignVersion) {
        let CampaignVersion { campaign: id, state, terms, .. } = version;
        let slug = terms.attribution.vanity_slug.map(|slug| slug.trim().to_lowercase());
        let before = self.campaigns.get(&id).and_then(|known| known.slug.clone());
        if let Some(before) = before.filter(|before| self.slugs.get(before) == Some(&id)) {
            self.slugs.remove(&before);
        }
        if let Some(slug) = &slug {
            self.slugs.insert(slug.clone(), id);
        }
        let edge = CampaignEdge {
            id,
            account,
            state,
            slug,
            landing_url: terms.landing_url,
            data_set: terms.data_set_ids.into_iter().next().unwrap_or_else(|| id.to_string()),
            pixel: terms.attribution.pixel,
            currency: terms.currency,
        };
        self.campaigns.insert(id, Arc::new(edge));
    }
}

/// The hosts that an enclosure's address leads to: its own and, behind our own prefix, the file's.
fn hosts_of(podcast: PodcastId, enclosure: &str) -> Vec<(String, bool)> {
    let behind = enclosure.split_once(&format!("/e/{podcast}/")).map(|(_, rest)| format!("https://{rest}"));
    let urls = [Some(enclosure.to_owned()), behind];
    let host = |url: String| {
        let url = Url::parse(&url).ok()?;
        let name = url.host_str()?.to_ascii_lowercase();
        let host = url.port().map_or(name.clone(), |port| format!("{name}:{port}"));
        Some((host, url.scheme() == "https"))
    };
    urls.into_iter().flatten().filter_map(host).collect()
}

impl App {
    /// Keeps what redirects know fresh until the server stops.
    pub(crate) async fn keep_edges_fresh(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(REFRESH) => {}
            }
            if let Err(error) = self.edges.refresh(&self.catalogue).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "redirects answer from what was known");
            }
        }
    }

    /// Brings a change made here into what redirects know; the answer need not fail for it.
    pub(crate) async fn refresh_edges(&self) {
        if let Err(error) = self.edges.refresh(&self.catalogue).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a change is not known to redirects yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_enclosures_also_behind_our_prefix() {
        let podcast: PodcastId = "01890000-0000-7000-8000-000000000001".parse().unwrap();
        let hosts = |url: &str| hosts_of(podcast, url).into_iter().map(|(host, _)| host).collect::<Vec<_>>();
        assert_eq!(hosts("https://Media.example/a.mp3"), ["media.example"]);
        assert_eq!(hosts("http://media.example:8080/a.mp3"), ["media.example:8080"]);
        let ours = format!("https://cast.example/e/{podcast}/media.example/a.mp3");
        assert_eq!(hosts(&ours), ["cast.example", "media.example"]);
        assert_eq!(hosts("no address"), [""; 0]);
    }
}
