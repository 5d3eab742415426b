//! What kind of network an address belongs to: data centres by a list of ranges.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// The class of a client's network, as it travels on topics in place of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkClass {
    /// A data centre, by the list of ranges: no listener sits there.
    Datacentre,
    /// Any other address.
    Other,
    /// There was no address to look up.
    Unknown,
}

impl NetworkClass {
    /// The name on topics and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Datacentre => "datacentre",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }
}

/// A text that names no network class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network class: expected datacentre, other or unknown")]
pub struct UnknownNetworkClass;

impl FromStr for NetworkClass {
    type Err = UnknownNetworkClass;

    fn from_str(name: &str) -> Result<Self, UnknownNetworkClass> {
        [Self::Datacentre, Self::Other, Self::Unknown]
            .into_iter()
            .find(|class| class.as_str() == name)
            .ok_or(UnknownNetworkClass)
    }
}

/// A list of ranges that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// Neither `start,end,…` nor `network/prefix,…`.
    #[error("line {line}: expected start,end,name,url or network/prefix,name")]
    Address {
        /// The line, from 1.
        line: usize,
    },
    /// Start and end are of two families, or the end is below the start.
    #[error("line {line}: the range ends before it starts")]
    Order {
        /// The line, from 1.
        line: usize,
    },
    /// No range at all: an empty list would make every data centre a listener.
    #[error("the list holds no ranges")]
    Empty,
}

/// Data-centre ranges, sorted and merged; a look-up is one binary search.
#[derive(Debug, Clone)]
pub struct Networks {
    version: String,
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Reads a list in the form of ipcat's `datacenters.csv` (`start,end,name,url`, both ends
    /// included), in which a line may also give a CIDR network first. Blank lines and lines
    /// that begin with `#` are skipped; ranges may come in any order and overlap.
    ///
    /// `version` is kept with every record that was classified by this list.
    pub fn parse(version: &str, text: &str) -> Result<Self, NetworksError> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (line, text) in lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            match read_range(text).ok_or(NetworksError::Address { line })? {
                (IpAddr::V4(start), IpAddr::V4(end)) if start <= end => {
                    v4.push((u128::from(start.to_bits()), u128::from(end.to_bits())));
                }
                (IpAddr::V6(start), IpAddr::V6(end)) if start <= end => v6.push((start.to_bits(), end.to_bits())),
                _ => return Err(NetworksError::Order { line }),
            }
        }
        if v4.is_empty() && v6.is_empty() {
            return Err(NetworksError::Empty);
        }
        Ok(Self { version: version.to_owned(), v4: merge(v4), v6: merge(v6) })
    }

    /// The version of the list, such as its date.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many separate ranges there are.
    #[must_use]
    pub fn range_count(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// The class of `address`; an IPv4 address mapped into IPv6 is the IPv4 address.
    #[must_use]
    pub fn classify(&self, address: IpAddr) -> NetworkClass {
        let inside = match address.to_canonical() {
            IpAddr::V4(v4) => holds(&self.v4, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => holds(&self.v6, v6.to_bits()),
        };
        if inside { NetworkClass::Datacentre } else { NetworkClass::Other }
    }
}

fn read_range(line: &str) -> Option<(IpAddr, IpAddr)> {
    let mut fields = line.split(',').map(str::trim);
    let first = fields.next()?;
    if first.contains('/') {
        let network: IpNet = first.parse().ok()?;
        return Some((network.network(), network.broadcast()));
    }
    Some((first.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Sorts ranges and joins those that overlap or touch.
fn merge(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn holds(ranges: &[(u128, u128)], address: u128) -> bool {
    let after = ranges.partition_point(|(start, _)| *start <= address);
    after > 0 && address <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = "# ours\n203.0.113.16,203.0.113.31,Two,\n192.0.2.0,192.0.2.15,\"One, Inc\",https://one.example/\n\n\
        198.51.100.0/24,Net\n2001:db8:5::/48,Six\n203.0.113.20,203.0.113.40,Overlaps,\n";

    fn class(address: &str) -> NetworkClass {
        Networks::parse("test", LIST).unwrap().classify(address.parse().unwrap())
    }

    #[test]
    fn both_ends_of_a_range_are_inside() {
        for inside in ["192.0.2.0", "192.0.2.15", "203.0.113.16", "203.0.113.40", "198.51.100.255", "::ffff:192.0.2.1"]
        {
            assert_eq!(class(inside), NetworkClass::Datacentre, "{inside}");
        }
        assert_eq!(class("2001:db8:5:ffff::1"), NetworkClass::Datacentre);
        for outside in ["192.0.1.255", "192.0.2.16", "203.0.113.41", "0.0.0.0", "255.255.255.255", "2001:db8:6::", "::"]
        {
            assert_eq!(class(outside), NetworkClass::Other, "{outside}");
        }
    }

    #[test]
    fn overlapping_ranges_are_one() {
        assert_eq!(Networks::parse("test", LIST).unwrap().range_count(), 4);
    }

    #[test]
    fn bad_input_names_its_line() {
        for (text, error) in [
            ("192.0.2.0,192.0.2.9,A,\n192.0.2.300,192.0.2.9,B,", NetworksError::Address { line: 2 }),
            ("192.0.2.0", NetworksError::Address { line: 1 }),
            ("192.0.2.0/33,A", NetworksError::Address { line: 1 }),
            ("192.0.2.9,192.0.2.0,A,", NetworksError::Order { line: 1 }),
            ("192.0.2.9,2001:db8::,A,", NetworksError::Order { line: 1 }),
            ("# nothing\n", NetworksError::Empty),
        ] {
            assert_eq!(Networks::parse("test", text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn names_come_back() {
        for class in [NetworkClass::Datacentre, NetworkClass::Other, NetworkClass::Unknown] {
            assert_eq!(class.as_str().parse(), Ok(class));
        }
        assert!("datacenter".parse::<NetworkClass>().is_err());
    }

    proptest! {
        #[test]
        fn merging_changes_no_answer(ranges in prop::collection::vec((0u128..60, 0u128..9), 1..12), address in 0u128..80) {
            let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| (start, start + length)).collect();
            let plain = ranges.iter().any(|(start, end)| (*start..=*end).contains(&address));
            prop_assert_eq!(holds(&merge(ranges), address), plain);
        }
    }
}
