//! From texts to types, with words for what does not fit.

use std::net::SocketAddr;
use std::str::FromStr;

use ipnet::IpNet;
use url::Url;

use super::source::Source;

/// Reads settings one by one and gathers what is wrong with them.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a Source,
    pub(crate) wrong: Vec<String>,
}

impl Reader<'_> {
    /// The setting by `parse`, which says what it expected.
    pub(crate) fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (text, place) = self.source.get(name)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.wrong.push(format!("{place}: {expected}"));
                None
            }
        }
    }

    /// A list separated by commas; nothing if it is not set.
    pub(crate) fn list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let all = |text: &str| {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(&parse).collect::<Result<Vec<T>, String>>()
        };
        self.read(name, all).unwrap_or_default()
    }

    /// A switch that is on unless it is set otherwise.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        self.read(name, truth).unwrap_or(true)
    }
}

pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Whole seconds within `range`.
pub(crate) fn seconds(text: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    let given = text.parse().ok().filter(|seconds| range.contains(seconds));
    given.ok_or_else(|| format!("expected seconds from {} to {}", range.start(), range.end()))
}

/// A range of addresses; one address alone is a range too.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<std::net::IpAddr>().map(IpNet::from).ok();
    let network = IpNet::from_str(text).ok().or_else(alone);
    network.ok_or_else(|| format!("{text} is no range of addresses such as 10.0.0.0/8"))
}

pub(crate) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:9464".to_owned())
}

/// An address on the web, without user name, password, query and fragment.
pub(crate) fn web(text: &str) -> Result<Url, String> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(text).ok().filter(plain);
    url.ok_or_else(|| "expected an address such as https://castback.example".to_owned())
}

/// A page's origin as browsers write it.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let written = Url::parse(text).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let same = written.eq_ignore_ascii_case(text.trim_end_matches('/'));
    if same { Ok(written) } else { Err(format!("{text} is no origin such as https://app.example")) }
}

pub(crate) fn email(text: &str) -> Result<String, String> {
    let plain = !text.contains(char::is_whitespace);
    let parts = text.split_once('@').filter(|(name, host)| plain && !name.is_empty() && host.contains('.'));
    parts.map(|_| text.to_owned()).ok_or_else(|| format!("{text} is no e-mail address"))
}

/// A text that begins with one of `schemes`.
pub(crate) fn scheme(text: &str, schemes: &[&str]) -> Result<String, String> {
    let known = schemes.iter().any(|scheme| text.starts_with(scheme));
    known.then(|| text.to_owned()).ok_or_else(|| format!("expected {}…", schemes.join("… or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_read() {
        assert_eq!(truth("On"), Ok(true));
        assert_eq!(seconds("60", 1..=60), Ok(60));
        assert_eq!(network("10.1.2.3").map(|network| network.to_string()), Ok("10.1.2.3/32".to_owned()));
        assert_eq!(origin("https://App.example/"), Ok("https://app.example".to_owned()));
        assert_eq!(web("https://castback.example/x").map(|url| url.path().to_owned()), Ok("/x".to_owned()));
        assert_eq!(email("a@b.example"), Ok("a@b.example".to_owned()));
        assert!(scheme("s3://bucket", &["file:///", "s3://"]).is_ok());
    }

    #[test]
    fn what_does_not_fit_says_what_was_expected() {
        assert_eq!(truth("perhaps"), Err("expected true or false".to_owned()));
        assert!(seconds("0", 1..=60).unwrap_err().contains("1 to 60"));
        assert!(seconds("-1", 1..=60).is_err());
        assert!(network("10.0.0.0/33").is_err());
        assert!(socket("9464").is_err());
        for text in ["castback.example", "ftp://x", "https://u:p@x", "https://x?y"] {
            assert!(web(text).is_err(), "{text}");
        }
        assert!(origin("https://app.example/path").is_err());
        assert!(email("operator").is_err() && email("a b@c.example").is_err());
        assert!(scheme("mysql://x", &["sqlite://", "postgresql://"]).unwrap_err().contains("postgresql://"));
    }
}
