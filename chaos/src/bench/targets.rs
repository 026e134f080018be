//! All targets, as functions of what was measured. Pure.

use std::collections::BTreeMap;

use super::measured::Measured;
use super::memory::Memory;
use super::peer::Peer;
use super::target::{Bound, Target};
use super::wiring::REFUSED_RPS;

/// The numbers that a target is a function of: those of one round, or medians.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub(super) peers: BTreeMap<Peer, Measured>,
    pub(super) memory: Option<Memory>,
    pub(super) module_bytes: Option<u64>,
}

impl Sheet {
    fn get(&self, peer: Peer, number: fn(&Measured) -> f64) -> Option<f64> {
        self.peers.get(&peer).map(number)
    }

    fn ratio(&self, peer: Peer, to: Peer, number: fn(&Measured) -> f64) -> Option<f64> {
        Some(self.get(peer, number)? / self.get(to, number)?)
    }

    /// CPU per request beyond that without a filter.
    pub(super) fn added_us(&self, peer: Peer) -> Option<f64> {
        let all = self.get(peer, Measured::limiting_us)?;
        Some(all - self.get(Peer::None, Measured::limiting_us)?)
    }

    fn added_ratio(&self, peer: Peer, to: Peer) -> Option<f64> {
        // Where the other added nothing there is no ratio.
        let to = self.added_us(to).filter(|it| *it > 0.0)?;
        Some(self.added_us(peer)? / to)
    }

    /// Calls for each token that came free; the one that was free at the start is none.
    fn calls_per_token(&self) -> Option<f64> {
        let refused = self.peers.get(&Peer::Refused)?;
        Some((refused.calls - 1.0) / (REFUSED_RPS * refused.seconds))
    }
}

const MIB: f64 = 1_048_576.0;

/// All targets.
pub(super) const TARGETS: [Target; 13] = [
    ratio(
        "strict: added CPU against ratelimit",
        Bound::AtMost(0.2),
        &[Peer::None, Peer::Strict, Peer::Ratelimit],
        |it| it.added_ratio(Peer::Strict, Peer::Ratelimit),
    ),
    ratio(
        "strict: throughput against ratelimit",
        Bound::AtLeast(2.0),
        &[Peer::Strict, Peer::Ratelimit],
        |it| it.ratio(Peer::Strict, Peer::Ratelimit, |it| it.rps),
    ),
    ratio(
        "strict: throughput against limitador",
        Bound::AtLeast(1.5),
        &[Peer::Strict, Peer::Limitador],
        |it| it.ratio(Peer::Strict, Peer::Limitador, |it| it.rps),
    ),
    ratio(
        "strict: throughput against an empty wasm filter",
        Bound::AtLeast(0.9),
        &[Peer::Strict, Peer::Empty],
        |it| it.ratio(Peer::Strict, Peer::Empty, |it| it.rps),
    ),
    ratio(
        "strict: p99 at 2,000 rps against ratelimit",
        Bound::AtMost(0.5),
        &[Peer::Strict, Peer::Ratelimit],
        |it| it.ratio(Peer::Strict, Peer::Ratelimit, |it| it.p99_ms),
    ),
    ratio(
        "leased: throughput against local_ratelimit",
        Bound::AtLeast(0.95),
        &[Peer::Leased, Peer::Local],
        |it| it.ratio(Peer::Leased, Peer::Local, |it| it.rps),
    ),
    ratio(
        "leased: added CPU against an empty wasm filter",
        Bound::AtMost(1.25),
        &[Peer::None, Peer::Leased, Peer::Empty],
        |it| it.added_ratio(Peer::Leased, Peer::Empty),
    ),
    Target {
        unit: "per request",
        ..ratio(
            "leased: Redis calls for a hot key",
            Bound::AtMost(0.01),
            &[Peer::Leased],
            |it| it.get(Peer::Leased, |it| it.calls_per_request),
        )
    },
    Target {
        unit: "per token",
        ..ratio(
            "refused: Redis calls for each token that comes free",
            Bound::AtMost(1.0),
            &[Peer::Refused],
            Sheet::calls_per_token,
        )
    },
    Target {
        unit: "ms",
        ..ratio(
            "open: p99 beyond that without a filter",
            Bound::AtMost(1.0),
            &[Peer::None, Peer::Open],
            |it| Some(it.get(Peer::Open, |it| it.p99_ms)? - it.get(Peer::None, |it| it.p99_ms)?),
        )
    },
    Target {
        unit: "MiB",
        memory: true,
        ..ratio("memory for 100,000 keys", Bound::AtMost(32.0), &[], |it| {
            it.memory.map(|it| it.grown_bytes / MIB)
        })
    },
    Target {
        unit: "MiB",
        memory: true,
        ..ratio(
            "memory for 100,000 further keys (flat)",
            Bound::AtMost(1.0),
            &[],
            |it| it.memory.map(|it| it.further_bytes / MIB),
        )
    },
    Target {
        unit: "KiB",
        ..ratio("size of the .wasm", Bound::AtMost(600.0), &[], |it| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a file has fewer than 2^53 bytes"
            )]
            it.module_bytes.map(|it| it as f64 / 1024.0)
        })
    },
];

const fn ratio(
    name: &'static str,
    bound: Bound,
    peers: &'static [Peer],
    value: fn(&Sheet) -> Option<f64>,
) -> Target {
    Target {
        name,
        unit: "x",
        bound,
        peers,
        memory: false,
        value,
    }
}
