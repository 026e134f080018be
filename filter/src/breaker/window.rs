//! The last calls of a closed breaker, two bits each.
//!
//! Exact calls, not time buckets: a rate over the last N calls means the same at 5 and at 50,000
//! requests a second. The bits form one long shift register with the newest call lowest, so the
//! oldest falls out at the top by itself, shrinking the window is cutting the register, and a
//! window full of good calls does not change when another good one arrives (which lets the caller
//! skip writing the record).

use super::codec::DecodeError;
use crate::config;

/// What the window remembers of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// It counts in the failure rate.
    pub(super) failed: bool,
    /// It counts in the slow-call rate.
    pub(super) slow: bool,
}

/// A sliding window over the last `capacity` calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    capacity: u16,
    calls: u16,
    /// Four calls a byte, newest in the lowest bits of the first; zero above `calls`.
    register: Vec<u8>,
}

const FAILED: u8 = 0b01_01_01_01;
const SLOW: u8 = 0b10_10_10_10;
const CALLS_PER_BYTE: usize = 4;

impl Window {
    /// An empty window over the last `capacity` calls.
    pub(super) fn new(capacity: u16) -> Self {
        Self {
            capacity,
            calls: 0,
            register: vec![0; bytes_for(capacity)],
        }
    }

    /// Remembers a call, and forgets the oldest when the window is full.
    pub(super) fn push(&mut self, mark: Mark) {
        let mut incoming = u8::from(mark.failed) | (u8::from(mark.slow) << 1);
        for byte in &mut self.register {
            let outgoing = *byte >> 6;
            *byte = (*byte << 2) | incoming;
            incoming = outgoing;
        }
        self.calls = self.calls.saturating_add(1).min(self.capacity);
        self.clear_unused();
    }

    /// Calls remembered, at most the capacity.
    pub(super) const fn calls(&self) -> u16 {
        self.calls
    }

    /// How many of them failed.
    pub(super) fn failed(&self) -> u16 {
        self.count(FAILED)
    }

    /// How many of them were slow.
    pub(super) fn slow(&self) -> u16 {
        self.count(SLOW)
    }

    /// Appends the calls to `bytes`: their number (u16, little endian), then their bits. The
    /// capacity stays out of it: it belongs to whoever reads the record.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.calls.to_le_bytes());
        bytes.extend(self.register.iter().take(bytes_for(self.calls)));
    }

    /// A window over the last `capacity` calls with those that `encode` wrote, given as their
    /// number and the bits that follow it. Of more calls than fit, the newest stay.
    pub(super) fn decode(calls: u16, bits: &[u8], capacity: u16) -> Result<Self, DecodeError> {
        if calls > config::Breaker::WINDOW_MAX || bits.len() != bytes_for(calls) {
            return Err(DecodeError::Length);
        }
        let stored = Self {
            capacity: calls,
            calls,
            register: bits.to_vec(),
        };
        let mut window = stored.clone();
        window.clear_unused();
        if window != stored {
            return Err(DecodeError::Field("window"));
        }
        window.capacity = capacity;
        window.calls = calls.min(capacity);
        window.register.resize(bytes_for(capacity), 0);
        window.clear_unused();
        Ok(window)
    }

    fn clear_unused(&mut self) {
        let mut calls_left = usize::from(self.calls);
        for byte in &mut self.register {
            *byte &= match calls_left {
                0 => 0,
                1 => 0b11,
                2 => 0b11_11,
                3 => 0b11_11_11,
                _ => u8::MAX,
            };
            calls_left = calls_left.saturating_sub(CALLS_PER_BYTE);
        }
    }

    fn count(&self, kind: u8) -> u16 {
        let ones: u32 = self
            .register
            .iter()
            .map(|byte| (byte & kind).count_ones())
            .sum();
        u16::try_from(ones).unwrap_or(u16::MAX)
    }
}

fn bytes_for(calls: u16) -> usize {
    usize::from(calls).div_ceil(CALLS_PER_BYTE)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn mark() -> impl Strategy<Value = Mark> {
        any::<(bool, bool)>().prop_map(|(failed, slow)| Mark { failed, slow })
    }

    fn filled(capacity: u16, marks: &[Mark]) -> Window {
        let mut window = Window::new(capacity);
        marks.iter().for_each(|mark| window.push(*mark));
        window
    }

    fn round_trip(window: &Window, capacity: u16) -> Result<Window, DecodeError> {
        let mut bytes = Vec::new();
        window.encode(&mut bytes);
        Window::decode(
            u16::from_le_bytes([bytes[0], bytes[1]]),
            &bytes[2..],
            capacity,
        )
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_plain_queue_of_the_last_calls(
            capacity in 1u16..=1_000,
            marks in prop::collection::vec(mark(), 0..1_200),
        ) {
            let window = filled(capacity, &marks);
            let mut queue: VecDeque<Mark> = marks.into_iter().collect();
            queue.drain(..queue.len().saturating_sub(usize::from(capacity)));
            prop_assert_eq!(usize::from(window.calls()), queue.len());
            let failed = queue.iter().filter(|mark| mark.failed).count();
            let slow = queue.iter().filter(|mark| mark.slow).count();
            prop_assert_eq!(usize::from(window.failed()), failed);
            prop_assert_eq!(usize::from(window.slow()), slow);
        }

        #[test]
        fn a_window_read_back_at_another_capacity_keeps_the_newest_calls(
            written in 1u16..=60,
            read in 1u16..=60,
            marks in prop::collection::vec(mark(), 0..80),
        ) {
            let window = filled(written, &marks);
            let kept = marks.len().min(usize::from(written)).min(usize::from(read));
            let newest = filled(read, &marks[marks.len() - kept..]);
            prop_assert_eq!(round_trip(&window, read), Ok(newest));
        }
    }

    #[test]
    fn a_window_of_one_remembers_only_the_last_call() {
        let mut window = filled(
            1,
            &[Mark {
                failed: true,
                slow: true,
            }],
        );
        assert_eq!((window.calls(), window.failed(), window.slow()), (1, 1, 1));
        window.push(Mark {
            failed: false,
            slow: false,
        });
        assert_eq!((window.calls(), window.failed(), window.slow()), (1, 0, 0));
    }

    #[test]
    fn a_window_of_the_largest_size_counts_all_its_calls() {
        let max = config::Breaker::WINDOW_MAX;
        let window = filled(
            max,
            &vec![
                Mark {
                    failed: true,
                    slow: false
                };
                usize::from(max) + 1
            ],
        );
        assert_eq!(
            (window.calls(), window.failed(), window.slow()),
            (max, max, 0)
        );
        assert_eq!(round_trip(&window, max), Ok(window));
        let beyond = vec![0; bytes_for(max + 1)];
        assert_eq!(
            Window::decode(max + 1, &beyond, max),
            Err(DecodeError::Length)
        );
    }

    #[test]
    fn another_good_call_leaves_a_full_window_of_good_calls_as_it_is() {
        let good = Mark {
            failed: false,
            slow: false,
        };
        assert_eq!(filled(5, &[good; 5]), filled(5, &[good; 6]));
    }

    #[test]
    fn bits_above_the_number_of_calls_are_refused() {
        assert_eq!(
            Window::decode(3, &[0b01_00_00_00], 3),
            Err(DecodeError::Field("window"))
        );
    }
}
