//! Secrets: where they come from, how a token is written, what is stored of it.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use crate::stored::{base64url, bytes};

/// Random bytes of a token: 256 bits, so a plain hash of it can be stored.
const TOKEN_BYTES: usize = 32;

/// A cryptographic generator from the seed that was passed in.
#[derive(Debug)]
pub(crate) struct Secrets(Mutex<StdRng>);

impl Secrets {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(Mutex::new(StdRng::from_seed(seed)))
    }

    /// 32 fresh random bytes.
    pub(crate) fn bytes(&self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// A fresh token: `prefix`, then 48 letters of random bytes and their CRC-32, so that a
    /// mistyped or cut token is told without asking the database.
    pub(crate) fn token(&self, prefix: &str) -> String {
        let mut payload = self.bytes().to_vec();
        payload.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
        format!("{prefix}{}", base64url(payload))
    }
}

/// What is stored of a token of that prefix; nothing if it can't be one.
pub(crate) fn token_hash(token: &str, prefix: &str) -> Option<String> {
    let payload = bytes(token.strip_prefix(prefix)?)?;
    let (random, checksum) = payload.split_at_checked(TOKEN_BYTES)?;
    (crc32fast::hash(random).to_be_bytes() == checksum).then(|| base64url(Sha256::digest(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_form_and_a_wrong_letter_is_seen() {
        let secrets = Secrets::new([7; 32]);
        let token = secrets.token("cb_");
        assert_eq!(token.len(), 51);
        assert_ne!(token, secrets.token("cb_"));
        assert!(token_hash(&token, "cb_").is_some());
        assert!(token_hash(&token, "cb_pub_").is_none());
        assert!(token_hash(&secrets.token("cb_pub_"), "cb_").is_none());
        for i in 3..token.len() {
            let mut wrong = token.clone().into_bytes();
            wrong[i] = if wrong[i] == b'A' { b'B' } else { b'A' };
            assert!(token_hash(&String::from_utf8(wrong).unwrap(), "cb_").is_none(), "letter {i}");
        }
        assert!(token_hash(&token[..50], "cb_").is_none());
    }
}
