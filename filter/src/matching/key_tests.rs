//! The encoding of keys: injective, bounded, readable.

use super::*;
use crate::testing::FakeHost;
use proptest::prelude::*;

/// A recipe of as many headers as `values`, and a request that has those that are `Some`.
fn key_of(values: &[Option<Vec<u8>>]) -> Key {
    let name = |index: usize| format!("h{index}");
    let parts = (0..values.len())
        .map(|index| Part::Header(name(index)))
        .collect();
    let headers = values
        .iter()
        .enumerate()
        .filter_map(|(index, value)| Some((name(index), value.clone()?)))
        .collect();
    let host = FakeHost {
        headers,
        ..FakeHost::default()
    };
    KeyRecipe { parts }.key(&Request::new(&host))
}

fn text_of(values: &[Option<&[u8]>]) -> String {
    let values: Vec<_> = values
        .iter()
        .map(|value| value.map(<[u8]>::to_vec))
        .collect();
    key_of(&values).text
}

/// Values that look like pieces of the encoding, next to arbitrary ones.
fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let tricky = prop::sample::select(vec![
        "", "|", "%", "%-", "%#", "%*", "-", "#", "*", "%7C", "%25", "a|b", "{", "}", "a", "b",
        "%-|%-",
    ]);
    let hashed_look = prop::collection::vec(any::<u8>(), 16)
        .prop_map(|bytes| text_of(&[Some(&[bytes, vec![b'x'; 128]].concat())]).into_bytes());
    prop_oneof![
        2 => Just(None),
        4 => tricky.prop_map(|text| Some(text.as_bytes().to_vec())),
        2 => prop::collection::vec(any::<u8>(), 0..8).prop_map(Some),
        2 => prop::collection::vec(0_u8..2, 120..140).prop_map(Some),
        1 => hashed_look.prop_map(Some),
    ]
}

/// Reads an encoded part back: `None` for a missing one, the digest's text for a hashed one.
fn decode(part: &str) -> Option<Vec<u8>> {
    if part == MISSING {
        return None;
    }
    if part.starts_with(HASHED) {
        return Some(part.as_bytes().to_vec());
    }
    let mut bytes = part.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
        } else {
            byte
        });
    }
    Some(decoded)
}

proptest! {
    #[test]
    fn distinct_parts_give_distinct_keys(
        (a, b) in (1_usize..4).prop_flat_map(|parts| {
            let tuple = || prop::collection::vec(value(), parts);
            (tuple(), tuple())
        }),
    ) {
        prop_assert_eq!(a == b, key_of(&a).text == key_of(&b).text);
    }

    #[test]
    fn a_key_can_be_read_back_part_by_part(parts in prop::collection::vec(value(), 1..5)) {
        let key = key_of(&parts);
        let read: Vec<_> = key.text.split(SEPARATOR).map(decode).collect();
        let expected: Vec<_> = parts.iter().map(|part| {
            let long = part.as_ref().is_some_and(|bytes| bytes.len() > VALUE_BYTES_MAX);
            if long { Some(key_of(std::slice::from_ref(part)).text.into_bytes()) } else { part.clone() }
        }).collect();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(key.missing, parts.contains(&None));
    }

    #[test]
    fn a_key_of_values_is_that_of_a_request_which_has_them(
        values in prop::collection::vec(".{0,40}", 0..4),
    ) {
        let parts: Vec<_> = values.iter().map(|value| Some(value.clone().into_bytes())).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        prop_assert_eq!(Key::of(&values), key_of(&parts));
    }

    #[test]
    fn a_redis_key_is_printable_bounded_and_has_one_hash_tag(
        parts in prop::collection::vec(value(), 0..=KEY_PARTS_MAX),
    ) {
        let key = redis_key("vg", "per-key", &key_of(&parts), "tb");
        prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(key.len() <= REDIS_KEY_BYTES_MAX);
        prop_assert_eq!(key.matches(['{', '}']).count(), 2);
    }
}

#[test]
fn keys_read_like_what_they_are_made_of() {
    assert_eq!(text_of(&[]), "");
    assert_eq!(
        text_of(&[Some(b"alice@example.com"), Some(b"/api/v1")]),
        "alice@example.com|/api/v1"
    );
    assert_eq!(
        text_of(&[Some(b""), None, Some(b"a|b%{}\xff\n")]),
        "|%-|a%7Cb%25%7B%7D%FF%0A"
    );
    let key = Key {
        text: "alice".into(),
        missing: false,
    };
    assert_eq!(
        redis_key("vg", "per-key", &key, "tb"),
        "vg:{per-key:alice}:tb"
    );
}

