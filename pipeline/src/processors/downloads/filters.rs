//! The filters of one request, with the answers about user agents remembered.

use std::sync::Arc;

use castback_rules::agents::Agent;
use castback_rules::filter::{Answer, FilterInput, FilterReason, Subject, judge_as};
use castback_rules::lists::{DatedLists, Lists};
use castback_schemas::edge::NetworkClass;
use hashbrown::HashMap;

use super::rows::Requests;

/// User agents remembered per version of the lists; all are forgotten when there are more.
/// A day's traffic has some thousands; a flood of made-up ones costs time, not memory.
const MAX_REMEMBERED: usize = 20_000;

/// The dated lists, and what they said of user agents.
#[derive(Debug)]
pub struct RuleSets {
    lists: DatedLists,
    remembered: HashMap<Box<str>, Agent>,
    /// Of which version.
    version: Option<Arc<Lists>>,
}

impl RuleSets {
    /// Rules over `lists`.
    #[must_use]
    pub fn new(lists: DatedLists) -> Self {
        Self { lists, remembered: HashMap::new(), version: None }
    }

    /// The first reason to filter a row, but for `rate` and `below_threshold`.
    pub(super) fn judge(&mut self, rows: &Requests<'_>, row: usize, subject: Subject) -> Option<FilterReason> {
        let lists = Arc::clone(self.lists.at(rows.occurred_at(row)));
        let answer = Answer { status: rows.status(row), bytes_sent: rows.bytes_sent(row) };
        let input = FilterInput {
            subject,
            method: rows.method(row),
            answer: (!rows.by_prefix(row)).then_some(answer),
            range: rows.range(row),
            user_agent: rows.user_agent(row),
            network: rows.network(row).parse().unwrap_or(NetworkClass::Unknown),
            referer: rows.referer(row),
        };
        judge_as(&input, self.agent(&lists, input.user_agent.unwrap_or_default()), &lists)
    }

    /// The app that made a request, by the lists.
    pub(super) fn app(&mut self, rows: &Requests<'_>, row: usize) -> Option<Arc<str>> {
        let lists = Arc::clone(self.lists.at(rows.occurred_at(row)));
        let agent = self.agent(&lists, rows.user_agent(row)?).clone();
        Some(Arc::clone(lists.agents.app_name(&agent, rows.referer(row))))
    }

    fn agent(&mut self, lists: &Arc<Lists>, user_agent: &str) -> &Agent {
        let same = self.version.as_ref().is_some_and(|version| Arc::ptr_eq(version, lists));
        if !same || self.remembered.len() > MAX_REMEMBERED {
            self.remembered.clear();
            self.version = Some(Arc::clone(lists));
        }
        self.remembered.entry_ref(user_agent).or_insert_with(|| lists.agents.classify(user_agent).clone())
    }
}
