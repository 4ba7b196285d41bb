//! What `make bench` compares behest with: the same bytes, read by serde_json into typed structs and folded as the Rust crate
//! behest 0.3.3 folds them, in memory.
//!
//! The functions at the end are called from Python, in one process with behest's own, so that one clock measures both in turns.
//! Each returns how many events it folded, or -1 where the bytes can't be read.

mod events;
mod state;

use std::hint::black_box;
use std::io::Read;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use events::{AgentEvent, RunEventRecord, RunRecord, TaggedEvent};
use state::RunState;

#[derive(Deserialize)]
struct Line {
    record: RunRecord,
    events: Vec<RunEventRecord>,
}

/// What of a Lambda call's body the fold needs: the new image's sequence and its events, as text or as compressed bytes.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    dynamodb: StreamRecord,
}

#[derive(Deserialize)]
struct StreamRecord {
    #[serde(rename = "NewImage")]
    new_image: Image,
}

#[derive(Deserialize)]
struct Image {
    run_id: Attribute,
    /// The run record's item has none.
    events: Option<Attribute>,
}

#[derive(Deserialize)]
enum Attribute {
    S(String),
    B(String),
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Read and fold runs in the crate's own JSON, a line each.
pub fn lines(bytes: &[u8], mut done: impl FnMut(RunState)) -> Outcome<usize> {
    let mut events = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let run: Line = serde_json::from_slice(line)?;
        events += run.events.len();
        done(RunState::create(&run.record, &run.events));
    }
    Ok(events)
}

/// Read and fold the commits of one run: JSON arrays of events, one behind the other, a line each.
fn commits(bytes: &[u8]) -> Outcome<usize> {
    let mut state = RunState::blank();
    for commit in bytes.split(|byte| *byte == b'\n').filter(|commit| !commit.is_empty()) {
        fold(&mut state, commit)?;
    }
    Ok(black_box(&state).event_count)
}

/// Read the body of a Lambda call and fold its commits, which are those of one run after the other.
fn body(bytes: &[u8]) -> Outcome<usize> {
    let body: Body = serde_json::from_slice(bytes)?;
    let (mut events, mut run_id, mut state) = (0, String::new(), RunState::blank());
    for record in body.records {
        let image = record.dynamodb.new_image;
        if let Attribute::S(of) = image.run_id {
            if of != run_id {
                events += black_box(&state).event_count;
                (run_id, state) = (of, RunState::blank());
            }
        }
        match image.events {
            None => {}
            Some(Attribute::S(text)) => fold(&mut state, text.as_bytes())?,
            Some(Attribute::B(text)) => {
                let mut unpacked = Vec::new();
                ZlibDecoder::new(&base64::decode(text)?[..]).read_to_end(&mut unpacked)?;
                fold(&mut state, &unpacked)?;
            }
        }
    }
    Ok(events + black_box(&state).event_count)
}

fn fold(state: &mut RunState, commit: &[u8]) -> Outcome<()> {
    let events: Vec<TaggedEvent> = serde_json::from_slice(commit)?;
    state.event_count += events.len();
    for event in events {
        state.apply(&AgentEvent::from(event));
    }
    Ok(())
}

/// # Safety
/// `start` has to point to `length` bytes.
unsafe fn counted(start: *const u8, length: usize, work: impl Fn(&[u8]) -> Outcome<usize>) -> i64 {
    work(std::slice::from_raw_parts(start, length)).map_or(-1, |events| events as i64)
}

/// # Safety
/// `start` has to point to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn fold_lines(start: *const u8, length: usize) -> i64 {
    counted(start, length, |bytes| lines(bytes, |state| drop(black_box(state))))
}

/// # Safety
/// `start` has to point to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn fold_commits(start: *const u8, length: usize) -> i64 {
    counted(start, length, commits)
}

/// # Safety
/// `start` has to point to `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn fold_body(start: *const u8, length: usize) -> i64 {
    counted(start, length, body)
}
