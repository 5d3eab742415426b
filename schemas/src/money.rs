//! Money: integer minor units with a currency. Never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Not three capital letters.
    #[error("not a currency: expected an ISO 4217 code such as USD")]
    Currency,
    /// Not a decimal number.
    #[error("not an amount: expected a decimal number")]
    Amount,
    /// More decimals than the currency has: it can't be kept exactly.
    #[error("{currency} has {decimals} decimals: the amount has more")]
    TooManyDecimals {
        /// The currency.
        currency: Currency,
        /// How many decimals it has.
        decimals: u32,
    },
    /// Beyond 64 bits of minor units.
    #[error("the amount is too large")]
    TooLarge,
}

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// US dollars.
    pub const USD: Self = Self(*b"USD");

    /// The code, three capital letters.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// Digits behind the point of the major unit [ISO 4217].
    #[must_use]
    pub fn decimals(self) -> u32 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }

    /// Reads a decimal text in major units (`"29.90"`) as minor units, exactly.
    pub fn parse_major(self, text: &str) -> Result<i64, InvalidMoney> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| InvalidMoney::Amount)?),
            None => (digits, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all(whole) || !all(fraction) {
            return Err(InvalidMoney::Amount);
        }
        self.scale(&format!("{whole}{fraction}"), exponent, fraction.len())
            .map(|minor| if negative { -minor } else { minor })
    }

    /// `digits × 10^(exponent − fraction_length)` in minor units.
    fn scale(self, digits: &str, exponent: i32, fraction_length: usize) -> Result<i64, InvalidMoney> {
        let trimmed = digits.trim_start_matches('0');
        if trimmed.is_empty() {
            return Ok(0);
        }
        let decimals = self.decimals();
        let fraction = i32::try_from(fraction_length).map_err(|_| InvalidMoney::TooLarge)?;
        let shift = exponent.saturating_sub(fraction).saturating_add(i32::try_from(decimals).unwrap_or(0));
        if shift >= 0 {
            let zeros = usize::try_from(shift).unwrap_or(usize::MAX);
            if zeros > 18 || trimmed.len() + zeros > 18 {
                return Err(InvalidMoney::TooLarge);
            }
            format!("{trimmed}{}", "0".repeat(zeros)).parse().map_err(|_| InvalidMoney::TooLarge)
        } else {
            let drop = usize::try_from(-shift).unwrap_or(usize::MAX);
            let keep = trimmed.len().saturating_sub(drop);
            if trimmed.bytes().skip(keep).any(|digit| digit != b'0') {
                return Err(InvalidMoney::TooManyDecimals { currency: self, decimals });
            }
            if keep > 18 {
                return Err(InvalidMoney::TooLarge);
            }
            if keep == 0 { Ok(0) } else { trimmed[..keep].parse().map_err(|_| InvalidMoney::TooLarge) }
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(InvalidMoney::Currency),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount in minor units (cents) of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units; negative for refunds.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
}

impl fmt::Display for Money {
    /// Major units with the currency: `29.00 USD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = self.currency.decimals();
        let unit = 10_u64.pow(decimals);
        let magnitude = self.amount.unsigned_abs();
        let sign = if self.amount < 0 { "-" } else { "" };
        if decimals == 0 {
            return write!(f, "{sign}{magnitude} {}", self.currency);
        }
        let width = usize::try_from(decimals).unwrap_or(2);
        write!(f, "{sign}{}.{:0width$} {}", magnitude / unit, magnitude % unit, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        let usd = Currency::USD;
        let jpy: Currency = "JPY".parse().unwrap();
        assert_eq!(usd.parse_major("29.9"), Ok(2990));
        assert_eq!(usd.parse_major("-0.01"), Ok(-1));
        assert_eq!(usd.parse_major("1e2"), Ok(10_000));
        assert_eq!(usd.parse_major("12.340"), Ok(1234));
        assert_eq!(jpy.parse_major("12"), Ok(12));
        assert!(matches!(jpy.parse_major("1.5"), Err(InvalidMoney::TooManyDecimals { .. })));
        assert!(matches!(usd.parse_major("0.001"), Err(InvalidMoney::TooManyDecimals { .. })));
        assert_eq!(usd.parse_major("1e30"), Err(InvalidMoney::TooLarge));
        assert_eq!(usd.parse_major("NaN"), Err(InvalidMoney::Amount));
        assert_eq!(usd.parse_major(""), Err(InvalidMoney::Amount));
    }

    #[test]
    fn money_prints_major_units() {
        assert_eq!(Money { amount: -5, currency: Currency::USD }.to_string(), "-0.05 USD");
        assert_eq!(Money { amount: 2900, currency: Currency::USD }.to_string(), "29.00 USD");
    }
}
