//! What is said of the rules.

use std::fs;

use clap::Parser;
use velocitygate::limit::SCRIPT;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

pub(super) fn explained(file: &Path, words: &[&str]) -> Result<String> {
    let file = file.display().to_string();
    let words = ["explain", &file].into_iter().chain(words.iter().copied());
    explain(&Line::try_parse_from(words)?.arguments)
}

pub(super) fn of_document(document: &str, words: &[&str]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), document).unwrap();
    explained(file.path(), words).unwrap()
}

const RULES: &str = r#"{ "rules": [
    { "name": "per-key", "match": { "path": { "prefix": "/api/" } },
      "key": [{ "header": "x-api-key" }, { "client_ip": { "v4": 24 } }],
      "limit": { "requests": 100, "per": "1m", "burst": 20 }, "cost": 2, "on_failure": "local" },
    { "name": "trial", "shadow": true, "limit": { "requests": 5, "per": "1s", "algorithm": "fixed_window" } },
    { "name": "login", "match": { "methods": ["POST", "PUT"] }, "limit": { "requests": 1, "per": "1s" } },
    { "name": "hosts", "match": { "hosts": ["b.test", "*.c.test"] }, "limit": { "requests": 1, "per": "1s" } },
    { "name": "path", "match": { "path": { "exact": "/" } }, "limit": { "requests": 1, "per": "1s" } },
    { "name": "plan", "match": { "headers": [{ "name": "x-plan", "regex": "fr.e" }] },
      "limit": { "requests": 1, "per": "1s" } },
    { "name": "query", "match": { "query": [{ "name": "user", "prefix": "8" }] },
      "limit": { "requests": 1, "per": "1s" } },
    { "name": "route", "match": { "property": [{ "path": ["xds", "route_name"], "present": false }] },
      "limit": { "requests": 1, "per": "1s" } },
    { "name": "tenant", "key": [{ "metadata": ["jwt.authn", "sub"] }, { "cookie": "sid" }], "missing_key": "skip",
      "limit": { "requests": 1, "per": "1s" } },
    { "name": "shared", "key": [{ "cookie": "sid" }], "on_failure": "deny",
      "limit": { "requests": 9, "per": "1h", "algorithm": "sliding_log" },
      "lease": { "max": 3, "ttl": "100ms" } }
] }"#;

const EXPLAINED: &str = "\
GET API.test:8443/api/v1?user=7&user=9

per-key: counts it
  counter   vg:{per-key:alice|203.0.113.0}:tb
  limit     100 in 1m, at most 20 at once (token_bucket)
  cost      2
  no Redis  local: each worker admits 50 in 1m, at most 10 at once (token_bucket)

trial (shadow): counts it
  counter   vg:{trial:}:fw (one for all)
  limit     5 in each 1s (fixed_window)
  cost      1
  no Redis  allow

login: does not match: method is \"GET\", must be one of POST, PUT

hosts: does not match: host is \"api.test\", must be one of b.test, *.c.test

path: does not match: path is \"/api/v1\", must be \"/\"

plan: does not match: header x-plan is absent, must fit \"fr.e\"

query: does not match: query parameter user is \"7\" and \"9\", must begin with \"8\"

route: does not match: property xds.route_name is \"web\", must be absent

tenant: skipped: the request lacks a part of its key, and missing_key is skip

shared: counts it
  counter   vg:{shared:%-}:sl (one for all that lack a part)
  limit     9 in 1h (sliding_log)
  cost      1
  lease     a worker takes up to 3 ahead, for 100ms; not for this request, which a rule without a lease counts, too
  in Redis  9 in 3600100ms (sliding_log), tightened for the lease
  no Redis  deny

Redis is asked:
  EVALSHA SHA1 1 vg:{trial:}:fw charge 1 fw 5 1000000 5 1
  EVALSHA SHA1 2 vg:{per-key:alice|203.0.113.0}:tb vg:{shared:%-}:sl charge 1 tb 100 60000000 20 2 sl 9 3600100000 9 1
Without an answer within 50ms the request is answered with 503 (degraded_deny, by shared).
";

