//! Keys of keyed hashes, kept for a while so that no record asks the catalogue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use castback_catalogue::Catalogue;
use castback_catalogue::hash_keys::MonthKey;
use castback_schemas::edge::HashKey;
use castback_schemas::time::MINUTE;
use castback_schemas::{AccountId, Micros, Month};

use crate::problem::Problem;

/// How long a key is used without asking again: a destroyed key is used that much longer at most.
const KEPT: Duration = Duration::from_mins(1);

/// Accounts whose keys are kept; of more, the least used are asked for again.
const MAX_ACCOUNTS: u64 = 10_000;

/// Months whose keys are kept: thirty years.
const MAX_MONTHS: u64 = 360;

/// How often the catalogue is told that a month's key is in use: its life is counted in days.
const TOUCHED_EVERY: i64 = 10 * MINUTE;

/// The keys of this process.
#[derive(Debug)]
pub(crate) struct KeyRings {
    accounts: moka::sync::Cache<AccountId, HashKey>,
    /// None: the key has died.
    months: moka::sync::Cache<Month, Option<HashKey>>,
    touched: Mutex<BTreeMap<Month, Micros>>,
    /// What the catalogue said last: what redirects see is written on while it is away.
    last: Mutex<BTreeMap<Month, Option<HashKey>>>,
}

impl Default for KeyRings {
    fn default() -> Self {
        Self {
            accounts: moka::sync::Cache::builder().max_capacity(MAX_ACCOUNTS).time_to_live(KEPT).build(),
            months: moka::sync::Cache::builder().max_capacity(MAX_MONTHS).time_to_live(KEPT).build(),
            touched: Mutex::default(),
            last: Mutex::default(),
        }
    }
}

impl KeyRings {
    /// The account's key, made at its first use.
    pub(crate) async fn account(&self, catalogue: &Catalogue, account: AccountId) -> Result<HashKey, Problem> {
        if let Some(key) = self.accounts.get(&account) {
            return Ok(key);
        }
        let key = HashKey::from_bytes(catalogue.account_key(account).await?.0);
        self.accounts.insert(account, key.clone());
        Ok(key)
    }

    /// The account's key was destroyed.
    pub(crate) fn forget(&self, account: AccountId) {
        self.accounts.invalidate(&account);
    }

    /// As if their time were over.
    #[cfg(test)]
    pub(crate) fn forget_months(&self) {
        self.months.invalidate_all();
    }

    /// The month's key, made at its first use; none once it has died.
    pub(crate) async fn month(&self, catalogue: &Catalogue, month: Month) -> Result<Option<HashKey>, Problem> {
        if let Some(key) = self.months.get(&month) {
            return Ok(key);
        }
        let key = match catalogue.month_key(month).await {
            Ok(MonthKey::Alive(key)) => Some(HashKey::from_bytes(key.0)),
            Ok(MonthKey::Dead) => None,
            Err(error) => {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&month).cloned();
                return last.filter(|_| error.retryable()).ok_or_else(|| error.into());
            }
        };
        self.months.insert(month, key.clone());
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(month, key.clone());
        Ok(key)
    }

    /// Notes that records of these months came, so that their keys live on.
    pub(crate) async fn touch(
        &self,
        catalogue: &Catalogue,
        months: &BTreeSet<Month>,
        now: Micros,
    ) -> Result<(), Problem> {
        let due: Vec<Month> = {
            let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |month: &&Month| touched.get(month).is_none_or(|at| now.0 - at.0 >= TOUCHED_EVERY);
            months.iter().filter(is_due).copied().collect()
        };
        for month in due {
            catalogue.touch_month(month, now).await?;
            self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(month, now);
        }
        Ok(())
    }
}

/// Month keys as one batch needs them, asked for from a thread that may block.
pub(crate) struct MonthKeys {
    app: Arc<crate::App>,
    runtime: tokio::runtime::Handle,
    known: BTreeMap<Month, Option<HashKey>>,
    used: BTreeSet<Month>,
}

impl MonthKeys {
    /// Call it where a runtime is; use it where blocking is allowed.
    pub(crate) fn new(app: Arc<crate::App>) -> Self {
        Self { app, runtime: tokio::runtime::Handle::current(), known: BTreeMap::new(), used: BTreeSet::new() }
    }

    /// The key of a month, none once it has died.
    pub(crate) fn get(&mut self, month: Month) -> Result<Option<&HashKey>, Problem> {
        if !self.known.contains_key(&month) {
            let key = self.runtime.block_on(self.app.keys.month(&self.app.catalogue, month))?;
            self.known.insert(month, key);
        }
        let key = self.known.get(&month).and_then(Option::as_ref);
        if key.is_some() {
            self.used.insert(month);
        }
        Ok(key)
    }

    /// The months whose keys were used.
    pub(crate) fn into_used(self) -> BTreeSet<Month> {
        self.used
    }
}
