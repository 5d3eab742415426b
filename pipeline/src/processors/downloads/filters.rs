//! The filters of one request, with the answers about user agents remembered.

use std::sync::Arc;

use castback_rules::agents::Agent;
use castback_rules::filter::{Answer, FilterInput, FilterReason, Subject, judge_agent, judge_as};
use castback_rules::lists::{DatedLists, Lists};
use castback_schemas::Micros;
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
    remembered: HashMap<Box<str>, Remembered>,
    /// Of which version.
    version: Option<Arc<Lists>>,
}

/// What the lists say of a user agent.
#[derive(Debug)]
struct Remembered {
    agent: Agent,
    /// What speaks against it.
    against: Option<FilterReason>,
}

impl RuleSets {
    /// Rules over `lists`.
    #[must_use]
    pub fn new(lists: DatedLists) -> Self {
        Self { lists, remembered: HashMap::new(), version: None }
    }

    /// The first reason to filter a row, but for `rate` and `below_threshold`.
    pub(super) fn judge(&mut self, rows: &Requests<'_>, row: usize, subject: Subject) -> Option<FilterReason> {
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
        let (agent, lists) = self.agent(rows.occurred_at(row), input.user_agent);
        judge_as(&input, agent.against, lists)
    }

    /// The app that made a request, by the lists.
    pub(super) fn app<'a>(&'a mut self, rows: &Requests<'_>, row: usize) -> Option<&'a str> {
        let user_agent = rows.user_agent(row)?;
        let (known, lists) = self.agent(rows.occurred_at(row), Some(user_agent));
        Some(lists.agents.app_name(&known.agent, rows.referer(row)))
    }

    fn agent(&mut self, at: Micros, user_agent: Option<&str>) -> (&Remembered, &Lists) {
        let Self { lists, remembered, version } = self;
        let lists = lists.at(at);
        let same = version.as_ref().is_some_and(|version| Arc::ptr_eq(version, lists));
        if !same || remembered.len() > MAX_REMEMBERED {
            remembered.clear();
            *version = Some(Arc::clone(lists));
        }
        let known = remembered.entry_ref(user_agent.unwrap_or_default()).or_insert_with(|| {
            let agent = lists.agents.classify(user_agent.unwrap_or_default()).clone();
            Remembered { against: judge_agent(user_agent, &agent), agent }
        });
        (known, lists)
    }
}
