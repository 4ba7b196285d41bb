//! The events of behest 0.3.3 and what they consist of, with the crate's fields.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum RunStatus {
    Pending,
    SessionLoaded,
    BuildingContext,
    CallingModel,
    WaitingForTools,
    Persisting,
    Completed,
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Stop,
    ToolCalls,
    Length,
    ContentFilter,
    Error,
    Unknown(String),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TokenUsage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub total_tokens: u64,
}

impl TokenUsage {
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        let total_tokens = input_tokens + output_tokens;
        Self { input_tokens, output_tokens, total_tokens }
    }
}

#[derive(Deserialize)]
pub struct RunRecord {
    pub id: Uuid,
    pub session_id: Uuid,
    pub status: RunStatus,
    pub provider: String,
    pub model: String,
    pub metadata: Value,
    pub client_request_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub struct RunEventRecord {
    pub sequence: u64,
    pub run_id: Uuid,
    pub event: AgentEvent,
    pub timestamp: DateTime<Utc>,
}

/// Declares an event's struct. `run_id` is the item's key where behest keeps the event, and not in it.
macro_rules! event {
    ($name:ident { $($field:ident: $type:ty),* }) => {
        #[derive(Deserialize)]
        pub struct $name {
            #[serde(default)]
            pub run_id: Option<Uuid>,
            $(pub $field: $type,)*
            pub timestamp: DateTime<Utc>,
        }
    };
}

event!(RunStarted { session_id: Option<Uuid>, provider: String, model: String });
event!(ContextBuilt { message_count: usize });
event!(ModelStarted { provider: String, model: String, iteration: usize });
event!(TextDelta { delta: String });
event!(ToolCallStarted { call_id: String, tool_name: String });
event!(ToolCallDelta { call_id: String, delta: String });
event!(ToolCallCompleted { call: ToolCall });
event!(ToolExecutionStarted { call_id: String, tool_name: String });
event!(ToolExecutionFinished { call_id: String, tool_name: String, result: ToolExecutionResult, duration_ms: u64 });
event!(MessageCommitted { message_id: Uuid });
event!(UsageRecorded { usage: TokenUsage });
event!(RunCompleted { finish_reason: FinishReason, iterations: usize });
event!(RunFailed { error: String });
event!(RunCancelled {});
event!(DoomLoopDetected { description: String });
event!(CompactionCircuitOpened { consecutive_failures: u32 });

#[derive(Deserialize)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: Value,
}

#[derive(Deserialize)]
pub enum ToolExecutionResult {
    Success { output: Value },
    Failure { error: String },
}

/// Declares the enum of all events twice: as the crate writes them, `{"TextDelta": {…}}`, and as behest does,
/// `{"type": "TextDelta", …}`.
macro_rules! vocabulary {
    ($($variant:ident($type:ty)),* $(,)?) => {
        #[derive(Deserialize)]
        pub enum AgentEvent { $($variant($type),)* }

        #[derive(Deserialize)]
        #[serde(tag = "type")]
        pub enum TaggedEvent { $($variant($type),)* }

        impl From<TaggedEvent> for AgentEvent {
            fn from(event: TaggedEvent) -> Self {
                match event { $(TaggedEvent::$variant(of) => Self::$variant(of),)* }
            }
        }
    };
}

vocabulary! {
    RunStarted(RunStarted),
    ContextBuilt(ContextBuilt),
    ModelStarted(ModelStarted),
    TextDelta(TextDelta),
    ToolCallStarted(ToolCallStarted),
    ToolCallDelta(ToolCallDelta),
    ToolCallCompleted(ToolCallCompleted),
    ToolExecutionStarted(ToolExecutionStarted),
    ToolExecutionFinished(ToolExecutionFinished),
    AssistantMessageCommitted(MessageCommitted),
    ToolMessageCommitted(MessageCommitted),
    UsageRecorded(UsageRecorded),
    RunCompleted(RunCompleted),
    RunFailed(RunFailed),
    RunCancelled(RunCancelled),
    DoomLoopDetected(DoomLoopDetected),
    CompactionCircuitOpened(CompactionCircuitOpened),
}
