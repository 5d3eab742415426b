//! Runs of background agents, as the operator sees them.

use castback_schemas::Micros;
use castback_schemas::time::DAY;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::Catalogue;
use crate::error::Result;
use crate::stored::{column, parsed};

/// How long runs are kept.
pub const RUN_LIFE: i64 = 30 * DAY;

/// A run of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRun {
    /// Its id.
    pub id: Uuid,
    /// Which agent.
    pub agent: String,
    /// When it began.
    pub started_at: Micros,
    /// When it ended; none while it runs, or if its process died.
    pub finished_at: Option<Micros>,
    /// `succeeded`, `failed` or a word of the agent's own.
    pub outcome: Option<String>,
    /// What it did, in words.
    pub detail: Option<String>,
}

impl Catalogue {
    /// Notes that a run begins; answers its id. Forgets runs older than [`RUN_LIFE`].
    pub async fn start_agent_run(&self, agent: &str) -> Result<Uuid> {
        let (id, agent, now) = (self.new_uuid(), agent.to_owned(), self.now());
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM agent_runs WHERE agent = $1 AND started_at < $2")
                        .bind(agent.clone())
                        .bind(now.plus(-RUN_LIFE).0)
                        .execute(&mut *tx)
                        .await?;
                    sqlx::query("INSERT INTO agent_runs (run_id, agent, started_at) VALUES ($1, $2, $3)")
                        .bind(id.to_string())
                        .bind(agent)
                        .bind(now.0)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await?;
        Ok(id)
    }

    /// Notes how a run ended.
    pub async fn finish_agent_run(&self, run: Uuid, outcome: &str, detail: &str) -> Result<()> {
        let (outcome, detail, now) = (outcome.to_owned(), detail.to_owned(), self.now().0);
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE agent_runs SET finished_at = $2, outcome = $3, detail = $4 WHERE run_id = $1")
                        .bind(run.to_string())
                        .bind(now)
                        .bind(outcome)
                        .bind(detail)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The newest run of every agent, by the agent's name.
    pub async fn newest_agent_runs(&self) -> Result<Vec<AgentRun>> {
        let rows = sqlx::query(
            "SELECT run_id, agent, started_at, finished_at, outcome, detail FROM agent_runs WHERE started_at = \
             (SELECT MAX(other.started_at) FROM agent_runs AS other WHERE other.agent = agent_runs.agent) ORDER BY agent, run_id",
        )
        .fetch_all(self.db.reads())
        .await?;
        rows.iter().map(run_of).collect()
    }

    /// The newest runs of all agents.
    pub async fn agent_runs(&self, limit: u16) -> Result<Vec<AgentRun>> {
        let rows = sqlx::query(
            "SELECT run_id, agent, started_at, finished_at, outcome, detail FROM agent_runs \
             ORDER BY started_at DESC, run_id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.db.reads())
        .await?;
        rows.iter().map(run_of).collect()
    }
}

fn run_of(row: &AnyRow) -> Result<AgentRun> {
    Ok(AgentRun {
        id: parsed(row, "run_id")?,
        agent: column(row, "agent")?,
        started_at: Micros(column(row, "started_at")?),
        finished_at: column::<Option<i64>>(row, "finished_at")?.map(Micros),
        outcome: column(row, "outcome")?,
        detail: column(row, "detail")?,
    })
}
