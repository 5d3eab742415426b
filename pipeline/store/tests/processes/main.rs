//! What happens to processes: workers that die, compactions that are killed.
//!
//! This binary is the tests and, called with a name, the process that they start.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests without the standard harness")]

mod kill;
#[path = "../../src/samples.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod samples;
mod worker;
mod world;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|name| name == "sql-worker") {
        let answered = castback_store::worker::main(std::io::stdin(), std::io::stdout().lock());
        std::process::exit(i32::from(answered.is_err()));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let (Some("compact"), Some(directory)) = (arguments.get(1).map(String::as_str), arguments.get(2)) {
        runtime.block_on(kill::compact(directory.as_ref()));
        return;
    }
    runtime.block_on(async {
        worker::check().await;
        println!("worker: ok");
        kill::check().await;
        println!("kill: ok");
    });
}
