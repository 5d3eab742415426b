//! Corruption: what happens to bytes on the way, and what somebody does to them on purpose.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Longest input; what the parsers refuse by length is tested where the lengths are.
const LONGEST: usize = 64 * 1024;

/// Pieces that parsers have stumbled over.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"\"",
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"<![CDATA[",
    b"]]>",
    b"<!DOCTYPE a [<!ENTITY b \"c\">]>",
    b"&b;",
    b"&#0;",
    b"&#x110000;",
    b"<a",
    b"</",
    b"--",
    b"/*",
    b";",
    b"(",
    b"[[[[[[[[",
    b"{\"a\":",
    b"null",
    b"true",
    b"-1",
    b"1e400",
    b"NaN",
    b"9223372036854775808",
    b"18446744073709551616",
    b"1970-01-01T00:00:00Z",
    b"9999-12-31T23:59:60Z",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x8e\x99",
    b"\xe2\x80\xae",
    b"\xc0\xaf",
];

/// A kept input with one to six corruptions.
pub(super) fn mutate(corpus: &[Vec<u8>], randomness: &mut StdRng) -> Vec<u8> {
    let mut input = corpus.choose(randomness).cloned().unwrap_or_default();
    for _ in 0..randomness.random_range(1..=6) {
        corrupt(&mut input, corpus, randomness);
    }
    input.truncate(LONGEST);
    input
}

fn corrupt(input: &mut Vec<u8>, corpus: &[Vec<u8>], randomness: &mut StdRng) {
    let at = randomness.random_range(0..=input.len());
    let end = randomness.random_range(at..=input.len().min(at + 64));
    match randomness.random_range(0..8) {
        0 if at < input.len() => input[at] ^= 1 << randomness.random_range(0..8),
        1 if at < input.len() => input[at] = randomness.random(),
        2 => drop(input.drain(at..end)),
        3 => {
            let copy = input[at..end].to_vec();
            let times = randomness.random_range(1..40);
            input.splice(at..at, copy.repeat(times));
        }
        4 => input.truncate(at),
        5 => {
            let other = corpus.choose(randomness).map(Vec::as_slice).unwrap_or_default();
            let from = randomness.random_range(0..=other.len());
            input.splice(at..end, other[from..].iter().copied());
        }
        _ => {
            let piece = PIECES.choose(randomness).copied().unwrap_or_default();
            input.splice(at..at, piece.iter().copied());
        }
    }
}
