//! What may be dialed: public addresses on the web's ports, and what the operator allows.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use castback_schemas::edge::is_public;
use ipnet::IpNet;
use url::{Host, Url};

use super::names::Names;

/// The ports that may be dialed outside the operator's own ranges.
const WEB_PORTS: [u16; 2] = [80, 443];

/// Addresses of one name that are tried; a longer answer is cut here, after all were checked.
const MAX_ADDRESSES: usize = 8;

/// Why an address was refused. It is logged and never shown: otherwise a feed address would be a port scanner.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Neither `http` nor `https`.
    #[error("scheme is not http or https")]
    Scheme,
    /// A user name or password stands in the address.
    #[error("address carries a user name or password")]
    Userinfo,
    /// No host.
    #[error("address has no host")]
    NoHost,
    /// A port that is not the web's, outside the allowed ranges.
    #[error("port is not 80 or 443")]
    Port,
    /// At least one address of the host is not public and not allowed.
    #[error("host has an address that is not public")]
    Private,
    /// The name has no address.
    #[error("name has no address")]
    NoAddress,
    /// The name could not be resolved.
    #[error("name could not be resolved")]
    Unresolvable(#[source] io::Error),
    /// More redirects than are followed.
    #[error("too many redirects")]
    Redirects,
    /// A redirect to something that is not an address.
    #[error("redirect leads nowhere")]
    RedirectTarget,
}

/// Decides which addresses may be dialed.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Arc<[IpNet]>,
}

impl Guard {
    /// A guard that besides public addresses lets through `allow` (setting `OUTBOUND_ALLOW`), on any port.
    #[must_use]
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow: allow.into() }
    }

    /// Checks what can be seen without resolving a name: scheme, userinfo, and hosts that are addresses
    /// (the URL parser has already turned decimal, octal, hexadecimal and short forms into addresses).
    pub fn check(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Userinfo);
        }
        let port = url.port_or_known_default().ok_or(Refusal::Port)?;
        match url.host().ok_or(Refusal::NoHost)? {
            Host::Ipv4(ip) => self.judge(ip.into(), port),
            Host::Ipv6(ip) => self.judge(ip.into(), port),
            Host::Domain(_) if self.allow.is_empty() && !WEB_PORTS.contains(&port) => Err(Refusal::Port),
            Host::Domain(_) => Ok(()),
        }
    }

    /// The addresses to dial for `url`, all of them checked. One bad address refuses the whole name.
    pub(super) async fn addresses(&self, url: &Url, names: &dyn Names) -> Result<Vec<SocketAddr>, Refusal> {
        self.check(url)?;
        let port = url.port_or_known_default().ok_or(Refusal::Port)?;
        let mut ips = match url.host().ok_or(Refusal::NoHost)? {
            Host::Ipv4(ip) => vec![ip.into()],
            Host::Ipv6(ip) => vec![ip.into()],
            Host::Domain(name) => names.lookup(name).await.map_err(Refusal::Unresolvable)?,
        };
        if ips.is_empty() {
            return Err(Refusal::NoAddress);
        }
        ips.iter().try_for_each(|ip| self.judge(*ip, port))?;
        ips.truncate(MAX_ADDRESSES);
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    fn judge(&self, ip: IpAddr, port: u16) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if self.allow.iter().any(|range| range.contains(&ip)) {
            return Ok(());
        }
        if !is_public(ip) {
            return Err(Refusal::Private);
        }
        if WEB_PORTS.contains(&port) { Ok(()) } else { Err(Refusal::Port) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;

    fn refused(guard: &Guard, url: &str) -> bool {
        Url::parse(url).map_or(true, |url| guard.check(&url).is_err())
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "127.0.0.1.",
            "１２７.0.0.1",
            "127。0。0。1",
            "%31%32%37.0.0.1",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00::1]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[::127.0.0.1]",
        ];
        let guard = Guard::default();
        for host in hosts {
            for form in ["http://{}/", "https://{}/feed.xml", "http://{}:80/", "http://{}:22/"] {
                let url = form.replace("{}", host);
                assert!(refused(&guard, &url), "{url}");
            }
        }
        assert!(!refused(&guard, "http://93.184.215.14/"));
        assert!(!refused(&guard, "https://[2606:2800:220:1:248:1893:25c8:1946]/"));
    }

    #[test]
    fn schemes_ports_and_userinfo_are_checked() {
        let guard = Guard::default();
        for url in [
            "file:///etc/passwd",
            "ftp://example.org/",
            "gopher://example.org/",
            "javascript:alert(1)",
            "data:,x",
            "http://user@example.org/",
            "http://user:pass@example.org/",
            "http://:pass@example.org/",
            "http://example.org:22/",
            "https://example.org:8443/",
            "http://93.184.215.14:25/",
        ] {
            assert!(refused(&guard, url), "{url}");
        }
        assert!(!refused(&guard, "https://example.org/feed"));
        assert!(!refused(&guard, "http://example.org:443/feed"));
    }

    #[test]
    fn allowed_ranges_are_let_through_on_any_port() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(!refused(&guard, "http://127.0.0.1:4711/"));
        assert!(!refused(&guard, "http://[::ffff:127.0.0.1]:4711/"));
        assert!(refused(&guard, "http://10.0.0.1/"));
        assert!(refused(&guard, "http://93.184.215.14:4711/"));
    }

    /// Answers with the next of its lists at every lookup.
    #[derive(Debug)]
    struct Rebinding(Vec<Vec<&'static str>>, AtomicUsize);

    #[async_trait]
    impl Names for Rebinding {
        async fn lookup(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
            let turn = self.1.fetch_add(1, Ordering::SeqCst) % self.0.len();
            Ok(self.0[turn].iter().map(|ip| ip.parse().unwrap()).collect())
        }
    }

    #[tokio::test]
    async fn names_are_judged_by_all_their_addresses() {
        let url = Url::parse("http://feed.example/").unwrap();
        let guard = Guard::default();
        let mixed = Rebinding(vec![vec!["93.184.215.14", "127.0.0.1"]], AtomicUsize::new(0));
        assert!(matches!(guard.addresses(&url, &mixed).await, Err(Refusal::Private)));
        let none = Rebinding(vec![vec![]], AtomicUsize::new(0));
        assert!(matches!(guard.addresses(&url, &none).await, Err(Refusal::NoAddress)));
        let odd = Rebinding(vec![vec!["93.184.215.14"]], AtomicUsize::new(0));
        let allowing = Guard::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let other_port = Url::parse("http://feed.example:8080/").unwrap();
        assert!(matches!(allowing.addresses(&other_port, &odd).await, Err(Refusal::Port)));
    }

    #[tokio::test]
    async fn a_rebinding_name_never_yields_a_private_address() {
        let url = Url::parse("http://feed.example/").unwrap();
        let names = Rebinding(vec![vec!["93.184.215.14"], vec!["127.0.0.1"], vec!["::1"]], AtomicUsize::new(0));
        let guard = Guard::default();
        let mut dialed = 0;
        for _ in 0..1000 {
            if let Ok(addresses) = guard.addresses(&url, &names).await {
                assert_eq!(addresses, ["93.184.215.14:80".parse().unwrap()]);
                dialed += 1;
            }
        }
        assert_eq!(dialed, 334);
        assert_eq!(names.1.load(Ordering::SeqCst), 1000, "one lookup a request");
    }
}
