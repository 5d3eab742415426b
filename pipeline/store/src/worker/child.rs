//! The worker's side.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::time::Instant;

use super::protocol::{Limits, Request, write_answer};
use crate::error::StoreError;
use crate::session::{self, Answer, SqlError};
use crate::store::Store;

/// Stack of the planning thread: planners recurse over expressions as long as the guard allows.
const PLANNING_STACK: usize = 64 * 1024 * 1024;
/// Stack of threads that run the plan.
const RUNNING_STACK: usize = 8 * 1024 * 1024;
/// Threads that decode.
const DECODERS: usize = 4;
/// Files open at once: the object store's, one per decoder, and what the runtime needs.
const OPEN_FILES: u64 = 256;
/// Exit code when the parent has gone.
const ABANDONED: i32 = 3;

/// Reads one request, answers it, and returns; ends the process when `input` closes before.
///
/// # Errors
/// A request that can't be read, limits that can't be set, an output that is closed.
pub fn main(mut input: impl Read + Send + 'static, mut output: impl Write) -> io::Result<()> {
    let request = Request::read(&mut input)?;
    confine(&request.limits)?;
    thread::Builder::new().spawn(move || {
        let mut byte = [0; 1];
        // Nothing more is sent: whatever comes, the parent has the answer or gave up.
        drop(input.read(&mut byte));
        std::process::exit(ABANDONED);
    })?;
    let started = Instant::now();
    let planning = thread::Builder::new().stack_size(PLANNING_STACK).spawn(move || answer(&request))?;
    let answer = planning.join().unwrap_or(Err(SqlError::Unreadable(StoreError::BrokenOff)));
    write_answer(&mut output, answer, started.elapsed())
}

/// Limits this process: memory, open files, no core dump, no written file.
fn confine(limits: &Limits) -> io::Result<()> {
    // The kernel's first choice when the machine runs out of memory; where there is no such file
    // the limits below still hold.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
    let process = Some(limits.process_bytes);
    let of = |resource, most| setrlimit(resource, Rlimit { current: most, maximum: most });
    of(Resource::Data, process)?;
    of(Resource::Nofile, Some(OPEN_FILES))?;
    of(Resource::Core, Some(0))?;
    of(Resource::Fsize, Some(0))?;
    Ok(())
}

fn answer(request: &Request) -> Result<Answer, SqlError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(DECODERS)
        .thread_stack_size(RUNNING_STACK)
        .enable_all()
        .build()
        .map_err(|_| SqlError::Unreadable(StoreError::BrokenOff))?;
    let answer = runtime.block_on(async {
        let store = Store::open(&request.address).map_err(SqlError::Unreadable)?;
        let view = Arc::new(request.view.clone());
        let source = session::Source::new(store, view, request.scope);
        let context = session::session(&source, &request.catalogue, request.limits.pool_bytes)?;
        session::run(&context, &request.sql, &request.params, request.limits.rows).await
    });
    // What still decodes goes with the process.
    runtime.shutdown_background();
    let answer = answer?;
    let bytes: usize = answer.batches.iter().map(arrow::array::RecordBatch::get_array_memory_size).sum();
    if bytes > request.limits.answer_bytes { Err(SqlError::Memory) } else { Ok(answer) }
}
