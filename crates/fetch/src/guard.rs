//! Which addresses may be connected to.
//!
//! Invariants: only addresses that the public internet routes are permitted, except for networks that the operator
//! names; an IPv4 address hidden in an IPv6 one is refused whatever it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;

/// Networks of IPv4 that no picture is fetched from (IANA IPv4 Special-Purpose Address Registry, and multicast).
const REFUSED_V4: &[([u8; 4], u8)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Carrier-grade NAT; Alibaba's metadata service lies within.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local; the metadata services of most clouds lie within.
    ([169, 254, 0, 0], 16),
    // Azure's own metadata service, a public address that only its machines reach.
    ([168, 63, 129, 16], 32),
    ([172, 16, 0, 0], 12),
    // Protocol assignments; Oracle's metadata service lies within.
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Networks within IPv6's global unicast (2000::/3) that are refused all the same; everything outside of it is refused
/// as well: loopback, link-local, unique local, IPv4-mapped, NAT64, multicast (IANA IPv6 Special-Purpose Registry).
const REFUSED_V6: &[([u16; 8], u8)] = &[
    // Protocol assignments: Teredo, benchmarking, ORCHID.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    // 6to4 holds an IPv4 address.
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a network like 127.0.0.0/8 or fd00::/8")]
pub struct NetworkError;

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address never lies in an IPv6 network, nor the other way.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(base) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(base) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (base, prefix) = text.split_once('/').ok_or(NetworkError)?;
        let base: IpAddr = base.parse().map_err(|_| NetworkError)?;
        let prefix: u8 = prefix.parse().map_err(|_| NetworkError)?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(NetworkError);
        }
        Ok(Self { base, prefix })
    }
}

/// A host or address that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The scheme is not http or https.
    #[error("the scheme {0} is not allowed")]
    Scheme(String),
    /// The URL names no host.
    #[error("the URL names no host")]
    NoHost,
    /// The address is private, loopback, link-local or otherwise not public.
    #[error("{host} leads to an address that is not allowed")]
    Address {
        /// As the URL names it.
        host: String,
    },
}

/// Decides about URLs and addresses.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Arc<[Network]>,
}

impl Guard {
    /// A guard that permits public addresses, and those of `allowed` although they are not public.
    pub fn new(allowed: Vec<Network>) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether a connection to the address may be opened.
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed.iter().any(|network| network.contains(address))
    }

    /// Judges what can be seen of a URL without resolving its host: the scheme, and the address if the host is one in
    /// any of its notations (the URL parser has read `0x7f.1` as `127.0.0.1` already).
    ///
    /// # Errors
    /// [`Refused`] says what is not allowed.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Refused::NoHost)?;
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        match literal.parse::<IpAddr>() {
            Ok(address) if !self.permits(address) => Err(Refused::Address { host: host.to_owned() }),
            _ => Ok(()),
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !REFUSED_V4.iter().any(|(base, prefix)| {
            Network { base: Ipv4Addr::from(*base).into(), prefix: *prefix }.contains(address.into())
        }),
        IpAddr::V6(address) => {
            address.segments()[0] & 0xe000 == 0x2000
                && !REFUSED_V6.iter().any(|(base, prefix)| {
                    Network { base: Ipv6Addr::from(*base).into(), prefix: *prefix }.contains(address.into())
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        Guard::new(allowed.iter().map(|n| n.parse().unwrap()).collect())
    }

    fn check(url: &str) -> Result<(), Refused> {
        Guard::default().check(&url.parse().unwrap())
    }

    #[test]
    fn every_notation_of_a_refused_address_is_seen() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "[::1]",
            "[::]",
            "[::ffff:8.8.8.8]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::8.8.8.8]",
            "[64:ff9b:1::1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[2002:7f00:1::]",
            "[2001:db8::1]",
            "[2001::1]",
            "[ff02::1]",
            "[fec0::1]",
            "[3fff::1]",
            "[5f00::1]",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let found = check(&format!("http://{host}/x.jpg"));
            assert!(matches!(found, Err(Refused::Address { .. })), "{host}: {found:?}");
        }
        for host in
            ["8.8.8.8", "1.1.1.1", "172.32.0.1", "[2606:4700::1111]", "h.example", "localhost.example"]
        {
            assert_eq!(check(&format!("https://{host}/x.jpg")), Ok(()), "{host}");
        }
        assert!(matches!(check("ftp://8.8.8.8/"), Err(Refused::Scheme(_))));
        assert!(matches!(check("data:image/png,x"), Err(Refused::Scheme(_))));
    }

    #[test]
    fn networks_are_read_strictly() {
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("9.9.9.9".parse().unwrap()));
        for bad in ["", "127.0.0.1", "127/8", "127.0.0.0/33", "::/129", "h/8"] {
            assert_eq!(bad.parse::<Network>(), Err(NetworkError), "{bad}");
        }
    }

    proptest! {
        /// Whatever the standard library calls special is refused.
        #[test]
        fn nothing_special_is_permitted(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            if special {
                prop_assert!(!Guard::default().permits(v4.into()));
            }
            for hidden in [v4.to_ipv6_mapped(), v4.to_ipv6_compatible()] {
                prop_assert!(!Guard::default().permits(hidden.into()));
            }
        }

        /// Every address of every refused network is refused, and permitted once its network is named.
        #[test]
        fn whole_networks_are_refused(host in any::<u32>(), at in 0..REFUSED_V4.len()) {
            let (base, prefix) = REFUSED_V4[at];
            let mask = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            let address = IpAddr::from(Ipv4Addr::from((u32::from(Ipv4Addr::from(base)) & !mask) | (host & mask)));
            prop_assert!(!Guard::default().permits(address));
            let network = format!("{}/{prefix}", Ipv4Addr::from(base));
            prop_assert!(guard(&[&network]).permits(address));
            let other = if at == 0 { "10.0.0.0/8" } else { "0.0.0.0/8" };
            if at != 1 {
                prop_assert!(!guard(&[other]).permits(address));
            }
        }

        #[test]
        fn only_global_unicast_of_ipv6_is_permitted(bits in any::<u128>()) {
            let v6 = Ipv6Addr::from(bits);
            if Guard::default().permits(v6.into()) {
                prop_assert!(v6.segments()[0] >> 13 == 1);
                prop_assert!(!v6.is_unique_local() && !v6.is_unicast_link_local() && !v6.is_multicast());
                prop_assert!(v6.to_ipv4().is_none());
            }
        }
    }
}
