//! HMAC-SHA256 signatures of webhooks, in and out, compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::time::{MINUTE, Micros, SECOND};

/// How far a signed time may be from ours, either way, in microseconds: five minutes, as
/// Standard Webhooks and Stripe recommend. An older message may be a replay.
pub const TOLERANCE: i64 = 5 * MINUTE;

/// The HMAC-SHA256 of `parts`, one after the other.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // RFC 2104: a key longer than the hash's block is hashed, a shorter one padded with zeros.
    let mut block = [0; 64];
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Whether `signature`, in hexadecimal, is the HMAC-SHA256 of `parts` (Stripe's `v1`).
#[must_use]
pub fn verify_hex(key: &[u8], parts: &[&[u8]], signature: &str) -> bool {
    let Ok(given) = hex::decode(signature) else { return false };
    given.ct_eq(&hmac_sha256(key, parts)).into()
}

/// Why a webhook was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The secret is not `whsec_` and base64.
    #[error("the webhook secret is not whsec_ and base64")]
    Secret,
    /// The time header is no number of seconds.
    #[error("the webhook's time is not a number of seconds")]
    Time,
    /// The time is more than [`TOLERANCE`] from ours.
    #[error("the webhook's time is more than five minutes from ours")]
    Stale,
    /// No signature in the header is ours.
    #[error("no signature of the webhook matches")]
    Mismatch,
}

/// The signed headers of a Standard Webhooks message (`webhook-id`, `webhook-timestamp`).
#[derive(Debug, Clone, Copy)]
pub struct WebhookHeaders<'a> {
    /// The message's id, the same at every attempt.
    pub id: &'a str,
    /// When it was sent, in seconds since 1970, as text.
    pub timestamp: &'a str,
}

/// The `webhook-signature` of a message under Standard Webhooks: `v1,` and base64.
pub fn sign_webhook(secret: &str, headers: WebhookHeaders<'_>, body: &[u8]) -> Result<String, SignatureError> {
    let tag = webhook_tag(secret, headers, body)?;
    Ok(format!("v1,{}", STANDARD.encode(tag)))
}

/// Checks a Standard Webhooks message: `signatures` is the `webhook-signature` header, which
/// may hold several, separated by spaces; one match is enough (secrets are rotated).
pub fn verify_webhook(
    secret: &str,
    headers: WebhookHeaders<'_>,
    body: &[u8],
    signatures: &str,
) -> Result<(), SignatureError> {
    let tag = webhook_tag(secret, headers, body)?;
    let matches = |signature: &str| -> bool {
        let Some(text) = signature.strip_prefix("v1,") else { return false };
        STANDARD.decode(text).is_ok_and(|given| given.ct_eq(&tag).into())
    };
    if signatures.split(' ').any(matches) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Checks that a signed time, in seconds since 1970, is within [`TOLERANCE`] of `now`.
pub fn verify_time(seconds: &str, now: Micros) -> Result<(), SignatureError> {
    let sent: i64 = seconds.parse().map_err(|_| SignatureError::Time)?;
    let age = now.0.saturating_sub(sent.saturating_mul(SECOND));
    if age.saturating_abs() <= TOLERANCE { Ok(()) } else { Err(SignatureError::Stale) }
}

fn webhook_tag(secret: &str, headers: WebhookHeaders<'_>, body: &[u8]) -> Result<[u8; 32], SignatureError> {
    let encoded = secret.strip_prefix("whsec_").ok_or(SignatureError::Secret)?;
    let key = STANDARD.decode(encoded).map_err(|_| SignatureError::Secret)?;
    let parts = [headers.id.as_bytes(), b".", headers.timestamp.as_bytes(), b".", body];
    Ok(hmac_sha256(&key, &parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the Standard Webhooks specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const HEADERS: WebhookHeaders<'_> = WebhookHeaders { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: "1614265330" };
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn hmac_is_rfc_4231s() {
        let cases: [(&[u8], &[u8], &str); 2] = [
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, tag) in cases {
            let (head, tail) = message.split_at(5);
            assert_eq!(hex::encode(hmac_sha256(key, &[head, tail])), tag);
            assert!(verify_hex(key, &[message], tag));
            assert!(!verify_hex(key, &[message, b"."], tag));
            assert!(!verify_hex(key, &[message], &tag[..62]));
            assert!(!verify_hex(key, &[message], "not hex"));
        }
    }

    #[test]
    fn a_webhook_is_signed_and_believed() {
        assert_eq!(sign_webhook(SECRET, HEADERS, BODY).unwrap(), SIGNATURE);
        let rotated = format!("v1,b3RoZXI= v2,AAAA {SIGNATURE}");
        assert_eq!(verify_webhook(SECRET, HEADERS, BODY, &rotated), Ok(()));
    }

    #[test]
    fn another_body_id_time_or_secret_is_not() {
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(verify_webhook(SECRET, HEADERS, b"{}", SIGNATURE), mismatch);
        assert_eq!(verify_webhook(SECRET, WebhookHeaders { id: "msg_2", ..HEADERS }, BODY, SIGNATURE), mismatch);
        assert_eq!(
            verify_webhook(SECRET, WebhookHeaders { timestamp: "1614265331", ..HEADERS }, BODY, SIGNATURE),
            mismatch
        );
        assert_eq!(verify_webhook(SECRET, HEADERS, BODY, ""), mismatch);
        assert_eq!(verify_webhook("plain", HEADERS, BODY, SIGNATURE), Err(SignatureError::Secret));
    }

    #[test]
    fn a_time_is_believed_within_five_minutes() {
        let now = Micros::from_seconds(1_000_000);
        for (seconds, result) in [
            ("1000000", Ok(())),
            ("999700", Ok(())),
            ("1000300", Ok(())),
            ("999699", Err(SignatureError::Stale)),
            ("1000301", Err(SignatureError::Stale)),
            ("9223372036854775807", Err(SignatureError::Stale)),
            ("soon", Err(SignatureError::Time)),
        ] {
            assert_eq!(verify_time(seconds, now), result, "{seconds}");
        }
    }
}
