//! The client's address: read from Envoy's text, and cut down to the network that is counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads the text of Envoy's `source.address`: an address with a port (`1.2.3.4:567`,
/// `[2001:db8::1]:80`) or without (`1.2.3.4`, `2001:db8::1`, `[2001:db8::1]`).
///
/// `None` for anything else, such as the path of a Unix socket. An IPv6 zone is dropped.
pub(super) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let with_port = text.parse::<SocketAddr>().map(|address| address.ip());
    let bare = || {
        let unbracketed = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match unbracketed {
            Some(v6) => v6.parse().map(IpAddr::V6).ok(),
            None => text.parse().ok(),
        }
    };
    with_port.ok().or_else(bare)
}

/// The network of `address`: the first `v4` or `v6` bits kept, the rest zero. An IPv4 address that
/// was mapped into IPv6 (`::ffff:1.2.3.4`) is an IPv4 address, so a client has one network however
/// the listener is bound. More bits than the address has keep all of it.
pub(crate) fn network(address: IpAddr, v4: u8, v6: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let dropped = 32_u32.saturating_sub(u32::from(v4));
            let mask = u32::MAX.checked_shl(dropped).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
        }
        IpAddr::V6(ip) => {
            let dropped = 128_u32.saturating_sub(u32::from(v6));
            let mask = u128::MAX.checked_shl(dropped).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_read_with_and_without_a_port() {
        for (text, expected) in [
            ("1.2.3.4:567", "1.2.3.4"),
            ("1.2.3.4", "1.2.3.4"),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(parse_address(text.as_bytes()), Some(ip(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_none() {
        for text in [
            "",
            "/run/envoy.sock",
            "1.2.3.4:",
            "1.2.3.4:99999",
            "[1.2.3.4]",
            "[::1",
        ] {
            assert_eq!(parse_address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_address(b"\xff\xfe"), None);
    }

    #[test]
    fn a_network_keeps_the_first_bits_only() {
        assert_eq!(network(ip("203.0.113.77"), 24, 64), ip("203.0.113.0"));
        assert_eq!(network(ip("203.0.113.77"), 32, 64), ip("203.0.113.77"));
        assert_eq!(network(ip("203.0.113.77"), 0, 0), ip("0.0.0.0"));
        assert_eq!(
            network(ip("2001:db8:1:2:3::4"), 32, 64),
            ip("2001:db8:1:2::")
        );
        assert_eq!(network(ip("2001:db8::4"), 32, 0), ip("::"));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_it_carries() {
        assert_eq!(network(ip("::ffff:203.0.113.77"), 24, 8), ip("203.0.113.0"));
    }

    proptest! {
        #[test]
        fn every_socket_address_is_read_back(address: SocketAddr) {
            prop_assert_eq!(parse_address(address.to_string().as_bytes()), Some(address.ip()));
            prop_assert_eq!(parse_address(address.ip().to_string().as_bytes()), Some(address.ip()));
        }

        #[test]
        fn addresses_share_a_network_exactly_when_their_first_bits_are_equal(
            a: u32, b: u32, bits in 1_u8..=32,
        ) {
            let shift = 32 - u32::from(bits);
            let of = |ip: u32| network(IpAddr::V4(Ipv4Addr::from_bits(ip)), bits, 64);
            prop_assert_eq!(of(a) == of(b), a >> shift == b >> shift);
            prop_assert_eq!(of(a), of((a >> shift) << shift));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = parse_address(&bytes);
        }
    }
}