#[test]
fn a_request_is_explained_rule_by_rule() {
    let words = [
        "https://API.test:8443/api/v1?user=7&user=9",
        "--header=X-API-Key: alice",
        "--client-ip=203.0.113.77",
        "--property=xds.route_name=web",
        "--property=metadata.filter_metadata.jwt.authn.sub=7",
    ];
    let text = of_document(RULES, &words).replace(SCRIPT.sha1, "SHA1");
    assert_eq!(text, EXPLAINED);
}

#[test]
fn a_request_that_redis_is_not_asked_about_says_why() {
    let rules = r#"{ "rules": [{ "name": "r", "match": { "methods": ["PUT"] }, "missing_key": "deny",
        "key": [{ "header": "x" }], "limit": { "requests": 1, "per": "1s" } }] }"#;
    let passes = of_document(rules, &["/"]);
    assert!(
        passes.ends_with("Redis is not asked: no rule counts this request, it passes.\n"),
        "{passes}"
    );
    let refused = of_document(rules, &["/", "--method=PUT"]);
    assert!(
        refused.contains("r: refuses: the request lacks a part of its key"),
        "{refused}"
    );
    assert!(
        refused.ends_with("Redis is not asked: the request is answered with 429 (denied, by r).\n"),
        "{refused}"
    );
}

#[test]
fn an_override_and_a_cost_from_a_header_are_explained() {
    let rules = r#"{ "rules": [{ "name": "r", "key": [{ "header": "x" }], "limit": { "requests": 9, "per": "1s" },
        "cost": { "header": "x-cost", "max": 5 },
        "overrides": [{ "key": ["gold"], "requests": 90 }, { "key": ["health"], "unlimited": true },
                      { "key": ["evil"], "deny": true }] }] }"#;
    let gold = of_document(rules, &["/", "--header=x: gold", "--header=x-cost: 4"]);
    let counted = "counts it\n  counter   vg:{r:gold}:tb\n  limit     90 in 1s, at most 90 at once \
                   (token_bucket), by an override\n  cost      4\n";
    assert!(gold.contains(counted), "{gold}");
    let health = of_document(rules, &["/", "--header=x: health"]);
    assert!(
        health.contains("\nr: passes: its override is unlimited\n"),
        "{health}"
    );
    assert!(
        health.ends_with("Redis is not asked: the request passes (allowed, by r).\n"),
        "{health}"
    );
    let evil = of_document(rules, &["/", "--header=x: evil"]);
    assert!(
        evil.contains("\nr: refuses: an override denies it\n"),
        "{evil}"
    );
}

#[test]
fn a_leased_limit_is_shown_as_promised_and_as_redis_counts_it() {
    let cases = [
        (
            "token_bucket",
            "100 in 1m, at most 100 at once (token_bucket)",
            Some("100 in 1m, at most 99 at once (token_bucket)"),
            "tb 100 60000000 99 1",
        ),
        (
            "sliding_window",
            "100 in 1m (sliding_window)",
            Some("100 in 60500ms (sliding_window)"),
            "sw 100 60500000 100 1",
        ),
        (
            "fixed_window",
            "100 in each 1m (fixed_window)",
            None,
            "fw 100 60000000 100 1",
        ),
    ];
    for (algorithm, promised, counted, asked) in cases {
        let rules = format!(
            r#"{{ "rules": [{{ "name": "r", "lease": {{ "max": 10, "ttl": "500ms" }},
            "limit": {{ "requests": 100, "per": "1m", "algorithm": "{algorithm}" }} }}] }}"#
        );
        let text = of_document(&rules, &["/"]);
        let counted = counted.map_or(String::new(), |it| {
            format!("  in Redis  {it}, tightened for the lease\n")
        });
        let expected = format!(
            "\n  limit     {promised}\n  cost      1\n\
             \x20 lease     a worker takes up to 10 ahead, for 500ms\n{counted}  no Redis  allow\n"
        );
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains(&format!(" charge 1 {asked}\n")), "{text}");
    }
}

#[test]
fn a_repeated_header_leads_to_the_counter_of_those_that_differ() {
    let rules = r#"{ "rules": [{ "name": "r", "key": [{ "header": "x-plan" }],
        "limit": { "requests": 1, "per": "1s" } }] }"#;
    let words = [
        "/",
        "--header=X-Plan: free",
        "--header=x-plan: gold",
        "--header=y: 1",
    ];
    let text = of_document(rules, &words);
    let counter = "vg:{r:%*}:tb (one for all that send different values)";
    assert!(text.contains(counter), "{text}");
}
