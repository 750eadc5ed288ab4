//! Headers by which proxies describe the client, and the proxies that are trusted to set them.

use std::net::{IpAddr, SocketAddr};

use bytestring::ByteString;
use http::HeaderMap;
use http::uri::Authority;

/// The proxies whose `X-Forwarded-…` headers count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    any: bool,
    networks: Vec<Network>,
    pub(crate) errors: Vec<String>,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

/// The host that the client asked for, from a trusted proxy.
#[derive(Debug)]
pub(super) struct ForwardedHost {
    pub(super) authority: Authority,
    /// A port from a header of its own.
    pub(super) port: Option<u16>,
}

impl Proxies {
    pub(crate) fn new(texts: impl Iterator<Item = ByteString>) -> Self {
        let mut proxies = Self::default();
        for text in texts {
            if text == "*" {
                proxies.any = true;
            } else if let Some(network) = Network::parse(&text) {
                proxies.networks.push(network);
            } else {
                let error = format!(
                    "trusted proxy {text:?}: must be an address, a network such as `10.0.0.0/8`, or `*`"
                );
                proxies.errors.push(error);
            }
        }
        proxies
    }

    /// The host that the client asked for, from `X-Forwarded-Host` and `X-Forwarded-Port`.
    pub(super) fn host(
        &self,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Option<ForwardedHost> {
        if !self.trust(peer) {
            return None;
        }
        // The first value is the first proxy's.
        let first = |name| Some(text(headers, name).next()?.split(',').next()?.trim());
        Some(ForwardedHost {
            authority: first("x-forwarded-host")?.parse().ok()?,
            port: first("x-forwarded-port").and_then(|port| port.parse().ok()),
        })
    }

    /// The scheme that the client asked with, from `X-Forwarded-Proto`.
    pub(super) fn scheme<'a>(
        &self,
        headers: &'a HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Option<&'a str> {
        let told = text(headers, "x-forwarded-proto").next()?;
        let first = told.split(',').next()?.trim();
        self.trust(peer).then_some(first)
    }

    /// The client's address: the last of `X-Forwarded-For` that is no proxy's, with port 0 if it has none; else the
    /// peer's.
    pub(super) fn client(
        &self,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        if !self.trust(peer) {
            return peer;
        }
        let all: Vec<&str> = text(headers, "x-forwarded-for")
            .flat_map(|value| value.split(','))
            .collect();
        let mut client = peer;
        for hop in all.iter().rev() {
            let Some(address) = parse_address(hop.trim()) else {
                break;
            };
            client = Some(address);
            if !self.contain(address.ip()) {
                break;
            }
        }
        client
    }

    pub(crate) fn trust(&self, peer: Option<SocketAddr>) -> bool {
        self.any || peer.is_some_and(|peer| self.contain(peer.ip()))
    }

    /// The address that bounds for each address count `peer` for; `None` if it is a trusted proxy: its connections are
    /// other people's.
    pub(crate) fn counted(&self, peer: SocketAddr) -> Option<IpAddr> {
        (!self.trust(Some(peer))).then_some(peer.ip())
    }

    fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(address))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        (prefix <= bits).then_some(Self { address, prefix })
    }

    fn contains(self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        differing >= self.prefix
    }
}

/// An address with or without a port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || text.parse().ok();
    bare.parse()
        .ok()
        .map(|ip: IpAddr| SocketAddr::new(ip, 0))
        .or_else(with_port)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(texts: &[&'static str]) -> Proxies {
        Proxies::new(texts.iter().map(|text| ByteString::from_static(text)))
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn only_those_named_are_believed() {
        let told = headers(&[("x-forwarded-host", "app.example")]);
        let list = proxies(&["10.0.0.0/8", "192.168.1.7", "fd00::/8", "0.0.0.0/32"]);
        assert!(list.errors.is_empty());
        for (from, believed) in [
            ("10.1.2.3:9", true),
            ("[::ffff:10.1.2.3]:9", true),
            ("11.1.2.3:9", false),
            ("192.168.1.7:9", true),
            ("192.168.1.8:9", false),
            ("[fd12::1]:9", true),
            ("[fe80::1]:9", false),
        ] {
            assert_eq!(list.host(&told, peer(from)).is_some(), believed, "{from}");
        }
        assert!(list.host(&told, None).is_none());
        assert!(proxies(&[]).host(&told, peer("127.0.0.1:9")).is_none());
        assert!(proxies(&["*"]).host(&told, None).is_some());
        assert!(
            proxies(&["0.0.0.0/0"])
                .host(&told, peer("8.8.8.8:9"))
                .is_some()
        );
    }

    #[test]
    fn an_invalid_network_is_an_error() {
        let wrong = [
            "",
            "proxy.example",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
        ];
        assert_eq!(proxies(&wrong).errors.len(), wrong.len());
    }

    #[test]
    fn the_first_host_counts_and_its_port() {
        let host = |pairs| proxies(&["*"]).host(&headers(pairs), None);
        let told = host(&[
            ("x-forwarded-host", "app.example, inner:8080"),
            ("x-forwarded-port", "8443"),
        ]);
        let told = told.unwrap();
        assert_eq!(
            (told.authority.as_str(), told.port),
            ("app.example", Some(8443))
        );
        assert!(host(&[("x-forwarded-port", "8443")]).is_none());
        assert!(host(&[("x-forwarded-host", "a b")]).is_none());
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy() {
        let list = proxies(&["10.0.0.0/8"]);
        let client = |value| {
            let from = peer("10.0.0.1:9");
            let told = headers(&[("x-forwarded-for", value)]);
            list.client(&told, from).unwrap().to_string()
        };
        for (value, address) in [
            ("1.2.3.4", "1.2.3.4:0"),
            ("6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4:0"),
            ("1.2.3.4:77, 10.0.0.2", "1.2.3.4:77"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("[2001:db8::1]:77", "[2001:db8::1]:77"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3:0"),
            ("unknown", "10.0.0.1:9"),
            ("1.2.3.4, unknown, 10.0.0.2", "10.0.0.2:0"),
        ] {
            assert_eq!(client(value), address, "{value}");
        }
        let liar = headers(&[("x-forwarded-for", "1.2.3.4")]);
        assert_eq!(list.client(&liar, peer("9.9.9.9:9")), peer("9.9.9.9:9"));
        assert_eq!(list.client(&liar, None), None);
        assert_eq!(proxies(&["*"]).client(&liar, None), peer("1.2.3.4:0"));
    }
}
