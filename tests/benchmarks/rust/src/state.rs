//! The fold, with the crate's semantics: what each event does to the state of a run.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::events::{AgentEvent, FinishReason, RunEventRecord, RunRecord, RunStatus, TokenUsage};

#[derive(Serialize)]
pub struct RunState {
    pub run_id: Uuid,
    pub session_id: Uuid,
    pub status: RunStatus,
    pub provider: String,
    pub model: String,
    pub metadata: Value,
    pub iteration: usize,
    pub total_usage: TokenUsage,
    pub last_finish: Option<FinishReason>,
    pub last_error: Option<String>,
    pub event_count: usize,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl RunState {
    /// A run of which nothing is known yet.
    pub fn blank() -> Self {
        Self {
            run_id: Uuid::nil(),
            session_id: Uuid::nil(),
            status: RunStatus::Pending,
            provider: String::new(),
            model: String::new(),
            metadata: Value::Null,
            iteration: 0,
            total_usage: TokenUsage::new(0, 0),
            last_finish: None,
            last_error: None,
            event_count: 0,
            created_at: DateTime::<Utc>::MIN_UTC,
            updated_at: DateTime::<Utc>::MIN_UTC,
        }
    }

    /// The state that a run's record and its events make.
    pub fn create(record: &RunRecord, events: &[RunEventRecord]) -> Self {
        let mut state = Self {
            run_id: record.id,
            session_id: record.session_id,
            provider: record.provider.clone(),
            model: record.model.clone(),
            metadata: record.metadata.clone(),
            event_count: events.len(),
            created_at: record.created_at,
            updated_at: events.last().map_or(record.updated_at, |last| last.timestamp),
            ..Self::blank()
        };
        for event in events {
            state.apply(&event.event);
        }
        state
    }

    /// Fold one event into the state.
    pub fn apply(&mut self, event: &AgentEvent) {
        use AgentEvent as E;
        self.updated_at = match event {
            E::RunStarted(of) => {
                self.status = RunStatus::SessionLoaded;
                self.provider = of.provider.clone();
                self.model = of.model.clone();
                of.timestamp
            }
            E::ModelStarted(of) => {
                self.status = RunStatus::CallingModel;
                self.iteration = of.iteration;
                of.timestamp
            }
            E::UsageRecorded(of) => {
                let sum = self.total_usage;
                self.total_usage = TokenUsage::new(
                    sum.input_tokens + of.usage.input_tokens,
                    sum.output_tokens + of.usage.output_tokens,
                );
                of.timestamp
            }
            E::RunCompleted(of) => {
                self.status = RunStatus::Completed;
                self.last_finish = Some(of.finish_reason.clone());
                of.timestamp
            }
            E::RunFailed(of) => {
                self.status = RunStatus::Failed;
                self.last_error = Some(of.error.clone());
                of.timestamp
            }
            E::RunCancelled(of) => {
                self.status = RunStatus::Cancelled;
                of.timestamp
            }
            E::ContextBuilt(of) => of.timestamp,
            E::TextDelta(of) => of.timestamp,
            E::ToolCallStarted(of) => of.timestamp,
            E::ToolCallDelta(of) => of.timestamp,
            E::ToolCallCompleted(of) => of.timestamp,
            E::ToolExecutionStarted(of) => of.timestamp,
            E::ToolExecutionFinished(of) => of.timestamp,
            E::AssistantMessageCommitted(of) | E::ToolMessageCommitted(of) => of.timestamp,
            E::DoomLoopDetected(of) => of.timestamp,
            E::CompactionCircuitOpened(of) => of.timestamp,
        };
    }
}
