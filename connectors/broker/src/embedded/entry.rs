//! One entry of the store: the records of one append to one slot, packed.
//!
//! ```text
//! format u8 · base offset i64 · appended_at i64 · count u32          (little-endian)
//! then per record:  tag varint = key length · 2 + (account follows)
//!                   account 16 bytes, only where it differs from the record before
//!                   value length varint · key · value
//! ```
//! The first record of every pack names its account, so packs can be joined end to end. The
//! store keeps the checksums.

use bytes::{Buf, Bytes};
use castback_schemas::id::AccountId;
use castback_schemas::time::Micros;
use uuid::Uuid;

use crate::log::Record;

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 8 + 8 + 4;
const ACCOUNT: usize = 16;

/// An entry that does not read as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the log is not well formed")]
pub(crate) struct CorruptEntry;

/// Records being packed; they get their offsets when sealed.
#[derive(Debug)]
pub(super) struct Pack {
    bytes: Vec<u8>,
    count: u32,
    account: Option<AccountId>,
}

impl Pack {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEADER], count: 0, account: None }
    }

    /// Records in the pack.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The size of the entry it will be, in bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record.
    pub(super) fn push(&mut self, account: AccountId, key: &[u8], value: &[u8]) {
        let names_account = self.account != Some(account);
        put_varint(&mut self.bytes, (key.len() as u64) << 1 | u64::from(names_account));
        if names_account {
            self.bytes.extend_from_slice(account.uuid().as_bytes());
            self.account = Some(account);
        }
        put_varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.count += 1;
    }

    /// Adds all records of `other` behind its own.
    pub(super) fn join(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes[HEADER..]);
        self.count += other.count;
        self.account = other.account;
    }

    /// Gives the records their offsets, from `base` on, and their append time.
    pub(super) fn seal(mut self, base: i64, appended_at: Micros) -> Bytes {
        self.bytes[0] = FORMAT;
        self.bytes[1..9].copy_from_slice(&base.to_le_bytes());
        self.bytes[9..17].copy_from_slice(&appended_at.0.to_le_bytes());
        self.bytes[17..HEADER].copy_from_slice(&self.count.to_le_bytes());
        self.bytes.into()
    }
}

/// Reads an entry record by record. Keys and values are slices of the entry, not copies.
#[derive(Debug)]
pub(super) struct Entry {
    next: i64,
    appended_at: Micros,
    left: u32,
    account: Option<AccountId>,
    rest: Bytes,
}

impl Entry {
    pub(super) fn open(mut bytes: Bytes) -> Result<Self, CorruptEntry> {
        if bytes.len() < HEADER || bytes.get_u8() != FORMAT {
            return Err(CorruptEntry);
        }
        Ok(Self {
            next: bytes.get_i64_le(),
            appended_at: Micros(bytes.get_i64_le()),
            left: bytes.get_u32_le(),
            account: None,
            rest: bytes,
        })
    }

    /// When its records were appended.
    pub(super) fn appended_at(&self) -> Micros {
        self.appended_at
    }

    fn record(&mut self) -> Option<Record> {
        let tag = take_varint(&mut self.rest)?;
        if tag & 1 == 1 {
            let id = self.rest.get(..ACCOUNT)?;
            self.account = Some(AccountId::from_uuid(Uuid::from_slice(id).ok()?));
            self.rest.advance(ACCOUNT);
        }
        let value = usize::try_from(take_varint(&mut self.rest)?).ok()?;
        let key = usize::try_from(tag >> 1).ok()?;
        if key.checked_add(value)? > self.rest.len() {
            return None;
        }
        let key = self.rest.split_to(key);
        let value = self.rest.split_to(value);
        let offset = self.next;
        self.next += 1;
        Some(Record { offset, appended_at: self.appended_at, account: self.account, key, value })
    }
}

impl Iterator for Entry {
    type Item = Result<Record, CorruptEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.record();
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or(CorruptEntry))
    }
}

fn put_varint(to: &mut Vec<u8>, mut n: u64) {
    loop {
        let [low, ..] = n.to_le_bytes();
        n >>= 7;
        if n == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

fn take_varint(from: &mut Bytes) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let byte = *from.first()?;
        from.advance(1);
        n |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(n: u8) -> AccountId {
        AccountId::from_uuid(Uuid::from_bytes([n; 16]))
    }

    type Parts = Vec<(u8, Vec<u8>, Vec<u8>)>;

    fn parts() -> impl Strategy<Value = Parts> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..200);
        prop::collection::vec((0..3_u8, bytes(), bytes()), 1..20)
    }

    fn pack(parts: &Parts) -> Pack {
        let mut pack = Pack::new();
        for (owner, key, value) in parts {
            pack.push(account(*owner), key, value);
        }
        pack
    }

    proptest! {
        #[test]
        fn what_was_packed_and_joined_is_read_back(first in parts(), second in parts()) {
            let mut joined = pack(&first);
            joined.join(&pack(&second));
            let entry = Entry::open(joined.seal(40, Micros(7))).unwrap();
            let records: Vec<Record> = entry.map(Result::unwrap).collect();
            let all: Vec<_> = first.iter().chain(&second).collect();
            prop_assert_eq!(records.len(), all.len());
            for (i, (record, (owner, key, value))) in records.iter().zip(all).enumerate() {
                prop_assert_eq!(record.offset, 40 + i64::try_from(i).unwrap());
                prop_assert_eq!(record.appended_at, Micros(7));
                prop_assert_eq!(record.account, Some(account(*owner)));
                prop_assert_eq!(&record.key[..], &key[..]);
                prop_assert_eq!(&record.value[..], &value[..]);
            }
        }

        #[test]
        fn a_cut_entry_is_corrupt_and_never_a_panic(parts in parts(), cut in 0..10_000_usize) {
            let bytes = pack(&parts).seal(0, Micros(0));
            let cut = cut % bytes.len();
            let read = Entry::open(bytes.slice(..cut)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            prop_assert_eq!(read, Err(CorruptEntry));
        }
    }
}
