//! Every parser that meets strangers' bytes, fed with corrupted ones: none may panic, hang or answer differently twice.
//!
//! A target is a row of `TARGETS` (in this process, fast) or of `over_http::ENDPOINTS` (the whole way) and a folder of
//! `corpus`, kept in the tree; what once broke something goes there too. `CASTBACK_FUZZ=200000` sets the number of cases
//! per target, `CASTBACK_SEED` repeats a run.

mod mutate;
mod over_http;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::seed;

/// Cases per target of the short form.
const CASES: usize = 2_000;

fn cases(short: usize) -> usize {
    std::env::var("CASTBACK_FUZZ").map_or(short, |text| text.parse().expect("CASTBACK_FUZZ is a number"))
}

/// The kept inputs of a target; there must be some.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file of the corpus").path()).collect();
    files.sort();
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a readable file")).collect();
    assert!(!inputs.is_empty(), "no corpus for {target}");
    inputs
}

#[test]
fn no_parser_breaks_on_corrupted_input() {
    let seed = seed("no_parser_breaks_on_corrupted_input");
    let cases = cases(CASES);
    for (target, run) in targets::TARGETS {
        let corpus = corpus(target);
        let mut randomness = StdRng::seed_from_u64(seed);
        for case in 0..cases {
            // The kept inputs come first, as they are.
            let input = match corpus.get(case) {
                Some(kept) => kept.clone(),
                None => mutate::mutate(&corpus, &mut randomness),
            };
            if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
                let text = String::from_utf8_lossy(&input);
                panic!("{target}, case {case}: broken by\n{text}\nas hexadecimal: {}", hexadecimal(&input));
            }
        }
        println!("{target}: {cases} cases from {} kept inputs", corpus.len());
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