#[test]
fn a_value_is_hashed_from_the_first_byte_above_the_bound() {
    assert_eq!(
        text_of(&[Some(&[b'a'; VALUE_BYTES_MAX])]),
        "a".repeat(VALUE_BYTES_MAX)
    );
    let hashed = text_of(&[Some(&[b'a'; VALUE_BYTES_MAX + 1])]);
    // The digest by coreutils: printf 'a%.0s' {1..129} | sha256sum
    assert_eq!(hashed, "%#C12CB024A2E5551CCA0E08FCE8F1C5E3");
}

#[test]
fn the_longest_redis_key_is_the_bound() {
    let key = key_of(&vec![Some(vec![0; VALUE_BYTES_MAX]); KEY_PARTS_MAX]);
    let redis = redis_key(
        &"p".repeat(KEY_PREFIX_BYTES_MAX),
        &"r".repeat(RULE_NAME_BYTES_MAX),
        &key,
        "tb",
    );
    // One separator fewer than parts.
    assert_eq!(redis.len() + 1, REDIS_KEY_BYTES_MAX);
}

#[test]
fn every_kind_of_part_finds_its_value() {
    let headers = [
        (":method", "GET"),
        (":authority", "API.example.com:80"),
        (":path", "/a?b&q=%41+b"),
        ("x", ""),
        ("cookie", "a=b; sid=s%7c"),
    ];
    let recipe = KeyRecipe {
        parts: vec![
            Part::Method,
            Part::Host,
            Part::Path,
            Part::Header("x".into()),
            Part::ClientIp { v4: 24, v6: 64 },
            Part::Query("q".into()),
            Part::Cookie("sid".into()),
            Part::Property(vec!["xds".into(), "route_name".into()]),
            Part::Value("fixed".into()),
        ],
    };
    let with_ip = |ip: &str| {
        let host = FakeHost::with_headers(&headers)
            .property("source.address", ip)
            .property("xds.route_name", "v1");
        recipe.key(&Request::new(&host))
    };
    assert_eq!(
        with_ip("192.0.2.9:80").text,
        "GET|api.example.com|/a||192.0.2.0|A%20b|s%7C|v1|fixed"
    );
    assert_eq!(with_ip("[::ffff:192.0.2.7]:80"), with_ip("192.0.2.9:80"));
    assert_eq!(
        with_ip("[2001:db8:0:0:1::]:80").text,
        "GET|api.example.com|/a||2001:db8::|A%20b|s%7C|v1|fixed"
    );
    assert!(!with_ip("[::1]:80").missing);
    let nothing = recipe.key(&Request::new(&FakeHost::default()));
    assert_eq!(
        nothing,
        Key {
            text: "%-|%-|%-|%-|%-|%-|%-|%-|fixed".into(),
            missing: true
        }
    );
}

#[test]
fn metadata_of_the_request_goes_before_that_of_its_route() {
    let keys = ["com.example", "user", "id"].map(str::to_owned);
    let recipe = KeyRecipe {
        parts: vec![Part::Metadata(MetadataPaths::new(&keys))],
    };
    let dynamic = "metadata.filter_metadata.com.example.user.id";
    let route = "xds.route_metadata.filter_metadata.com.example.user.id";
    let host = FakeHost::default().property(route, "r");
    assert_eq!(recipe.key(&Request::new(&host)).text, "r");
    assert_eq!(*host.asked.borrow(), [dynamic, route]);
    let host = host.property(dynamic, "d");
    assert_eq!(recipe.key(&Request::new(&host)).text, "d");
    assert!(recipe.key(&Request::new(&FakeHost::default())).missing);
}

#[test]
fn different_values_of_one_name_share_a_counter_and_equal_ones_are_one() {
    let key = |part: Part, headers: &[(&str, &str)]| {
        let recipe = KeyRecipe { parts: vec![part] };
        let key = recipe.key(&Request::new(&FakeHost::with_headers(headers)));
        assert!(!key.missing);
        key.text
    };
    let query = |target| key(Part::Query("k".into()), &[(":path", target)]);
    assert_eq!(query("/?k=a&k=b"), "%*");
    assert_eq!(query("/?k=c&k=a&k=a"), "%*");
    assert_eq!(query("/?k=a&x&%6B=%61"), "a");
    let cookie = |headers: &[(&str, &str)]| key(Part::Cookie("k".into()), headers);
    assert_eq!(cookie(&[("cookie", "k=a"), ("cookie", "k=b")]), "%*");
    assert_eq!(cookie(&[("cookie", "k=a"), ("cookie", "k=\"a\"")]), "a");
}
