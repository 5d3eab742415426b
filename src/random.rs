//! Where randomness enters the program: the operating system's, drawn once for every use.

use std::fmt::Write;

use anyhow::Context;
use rand::TryRngCore;
use rand::rngs::OsRng;

/// 32 fresh random bytes.
pub(crate) fn bytes() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).context("the operating system gives no random bytes")?;
    Ok(bytes)
}

/// Bytes as hexadecimal digits, two a byte.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
