//! Free loopback ports.
//!
//! A port is only known to be free at the moment of asking; whoever starts a server on one must be
//! ready to lose it and ask again (see `Stack::start`).

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use rand::RngExt;

/// Below Linux's ephemeral range (from 32768): a server that stops and starts again on its port
/// must not lose it to somebody's outgoing connection meanwhile.
const RANGE: Range<u16> = 20_000..32_000;

/// How far above its port a node of a Redis Cluster has its bus.
const BUS: u16 = 10_000;

/// How many ports are tried before giving up.
const TRIES: usize = 500;

/// Ports handed out in this process; none is given twice, even after its server ended.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A loopback address with a port that is free now and that this process has not handed out yet.
///
/// # Errors
/// When 500 random ports of 20000..32000 were all taken.
pub fn free() -> std::io::Result<SocketAddr> {
    take(RANGE, &[0])
}

/// The same for a Redis, which may be a node of a cluster: its port and the one of its bus.
///
/// # Errors
/// When 500 random ports of 20000..22000 were all taken, or their bus was.
pub fn free_for_redis() -> std::io::Result<SocketAddr> {
    take(RANGE.start..RANGE.end - BUS, &[0, BUS])
}

/// An address whose port lies in `range`, where all ports that lie `above` it are free as well.
fn take(range: Range<u16>, above: &[u16]) -> std::io::Result<SocketAddr> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut random = rand::rng();
    for _ in 0..TRIES {
        let first = random.random_range(range.clone());
        let ports = || above.iter().map(|distance| first + distance);
        let is_free =
            |port| !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if ports().all(is_free) {
            given.extend(ports());
            return Ok((Ipv4Addr::LOCALHOST, first).into());
        }
    }
    Err(std::io::Error::new(
        std::io::ErrorKind::AddrNotAvailable,
        format!("no free port in {range:?} after {TRIES} tries"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_all_lie_below_the_ephemeral_range() {
        let ports: Vec<u16> = (0..50).map(|_| free().unwrap().port()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }

    #[test]
    fn the_bus_of_a_redis_is_given_to_nobody_else() {
        let ports: Vec<u16> = (0..50)
            .map(|_| free_for_redis().unwrap().port())
            .flat_map(|port| [port, port + BUS, free().unwrap().port()])
            .collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
