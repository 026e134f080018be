//! Input that is nearly right: good bytes, changed a little.

use proptest::prelude::*;
use proptest::sample::select;

/// One change. Places are taken modulo the length.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Put(usize, Vec<u8>),
    Cut(usize, usize),
    Repeat(usize, usize, usize),
    Set(usize, u8),
}

/// A few changes, which put in words of this kind of input more often than bytes of any kind.
pub(crate) fn edits(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Edit>> {
    let put = prop_oneof![
        4 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    let edit = prop_oneof![
        4 => (any::<usize>(), put).prop_map(|(at, bytes)| Edit::Put(at, bytes)),
        2 => (any::<usize>(), 1usize..40).prop_map(|(at, length)| Edit::Cut(at, length)),
        1 => (any::<usize>(), 1usize..20, 1usize..3_000)
            .prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
        2 => any::<(usize, u8)>().prop_map(|(at, byte)| Edit::Set(at, byte)),
    ];
    prop::collection::vec(edit, 0..6)
}

pub(crate) fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let range = |at: usize, length: usize| {
            let start = at % (bytes.len() + 1);
            start..(start + length).min(bytes.len())
        };
        match edit {
            Edit::Put(at, new) => drop(bytes.splice(range(*at, 0), new.iter().copied())),
            Edit::Cut(at, length) => drop(bytes.drain(range(*at, *length))),
            Edit::Repeat(at, length, times) => {
                let part = bytes[range(*at, *length)].repeat(*times);
                bytes.splice(range(*at, 0), part);
            }
            Edit::Set(at, byte) => {
                let place = range(*at, 1);
                bytes[place].fill(*byte);
            }
        }
    }
    bytes
}
