//! The guard against server-side request forgery: which addresses a connection out may go to.
//!
//! It judges addresses, never names: a name is resolved first, what came out is judged, and the very
//! address that was judged is connected to. A name that resolves to something else a moment later
//! (DNS rebinding) then changes nothing.
//!
//! The rule is an allow-list: public unicast as the IANA special-purpose registries leave it. Forms
//! of IPv6 that carry an IPv4 address (mapped, NAT64, 6to4, Teredo) are refused as a whole, because
//! what they reach is decided elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// This machine itself.
    Loopback,
    /// Where clouds keep the credentials of a machine.
    Metadata,
    /// The same link (RFC 3927, RFC 4291).
    LinkLocal,
    /// Private networks (RFC 1918, RFC 4193).
    Private,
    /// Carrier-grade NAT (RFC 6598).
    Shared,
    /// Many receivers.
    Multicast,
    /// An IPv6 form that carries an IPv4 address.
    Embedded,
    /// Not assigned to anybody on the Internet.
    Reserved,
}

impl Kind {
    /// The word for events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Metadata => "metadata",
            Self::LinkLocal => "link-local",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Multicast => "multicast",
            Self::Embedded => "embedded",
            Self::Reserved => "reserved",
        }
    }

    /// Whether an operator may name such a network as allowed. The others are nobody's service.
    fn can_be_allowed(self) -> bool {
        matches!(self, Self::Private | Self::Shared)
    }
}

/// Addresses at which clouds answer with credentials: the common one, Alibaba's, Azure's wire
/// server and Oracle's; Amazon's over IPv6.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// What an address is, if it is not public unicast.
pub fn kind(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => kind_v6(v6),
    }
}

/// IANA IPv4 special-purpose address registry.
fn kind_v4(address: Ipv4Addr) -> Option<Kind> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        _ if METADATA_V4.contains(&address) => Some(Kind::Metadata),
        (127, ..) => Some(Kind::Loopback),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some(Kind::Private),
        (100, 64..=127, _) => Some(Kind::Shared),
        (169, 254, _) => Some(Kind::LinkLocal),
        (224..=239, ..) => Some(Kind::Multicast),
        // This network, protocol assignments, documentation, the 6to4 relay, benchmarks, class E.
        (0 | 240..=255, ..)
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (198, 18..=19, _)
        | (198, 51, 100)
        | (203, 0, 113) => Some(Kind::Reserved),
        _ => None,
    }
}

/// IANA IPv6 special-purpose address registry; only `2000::/3` is global unicast.
fn kind_v6(address: Ipv6Addr) -> Option<Kind> {
    let [first, second, ..] = address.segments();
    match (first, second) {
        _ if address == METADATA_V6 => Some(Kind::Metadata),
        _ if address.is_loopback() => Some(Kind::Loopback),
        _ if address.to_ipv4().is_some() && !address.is_unspecified() => Some(Kind::Embedded),
        // NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380).
        (0x64, 0xff9b) | (0x2002, _) | (0x2001, 0) => Some(Kind::Embedded),
        (0xfc00..=0xfdff, _) => Some(Kind::Private),
        (0xfe80..=0xfebf, _) => Some(Kind::LinkLocal),
        (0xff00..=0xffff, _) => Some(Kind::Multicast),
        // Protocol assignments and documentation.
        (0x2001, 1..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => Some(Kind::Reserved),
        (0x2000..=0x3fff, _) => None,
        _ => Some(Kind::Reserved),
    }
}

/// A network in the form `10.1.0.0/16`; without a length it is one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    length: u8,
}

/// A text that is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network such as 10.1.0.0/16")]
pub struct NetworkError(String);

impl Network {
    /// Whether an address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                shared_v4(base, address) >= u32::from(self.length)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                shared_v6(base, address) >= u32::from(self.length)
            }
            _ => false,
        }
    }
}

/// Leading bits that two addresses share.
fn shared_v4(a: Ipv4Addr, b: Ipv4Addr) -> u32 {
    (u32::from(a) ^ u32::from(b)).leading_zeros()
}

fn shared_v6(a: Ipv6Addr, b: Ipv6Addr) -> u32 {
    (u128::from(a) ^ u128::from(b)).leading_zeros()
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.chars().take(64).collect());
        let (base, length) = match text.split_once('/') {
            Some((base, length)) => (base, Some(length)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(text) => text.parse().ok().filter(|n| *n <= most).ok_or_else(wrong)?,
        };
        Ok(Self { base, length })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.length)
    }
}

/// The rule that connections out are held to.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Vec<Network>,
    off: bool,
}

impl Guard {
    /// Public addresses, and the private or shared ones of these networks. Loopback, link-local,
    /// metadata, multicast and embedded forms stay refused whatever is listed.
    pub fn new(allowed: Vec<Network>) -> Self {
        Self {
            allowed,
            off: false,
        }
    }

    /// Lets every address pass. It is the control of tests that must show what the guard is for.
    pub fn danger_off() -> Self {
        Self {
            allowed: Vec::new(),
            off: true,
        }
    }

