//! `TIMESERIES_DB_URL`: `influxdb://host:8086/bucket`, or `influxdbs://…` over TLS.

use url::Url;

/// InfluxDB's port.
const PORT: u16 = 8086;

/// Why an address names no bucket of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is of another form.
    #[error("expected influxdb://host:8086/bucket, or influxdbs:// over TLS")]
    Form,
    /// It names a user or a password: InfluxDB 2 knows tokens.
    #[error("a user or password does not belong into it; set INFLUX_TOKEN")]
    Secret,
}

/// A server and its bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorAddress {
    /// The server, over HTTP or HTTPS.
    pub server: Url,
    /// The bucket.
    pub bucket: String,
}

impl std::str::FromStr for MirrorAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text.trim()).map_err(|_| AddressError::Form)?;
        let scheme = match url.scheme() {
            "influxdb" => "http",
            "influxdbs" => "https",
            _ => return Err(AddressError::Form),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Secret);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressError::Form)?;
        let bucket = decoded(url.path().trim_start_matches('/')).ok_or(AddressError::Form)?;
        if bucket.is_empty() || url.query().is_some() || url.fragment().is_some() {
            return Err(AddressError::Form);
        }
        let port = url.port().unwrap_or(PORT);
        let server = Url::parse(&format!("{scheme}://{host}:{port}/")).map_err(|_| AddressError::Form)?;
        Ok(Self { server, bucket })
    }
}

/// A path without its percent escapes.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, String), AddressError> {
        text.parse().map(|MirrorAddress { server, bucket }| (server.to_string(), bucket))
    }

    #[test]
    fn a_server_and_a_bucket_are_read() {
        let of = |server: &str, bucket: &str| Ok((server.to_owned(), bucket.to_owned()));
        assert_eq!(parsed("influxdb://localhost:8086/analytics"), of("http://localhost:8086/", "analytics"));
        assert_eq!(parsed("influxdb://influx/a%20b"), of("http://influx:8086/", "a b"));
        assert_eq!(parsed("influxdbs://influx:443/db/rp"), of("https://influx/", "db/rp"));
    }

    #[test]
    fn what_names_no_bucket_is_refused() {
        for text in
            ["influxdb://h:8086", "influxdb://h:8086/", "http://h:8086/b", "h", "influxdb:///b", "influxdb://h/b?x"]
        {
            assert_eq!(parsed(text), Err(AddressError::Form), "{text}");
        }
        assert_eq!(parsed("influxdb://u:p@h/b"), Err(AddressError::Secret));
    }
}
