//! I9: whatever a client sends, the module does not trap.

use proptest::prelude::*;

use crate::wasm_host::Pairs;
use crate::{CHARGED, Fixture, OPEN, headers, replied};

/// A request with these headers is asked about, resumed and ended.
fn passes(fixture: &mut Fixture, headers: Pairs) {
    let (stream, _) = fixture.worker.request(fixture.root, headers.clone());
    fixture.worker.turn();
    assert_eq!(fixture.worker.calls().len(), 1);
    fixture.worker.reply(replied(CHARGED));
    fixture.assert_passed(stream);
    fixture.worker.response(stream, headers);
    fixture.worker.delete(stream);
}

#[test]
fn i9_a_request_without_headers_passes() {
    passes(&mut Fixture::new(OPEN), Vec::new());
}

#[test]
fn i9_a_request_with_1000_headers_passes() {
    let mut all = headers("a");
    all.extend((0..1000).map(|number| (format!("x-{number}"), b"v".to_vec())));
    passes(&mut Fixture::new(OPEN), all);
}

#[test]
fn i9_a_request_with_a_header_of_64_kib_passes() {
    passes(&mut Fixture::new(OPEN), headers(&"k".repeat(64 * 1024)));
}

#[test]
fn i9_nothing_is_kept_of_requests_that_are_over() {
    let mut fixture = Fixture::new(OPEN);
    for request in 0..300 {
        let key = format!("{request}").repeat(16 * 1024);
        passes(&mut fixture, headers(&key));
    }
    let memory = fixture.worker.memory_bytes();
    assert!(memory < 8 * 1024 * 1024, "{memory} bytes");
}

#[test]
fn i9_header_values_that_are_not_utf8_pass_and_are_told_apart() {
    let mut fixture = Fixture::new(OPEN);
    for bytes in [&b"\xff\xfe"[..], b"\xff\xfd", b"\xc3\x28"] {
        let (_, _) = fixture.worker.request(
            fixture.root,
            vec![
                ("x-api-key".to_owned(), bytes.to_vec()),
                (":path".to_owned(), bytes.to_vec()),
            ],
        );
    }
    fixture.worker.turn();
    let calls = fixture.worker.calls();
    assert_eq!(crate::commands(&calls[0]).len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn i9_header_values_of_any_bytes_pass(
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
    ) {
        let names =
            [":method", ":path", ":authority", "x-api-key", "content-type", "cookie", "host"];
        let names = names.iter().cycle().map(|name| (*name).to_owned());
        passes(&mut Fixture::new(OPEN), names.zip(values).collect());
    }
}
