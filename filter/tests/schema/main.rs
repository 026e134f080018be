//! `envoy/velocitygate.schema.json` is what the reader takes: it is made by asking the reader, and
//! tried on the configurations of the other tests.

mod explorer;
mod rows;
#[path = "../tree/mod.rs"]
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;
use tree::{files, root};

const UPDATE: &str = "UPDATE_SCHEMA=1 cargo test -p velocitygate --test schema";

fn path() -> PathBuf {
    root().join("envoy/velocitygate.schema.json")
}

fn validator() -> jsonschema::Validator {
    let schema = serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// The JSON files of a folder of configurations, by name. Those that are no JSON are left out.
fn documents(folder: &str) -> Vec<(String, Json)> {
    let folder = root().join("filter/tests/data/config").join(folder);
    let read = |path: PathBuf| {
        let json = serde_json::from_slice(&fs::read(&path).unwrap()).ok()?;
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        Some((name, json))
    };
    files(&folder, ".json")
        .into_iter()
        .filter_map(read)
        .collect()
}

#[test]
fn the_schema_is_current() {
    let current = serde_json::to_string_pretty(&explorer::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(path(), &current).unwrap();
    }
    let published = fs::read_to_string(path()).unwrap_or_default();
    assert!(
        published == current,
        "the schema is out of date: run {UPDATE}"
    );
}

#[test]
fn every_valid_file_fits_the_schema() {
    let validator = validator();
    let documents = documents("valid");
    assert!(documents.len() >= 10, "found {}", documents.len());
    for (name, document) in documents {
        let problems = validator
            .iter_errors(&document)
            .map(|error| error.to_string());
        assert_eq!(problems.collect::<Vec<_>>(), Vec::<String>::new(), "{name}");
    }
}

/// Mistakes in how values fit together, or in values with a grammar of their own. The reader sees
/// these, and the schema does not.
const UNSEEN: [&str; 69] = [
    "breaker_max_open_below_open",
    "breaker_minimum_above_window",
    "breaker_slow_call_above_timeout",
    "bucket_never_full",
    "burst_of_fixed_window",
    "burst_of_sliding_log",
    "burst_of_sliding_window",
    "cost_above_burst",
    "cost_above_requests",
    "cost_default_above_limit",
    "cost_default_above_max",
    "cost_header_host",
    "cost_header_local_below_max",
    "cost_max_above_limit",
    "cost_max_zero",
    "duplicate_field",
    "host_star_alone",
    "host_star_inside",
    "host_with_port",
    "key_header_host",
    "key_property_dotted",
    "lease_leaves_less_than_the_cost",
    "lease_leaves_no_token",
    "lease_leaves_no_token_to_an_override",
    "lease_ttl_too_long",
    "lease_ttl_too_short",
    "lease_window_over_a_year",
    "limit_fraction_of_a_millisecond",
    "local_never_admits_cost",
    "local_share_too_fine",
    "match_header_regex_broken",
    "match_property_path_dotted",
    "match_query_regex_broken",
    "method_lower_case",
    "name_twice",
    "override_below_cost",
    "override_burst_of_a_window",
    "override_client_ip",
    "override_client_ip_host_bits",
    "override_client_ip_twice",
    "override_fixed_value",
    "override_header_break",
    "override_host",
    "override_host_twice",
    "override_key_too_many_values",
    "override_key_twice",
    "override_local_below_cost",
    "override_method",
    "override_never_full",
    "override_nothing",
    "override_number",
    "override_path",
    "override_property_empty",
    "override_two_outcomes",
    "override_unlimited_and_denied",
    "overrides_without_key",
    "path_regex_broken",
    "path_regex_look_ahead",
    "path_regex_too_large",
    "path_regex_unanchored_trick",
    "per_too_long",
    "per_zero",
    "redis_timeout_fraction",
    "redis_timeout_too_long",
    "response_header_host",
    "response_header_name",
    "response_header_reserved",
    "response_header_twice",
    "sliding_log_too_many",
];

#[test]
fn every_other_mistake_does_not_fit_the_schema() {
    let validator = validator();
    let documents = documents("invalid");
    assert!(documents.len() >= 100, "found {}", documents.len());
    let unseen = documents
        .iter()
        .filter(|(_, document)| validator.is_valid(document));
    let unseen: BTreeSet<&str> = unseen.map(|(name, _)| name.as_str()).collect();
    assert_eq!(unseen, UNSEEN.into_iter().collect());
}