    /// Whether an address may be connected to.
    pub fn check(&self, address: IpAddr) -> Result<(), Kind> {
        let Some(kind) = kind(address).filter(|_| !self.off) else {
            return Ok(());
        };
        let listed = self.allowed.iter().any(|network| network.contains(address));
        if listed && kind.can_be_allowed() {
            return Ok(());
        }
        Err(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Kind> {
        kind(text.parse().unwrap())
    }

    #[test]
    fn each_special_range_is_refused_at_both_ends_and_its_neighbours_are_public() {
        for (first, last, expected) in [
            ("0.0.0.0", "0.255.255.255", Kind::Reserved),
            ("10.0.0.0", "10.255.255.255", Kind::Private),
            ("100.64.0.0", "100.127.255.255", Kind::Shared),
            ("127.0.0.0", "127.255.255.255", Kind::Loopback),
            ("169.254.0.0", "169.254.255.255", Kind::LinkLocal),
            ("172.16.0.0", "172.31.255.255", Kind::Private),
            ("192.0.0.0", "192.0.0.255", Kind::Reserved),
            ("192.0.2.0", "192.0.2.255", Kind::Reserved),
            ("192.88.99.0", "192.88.99.255", Kind::Reserved),
            ("192.168.0.0", "192.168.255.255", Kind::Private),
            ("198.18.0.0", "198.19.255.255", Kind::Reserved),
            ("198.51.100.0", "198.51.100.255", Kind::Reserved),
            ("203.0.113.0", "203.0.113.255", Kind::Reserved),
            ("224.0.0.0", "239.255.255.255", Kind::Multicast),
            ("240.0.0.0", "255.255.255.255", Kind::Reserved),
            ("fc00::", "fdff:ffff::", Kind::Private),
            ("fe80::", "febf:ffff::", Kind::LinkLocal),
            ("ff00::", "ffff::1", Kind::Multicast),
            ("2001:db8::", "2001:db8:ffff::", Kind::Reserved),
            ("2001:1::", "2001:1ff:ffff::", Kind::Reserved),
            ("3fff::", "3fff:fff:ffff::", Kind::Reserved),
        ] {
            assert_eq!(of(first), Some(expected), "{first}");
            assert_eq!(of(last), Some(expected), "{last}");
        }
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "3fff:1000::1",
        ] {
            assert_eq!(of(public), None, "{public}");
        }
    }

    #[test]
    fn metadata_and_every_form_that_carries_an_ipv4_address_are_refused() {
        for text in [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
        ] {
            assert_eq!(of(text), Some(Kind::Metadata), "{text}");
        }
        for text in [
            "::ffff:169.254.169.254",
            "::ffff:1.1.1.1",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001:0:1::1",
        ] {
            assert_eq!(of(text), Some(Kind::Embedded), "{text}");
        }
        for text in ["::", "0100::1", "4000::1", "fec0::1"] {
            assert_eq!(of(text), Some(Kind::Reserved), "{text}");
        }
        assert_eq!(of("::1"), Some(Kind::Loopback));
    }

    #[test]
    fn a_listed_network_opens_private_addresses_and_nothing_else() {
        let list = [
            "10.1.0.0/16",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "0.0.0.0/0",
            "::/0",
        ];
        let listed = list.map(|n| n.parse().unwrap()).to_vec();
        let (strict, open) = (Guard::default(), Guard::new(listed));
        let check = |guard: &Guard, text: &str| guard.check(text.parse().unwrap());
        assert_eq!(check(&strict, "10.1.2.3"), Err(Kind::Private));
        assert_eq!(check(&open, "10.1.2.3"), Ok(()));
        assert_eq!(check(&open, "fd12::1"), Ok(()));
        assert_eq!(check(&open, "127.0.0.1"), Err(Kind::Loopback));
        assert_eq!(check(&open, "169.254.169.254"), Err(Kind::Metadata));
        assert_eq!(check(&open, "fd00:ec2::254"), Err(Kind::Metadata));
        assert_eq!(check(&open, "169.254.1.1"), Err(Kind::LinkLocal));
        assert_eq!(check(&open, "::ffff:10.1.2.3"), Err(Kind::Embedded));
        assert_eq!(check(&Guard::danger_off(), "169.254.169.254"), Ok(()));
        let one = Guard::new(vec!["10.1.2.3".parse().unwrap()]);
        assert_eq!(check(&one, "10.1.2.3"), Ok(()));
        assert_eq!(check(&one, "10.1.2.4"), Err(Kind::Private));
    }

    #[test]
    fn a_network_is_an_address_and_a_length() {
        for text in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0/8",
            "a/8",
            "",
            "10.0.0.0/",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains("10.1.255.255".parse().unwrap()));
        assert!(!network.contains("10.2.0.0".parse().unwrap()));
        assert!(!network.contains("::ffff:10.1.0.0".parse().unwrap()));
    }
}
