//! Keyed hashes: how addresses and ids are remembered without being kept.
//!
//! All are BLAKE3 under a 256-bit key, cut to 128 bits, each with a first byte (a tag) of
//! its own, so that no hash of one kind equals one of another. With the key gone, a hash
//! says nothing: an address can only be guessed back by who holds the key.

use std::fmt;
use std::net::IpAddr;

/// A secret key of 256 bits. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// A key of these bytes, drawn at random by who makes it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes, to store them or to key another function.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// A keyed hash of 128 bits: 10 million of them collide with probability 1.5 × 10⁻²⁵.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash128([u8; 16]);

impl Hash128 {
    /// Wraps bytes read back from a topic or the store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The hash as a number, in the same order as the bytes.
    #[must_use]
    pub const fn to_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// The hash of a number made by [`Hash128::to_u128`].
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }
}

impl fmt::Display for Hash128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.to_u128())
    }
}

impl fmt::Debug for Hash128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash128({self})")
    }
}

const HOUSEHOLD: u8 = 1;
const LISTENER: u8 = 2;
const FINGERPRINT: u8 = 3;

/// The household of an address: an IPv4 address (also when mapped into IPv6), or the /64
/// network of an IPv6 address, which is what one home is given.
#[must_use]
pub fn household(key: &HashKey, address: &IpAddr) -> Hash128 {
    let mut hasher = start(key, HOUSEHOLD);
    update_household(&mut hasher, *address);
    finish(&hasher)
}

/// The listener behind a request: household address and user agent, as sent.
#[must_use]
pub fn listener(key: &HashKey, address: &IpAddr, user_agent: &str) -> Hash128 {
    let mut hasher = start(key, LISTENER);
    // The address is of a length that its first byte tells, so address and agent can't shift into one another.
    update_household(&mut hasher, *address);
    hasher.update(user_agent.as_bytes());
    finish(&hasher)
}

/// The fingerprint of any bytes, such as an event id.
#[must_use]
pub fn fingerprint(key: &HashKey, bytes: &[u8]) -> Hash128 {
    let mut hasher = start(key, FINGERPRINT);
    hasher.update(bytes);
    finish(&hasher)
}

fn start(key: &HashKey, tag: u8) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(&[tag]);
    hasher
}

fn update_household(hasher: &mut blake3::Hasher, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => hasher.update(&[4]).update(&v4.octets()),
        IpAddr::V6(v6) => hasher.update(&[6]).update(&v6.octets()[..8]),
    };
}

fn finish(hasher: &blake3::Hasher) -> Hash128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Hash128(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey::from_bytes([1; 32]);

    fn home(address: &str) -> Hash128 {
        household(&KEY, &address.parse().unwrap())
    }

    #[test]
    fn a_household_is_an_ipv4_address_or_a_64() {
        assert_eq!(home("192.0.2.1"), home("::ffff:192.0.2.1"));
        assert_ne!(home("192.0.2.1"), home("192.0.2.2"));
        assert_eq!(home("2001:db8:1:2::1"), home("2001:db8:1:2:ffff::9"));
        assert_ne!(home("2001:db8:1:2::1"), home("2001:db8:1:3::1"));
    }

    #[test]
    fn a_listener_is_a_household_and_an_agent() {
        let address = "192.0.2.1".parse().unwrap();
        let one = listener(&KEY, &address, "Pod/1.0");
        assert_eq!(one, listener(&KEY, &"::ffff:192.0.2.1".parse().unwrap(), "Pod/1.0"));
        assert_ne!(one, listener(&KEY, &address, "Pod/1.1"));
        assert_ne!(one, listener(&HashKey::from_bytes([2; 32]), &address, "Pod/1.0"));
    }

    #[test]
    fn kinds_never_meet() {
        let address = "192.0.2.1".parse().unwrap();
        let all = [household(&KEY, &address), listener(&KEY, &address, ""), fingerprint(&KEY, &[4, 192, 0, 2, 1])];
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    }

    #[test]
    fn number_bytes_and_text_agree_and_keep_the_order() {
        let (low, high) = (Hash128::from_u128(0x0102), Hash128::from_u128(u128::MAX - 1));
        assert!(low < high);
        assert_eq!(Hash128::from_bytes(*high.as_bytes()).to_u128(), u128::MAX - 1);
        assert_eq!(low.to_string(), "00000000000000000000000000000102");
        assert_eq!(format!("{KEY:?}"), "HashKey(secret)");
    }
}
