//! Words that lead to one campaign only: promo codes within an account, vanity slugs everywhere.

use castback_schemas::campaign::Attribution;
use castback_schemas::id::{AccountId, CampaignId};

use crate::Catalogue;
use crate::campaigns::Campaign;
use crate::db::Tx;
use crate::error::{CatalogueError, Result};
use crate::stored::parsed;

const PROMO_CODE: &str = "promo_code";
const VANITY_SLUG: &str = "vanity_slug";

impl Catalogue {
    /// The campaign that a vanity slug leads to, whatever its account or state.
    pub async fn campaign_by_slug(&self, slug: &str) -> Result<Option<Campaign>> {
        let row = sqlx::query(
            "SELECT campaigns.account_id AS account_id, campaigns.campaign_id AS campaign_id FROM claims \
             JOIN campaigns ON campaigns.campaign_id = claims.campaign_id WHERE kind = $1 AND scope = '' AND word = $2",
        )
        .bind(VANITY_SLUG)
        .bind(claimed(slug))
        .fetch_optional(self.db.reads())
        .await?;
        match row {
            Some(row) => Ok(Some(self.campaign(parsed(&row, "account_id")?, parsed(&row, "campaign_id")?).await?)),
            None => Ok(None),
        }
    }
}

/// Makes the words of `attribution` the campaign's, and no others.
pub(crate) async fn replace(
    tx: &mut Tx,
    (account, campaign): (AccountId, CampaignId),
    attribution: &Attribution,
) -> Result<()> {
    sqlx::query("DELETE FROM claims WHERE campaign_id = $1").bind(campaign.to_string()).execute(&mut *tx).await?;
    for code in &attribution.promo_codes {
        claim(tx, campaign, Claim { kind: PROMO_CODE, scope: account.to_string(), word: claimed(code) }).await?;
    }
    if let Some(slug) = &attribution.vanity_slug {
        claim(tx, campaign, Claim { kind: VANITY_SLUG, scope: String::new(), word: claimed(slug) }).await?;
    }
    Ok(())
}

struct Claim {
    kind: &'static str,
    scope: String,
    word: String,
}

async fn claim(tx: &mut Tx, campaign: CampaignId, claim: Claim) -> Result<()> {
    // The same word twice in one campaign is the same claim.
    let owner: String = sqlx::query_scalar(
        "INSERT INTO claims (kind, scope, word, campaign_id) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, scope, word) DO UPDATE SET word = excluded.word RETURNING campaign_id",
    )
    .bind(claim.kind)
    .bind(claim.scope)
    .bind(claim.word)
    .bind(campaign.to_string())
    .fetch_one(tx)
    .await?;
    if owner == campaign.to_string() { Ok(()) } else { Err(CatalogueError::InUse(claim.kind)) }
}

/// Words are compared without case.
fn claimed(word: &str) -> String {
    word.trim().to_lowercase()
}
