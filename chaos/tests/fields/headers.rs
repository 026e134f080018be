//! `headers`: exactly the families that are named are there, on what passes and on what is refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{PATIENT, Running, Seen, rule};

/// The fields of each family.
const FAMILIES: [(&str, &[&str]); 3] = [
    ("ratelimit", &["ratelimit", "ratelimit-policy"]),
    (
        "x-ratelimit",
        &[
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ],
    ),
    ("retry-after", &["retry-after"]),
];

/// The fields of any family that an answer has.
fn fields(seen: &Seen) -> BTreeSet<&'static str> {
    let all = FAMILIES.iter().flat_map(|(_, fields)| *fields).copied();
    all.filter(|field| seen.headers.contains_key(*field))
        .collect()
}

/// `named` is the field `headers`; `told` are the families that answers then have.
async fn assert_told(named: Value, told: &[&str]) {
    let running = Running::start(PATIENT, json!([rule("one", 1)]), |spec| {
        spec.plugin["headers"] = named.clone();
    })
    .await;
    let refused: BTreeSet<&str> = FAMILIES
        .iter()
        .filter(|(family, _)| told.contains(family))
        .flat_map(|(_, fields)| *fields)
        .copied()
        .collect();
    // Who passes has nothing to wait for.
    let mut passed = refused.clone();
    passed.remove("retry-after");
    for (status, expected) in [(200, passed), (429, refused)] {
        let seen = Seen::of(running.get("/one/", "a")).await;
        assert_eq!(seen.status, status, "{named}");
        assert_eq!(fields(&seen), expected, "{named}: {status}");
    }
}

#[tokio::test]
async fn answers_carry_the_families_of_fields_that_are_named_and_no_others() {
    for family in FAMILIES.map(|(family, _)| family) {
        assert_told(json!([family]), &[family]).await;
    }
    assert_told(json!([]), &[]).await;
}

#[tokio::test]
async fn answers_carry_two_families_unless_others_are_named() {
    assert_told(json!(null), &["ratelimit", "retry-after"]).await;
}
