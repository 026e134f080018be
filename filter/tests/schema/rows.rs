//! Each row of the README's table of fields has tests that show what it says.

use std::collections::BTreeSet;
use std::fs;

use crate::tree::{files, root};

/// The first column of the table, and the tests that try what stands beside it: on real Envoy and
/// Redis where a request can show it.
const ROWS: [(&str, &[&str]); 20] = [
    (
        "durations",
        &["a_duration_is_digits_and_a_unit_and_nothing_else"],
    ),
    (
        "`redis.cluster`",
        &["calls_go_through_the_cluster_that_is_named_and_no_other"],
    ),
    (
        "`redis.timeout`",
        &["a_request_waits_for_redis_timeout_and_not_for_what_else_would_end_its_call"],
    ),
    (
        "`redis.key_prefix`",
        &["every_key_in_redis_begins_with_the_prefix"],
    ),
    (
        "`redis.max_waiting`",
        &["a_request_that_finds_max_waiting_others_gets_its_policy_while_they_wait_on"],
    ),
    (
        "`breaker`",
        &[
            "a_frozen_redis_opens_the_breaker_and_a_thawed_one_closes_it",
            "slow_answers_open_the_breaker_and_each_change_is_logged_once_for_all_workers",
            "what_one_instance_learns_spares_the_others_of_its_vm_id_and_no_others",
        ],
    ),
    (
        "`headers`",
        &[
            "answers_carry_the_families_of_fields_that_are_named_and_no_others",
            "answers_carry_two_families_unless_others_are_named",
        ],
    ),
    (
        "`rules[].name`",
        &["several_rules_charge_all_of_them_or_none"],
    ),
    (
        "`match`",
        &[
            "a_rule_counts_only_requests_that_pass_all_its_tests",
            "parameters_are_tested_whatever_their_spelling_and_place",
            "a_property_such_as_the_routes_name_is_tested",
        ],
    ),
    (
        "a test",
        &[
            "headers_are_tested_exactly_by_prefix_by_regex_and_for_presence",
            "a_path_is_tested_by_a_regex_that_the_whole_of_it_must_fit",
        ],
    ),
    (
        "`key`",
        &[
            "each_kind_of_key_counts_apart_what_differs_in_it",
            "a_client_cannot_choose_its_address",
            "behind_one_trusted_proxy_the_address_that_it_saw_counts",
            "parameters_and_cookies_are_counted_by_their_value_however_it_is_spelled",
            "metadata_is_that_of_the_request_or_else_of_its_route",
            "any_attribute_of_envoy_can_be_a_key",
        ],
    ),
    (
        "`missing_key`",
        &["a_request_without_its_key_is_shared_skipped_or_refused"],
    ),
    (
        "`limit`",
        &["i1_two_envoys_with_two_workers_each_never_admit_more_than_the_limit_in_any_interval"],
    ),
    (
        "`overrides`",
        &["an_override_gives_a_key_another_limit_or_none_or_refuses_it"],
    ),
    (
        "`cost`",
        &[
            "a_request_costs_what_its_rule_says",
            "a_header_makes_a_request_dearer_within_bounds_and_never_cheaper",
        ],
    ),
    (
        "`on_failure`",
        &["a_killed_redis_means_the_policy_of_each_rule_and_an_empty_one_means_limits_again"],
    ),
    (
        "`local`",
        &["i3_while_redis_is_away_each_policy_admits_what_it_says_and_no_more"],
    ),
    (
        "`lease`",
        &[
            "a_lease_lets_requests_pass_without_a_call",
            "i1_a_fleet_with_leases_admits_no_more_than_the_limit",
            "i1_a_fleet_with_leases_keeps_the_promise_of_every_algorithm",
            "i1_two_envoys_with_leases_never_admit_more_than_a_sliding_log_promises",
        ],
    ),
    (
        "`shadow`",
        &["a_shadow_rule_counts_what_it_would_refuse_and_refuses_nothing"],
    ),
    (
        "`response`",
        &[
            "the_refused_are_told_what_the_rule_says",
            "a_refused_grpc_request_keeps_its_status_and_gets_the_headers",
        ],
    ),
];

#[test]
fn every_row_of_the_table_of_fields_has_its_tests() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = readme
        .split_once("| field | meaning | default |\n")
        .unwrap();
    let table = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let told: Vec<&str> = table
        .map(|row| row.split('|').nth(1).unwrap().trim())
        .collect();
    let tested: BTreeSet<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), tested);
    let sources: String = ["filter", "chaos"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), ".rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for (row, tests) in ROWS {
        for test in tests {
            assert!(
                sources.contains(&format!("fn {test}(")),
                "{row}: no test {test}"
            );
        }
    }
}
