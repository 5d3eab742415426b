//! Sealing what must be kept but not read: free properties and the bytes of dead letters.
//!
//! XChaCha20-Poly1305 under a key derived from the subject's own. The nonce is a keyed hash of
//! context and content, so no randomness is needed and no nonce is used for two different
//! contents; equal contents in one context are equal when sealed. With the subject's key gone,
//! what was sealed is noise.
//!
//! ```text
//! nonce 24 bytes · ciphertext · tag 16 bytes
//! ```

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use crate::edge::hash::HashKey;

const NONCE: usize = 24;
const SEALING: &str = "castback 2026 sealing key";
const NONCES: &str = "castback 2026 sealing nonces";

/// Sealed bytes that this key and context do not open: altered, of another subject, or of one
/// whose key is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes were not sealed with this key in this context")]
pub struct NotSealed;

/// Seals `content` under a subject's key. `context` (such as the event's id) must be given again
/// to open it. Fails only for a content of more than 256 GiB.
pub fn seal(key: &HashKey, context: &[u8], content: &[u8]) -> Result<Vec<u8>, NotSealed> {
    let mut chosen = blake3::Hasher::new_keyed(&derived(NONCES, key));
    // The length keeps context and content from shifting into one another.
    chosen.update(&(context.len() as u64).to_le_bytes()).update(context).update(content);
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&chosen.finalize().as_bytes()[..NONCE]);
    let payload = Payload { msg: content, aad: context };
    let sealed = cipher(key).encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| NotSealed)?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens what [`seal`] made.
pub fn open(key: &HashKey, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotSealed> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE).ok_or(NotSealed)?;
    let payload = Payload { msg: ciphertext, aad: context };
    cipher(key).decrypt(XNonce::from_slice(nonce), payload).map_err(|_| NotSealed)
}

fn cipher(key: &HashKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(Key::from_slice(&derived(SEALING, key)))
}

/// A key for one purpose: what is hashed under the subject's key is never encrypted under it.
fn derived(purpose: &str, key: &HashKey) -> [u8; 32] {
    blake3::derive_key(purpose, key.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: HashKey = HashKey::from_bytes([3; 32]);

    proptest! {
        #[test]
        fn what_was_sealed_opens_only_with_key_and_context(content: Vec<u8>, context: Vec<u8>) {
            let sealed = seal(&KEY, &context, &content).unwrap();
            prop_assert_eq!(sealed.len(), NONCE + content.len() + 16);
            prop_assert_eq!(open(&KEY, &context, &sealed).unwrap(), content);
            prop_assert_eq!(open(&HashKey::from_bytes([4; 32]), &context, &sealed), Err(NotSealed));
            prop_assert_eq!(open(&KEY, &[context.as_slice(), b"x"].concat(), &sealed), Err(NotSealed));
        }
    }

    #[test]
    fn an_altered_byte_is_seen() {
        let sealed = seal(&KEY, b"id", b"content").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(open(&KEY, b"id", &altered), Err(NotSealed), "byte {at}");
        }
        assert_eq!(open(&KEY, b"id", &sealed[..NONCE - 1]), Err(NotSealed));
        assert_ne!(sealed, seal(&KEY, b"id2", b"content").unwrap());
    }
}
