//! From where a request comes. The peer of the connection says it, and a header only where the peer is a proxy that the
//! operator named: whoever can write `X-Forwarded-For` could otherwise be anybody, and be throttled as nobody.
//!
//! Each proxy appends whom it speaks with, so the list is read from its right end, over trusted proxies, to the first
//! address that is none (RFC 7239 §8.1). Exactly one header is read, the one the proxy is known to write: the other one
//! would come from the client untouched.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::error::{Fault, Setup};

/// A list of networks.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads addresses and networks in CIDR notation; `key` is named in the fault.
    pub fn read(key: &str, texts: &[String]) -> Setup<Self> {
        let read = |text: &String| {
            let read = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            read.map_err(|_| {
                Fault::new(key, format!("{text:?} is no network")).fix(format!(r#"{key} = ["10.0.0.0/8", "::1"]"#))
            })
        };
        texts.iter().map(read).collect::<Setup<_>>().map(Self)
    }

    /// Whether an address is in one of them; IPv4 in IPv6 clothes is IPv4.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Both lists in one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).copied().collect())
    }
}

/// The header in which trusted proxies say whom they speak for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// A list of addresses, as nginx and most others write it.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// Whom to believe about the client's address.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    trusted: Networks,
    said: Said,
}

impl Proxies {
    /// Believes `trusted`, in the header `said`.
    #[must_use]
    pub fn new(trusted: Networks, said: Said) -> Self {
        Self { trusted, said }
    }

    /// Those believed.
    #[must_use]
    pub fn trusted(&self) -> &Networks {
        &self.trusted
    }

    /// The address that a request counts for.
    #[must_use]
    pub fn source(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if self.trusted.0.is_empty() || !self.trusted.contain(peer) {
            return peer;
        }
        let name = match self.said {
            Said::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Said::Forwarded => axum::http::header::FORWARDED,
        };
        let mut source = peer;
        // Several lines are one list (RFC 9110 §5.3); the last line is the nearest.
        for line in headers.get_all(name).iter().rev() {
            for entry in line.to_str().unwrap_or_default().rsplit(',') {
                let read = match self.said {
                    Said::XForwardedFor => address(entry.trim()),
                    Said::Forwarded => forwarded_for(entry),
                };
                // What is no address was written by a stranger or hides somebody: the last believed hop answers for it.
                let Some(hop) = read else { return source };
                source = hop;
                if !self.trusted.contain(hop) {
                    return source;
                }
            }
        }
        source
    }
}

/// `for=` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pair = element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    })?;
    address(pair.trim().trim_matches('"'))
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let read = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    read.map(|address: IpAddr| address.to_canonical())
}

/// The part of an address that one customer holds: all of IPv4, the first 64 bits of IPv6.
#[must_use]
pub fn network(source: IpAddr) -> [u8; 8] {
    match source.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, ..] = v6.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(said: Said, peer: &str, lines: &[&'static str]) -> String {
        let trusted = Networks::read("test", &["10.0.0.0/8".to_owned(), "2001:db8::1".to_owned()]).unwrap();
        let name = if said == Said::Forwarded { "forwarded" } else { "x-forwarded-for" };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        // The header that is not read says something else.
        headers.append(
            if said == Said::Forwarded { "x-forwarded-for" } else { "forwarded" },
            "for=6.6.6.6".parse().unwrap(),
        );
        Proxies::new(trusted, said).source(SocketAddr::new(peer.parse().unwrap(), 9), &headers).to_string()
    }

    #[test]
    fn a_stranger_cannot_say_who_he_is() {
        assert_eq!(source(Said::XForwardedFor, "203.0.113.7", &["10.0.0.1"]), "203.0.113.7");
        assert_eq!(source(Said::XForwardedFor, "::ffff:203.0.113.7", &["1.2.3.4"]), "203.0.113.7");
        let nobody = Proxies::default();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "1.2.3.4".parse().unwrap());
        assert_eq!(nobody.source("10.0.0.1:9".parse().unwrap(), &headers).to_string(), "10.0.0.1");
    }

    #[test]
    fn the_rightmost_hop_that_is_no_proxy_of_ours_is_the_source() {
        let of = |lines: &[&'static str]| source(Said::XForwardedFor, "10.0.0.1", lines);
        assert_eq!(of(&["6.6.6.6, 203.0.113.7"]), "203.0.113.7");
        assert_eq!(of(&["6.6.6.6, 203.0.113.7, 10.1.1.1"]), "203.0.113.7");
        assert_eq!(of(&["6.6.6.6", "203.0.113.7, 10.1.1.1"]), "203.0.113.7");
        assert_eq!(of(&["203.0.113.7:4711"]), "203.0.113.7");
        assert_eq!(of(&["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(of(&["2001:db8::7, 2001:db8::1"]), "2001:db8::7");
        assert_eq!(of(&["::ffff:203.0.113.7"]), "203.0.113.7");
        assert_eq!(of(&["10.2.2.2, 10.1.1.1"]), "10.2.2.2", "only proxies: the farthest");
        assert_eq!(of(&[]), "10.0.0.1");
        assert_eq!(source(Said::XForwardedFor, "::ffff:10.0.0.1", &["203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn what_is_no_address_counts_for_the_hop_that_passed_it_on() {
        for garbage in ["", "unknown", "6.6.6.6, ", "6.6.6.6, _hidden", "6.6.6.6 203.0.113.7", "203.0.113.7\"", "1.2.3"]
        {
            assert_eq!(source(Said::XForwardedFor, "10.0.0.1", &[garbage]), "10.0.0.1", "{garbage:?}");
        }
        assert_eq!(source(Said::XForwardedFor, "10.0.0.1", &["garbage, 10.1.1.1"]), "10.1.1.1");
    }

    #[test]
    fn forwarded_is_read_when_that_is_what_the_proxy_writes() {
        let of = |line| source(Said::Forwarded, "10.0.0.1", &[line]);
        assert_eq!(of("for=6.6.6.6, For=203.0.113.7;proto=https;by=10.0.0.1"), "203.0.113.7");
        assert_eq!(of("proto=https;for=\"[2001:db8::7]:4711\""), "2001:db8::7");
        assert_eq!(of("for=_hidden"), "10.0.0.1");
        assert_eq!(of("proto=https"), "10.0.0.1");
    }

    #[test]
    fn one_customer_of_ipv6_is_one_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("203.0.113.7"), of("::ffff:203.0.113.7"));
    }
}
