//! How many conversions an account can have: their ids are unique for life and remembered as such.

use castback_schemas::table::Table;
use castback_schemas::{AccountId, Slot, Topic};
use castback_store::balance::Cutoffs;
use castback_store::session::Scope;

use crate::App;
use crate::problem::{Code, Problem, Result};

/// Conversion ids of an account, for life: each is a few dozen bytes of the memory of who judges.
pub(crate) const FOR_LIFE: i64 = if cfg!(test) { 1_000 } else { 10_000_000 };

/// Seconds after which it is worth to ask again: only a larger installation helps.
const LATER: u32 = 86_400;

/// Whether the account can have another conversion.
///
/// # Errors
/// [`Code::RateLimited`]: it has as many as it can. What was posted meanwhile may be a little more.
pub(crate) async fn for_conversions(app: &App, account: AccountId) -> Result<()> {
    let view = app.reads.pinned(&app.catalogue).await?;
    let pieces = view.pieces(Table::Conversions, Slot::of(account));
    // Of all accounts of the slot, with what was sent twice: mostly this is answer enough.
    let at_most: u64 = pieces.iter().map(castback_store::Piece::rows).sum();
    if i64::try_from(at_most).is_ok_and(|rows| rows < FOR_LIFE) {
        return Ok(());
    }
    let balances = app.store.balance_of_all(&view, Scope::Account(account), &Cutoffs::new()).await?;
    let held = balances.and_then(|balances| Some(balances.get(&Topic::Conversions)?.counted)).unwrap_or(0);
    if held < FOR_LIFE {
        return Ok(());
    }
    let said = format!(
        "the account holds {FOR_LIFE} conversions, whose ids are unique for life: no more are taken; \
         send others to another account"
    );
    Err(Problem::new(Code::RateLimited, said).retry_after(LATER))
}
