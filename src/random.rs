//! Where randomness enters the program: the operating system's, drawn once for every use.

use anyhow::Context;
use rand::TryRngCore;
use rand::rngs::OsRng;

/// 32 fresh random bytes.
pub(crate) fn bytes() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).context("the operating system gives no random bytes")?;
    Ok(bytes)
}
