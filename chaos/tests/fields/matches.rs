//! `match`: every test of every source.

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use velocitygate_chaos::stack::KEY_HEADER;
use velocitygate_chaos::stack::envoy_config::connection_manager;

use crate::common::{PATIENT, Running, Seen, rule, with};
use crate::{get, one_of, statuses, tweak};

/// A target and headers.
type Sent = (&'static str, &'static [(&'static str, &'static str)]);

/// One request that passes the tests is counted, so the next is refused; any that does not pass
/// them meets no rule.
async fn tell_apart(cases: &[(&str, Value, Sent, &[Sent])]) {
    let rules = cases
        .iter()
        .map(|(name, tests, ..)| one_of(name, tests.clone()));
    let running = Running::start(PATIENT, rules.collect(), |_| ()).await;
    for (name, _, (target, headers), others) in cases {
        let both = statuses(&running, [(target, headers); 2]).await;
        assert_eq!(both, [200, 429], "{name}: {target} {headers:?}");
        for (target, headers) in *others {
            let seen = Seen::of(get(&running, target, headers)).await;
            assert!(
                seen.status == 200 && !seen.has_limits(),
                "{name}: {target} {headers:?}"
            );
        }
    }
}

#[tokio::test]
async fn headers_are_tested_exactly_by_prefix_by_regex_and_for_presence() {
    let on = |test: Value| json!({ "headers": [with(json!({ "name": "x-plan" }), test)] });
    tell_apart(&[
        (
            "exact",
            on(json!({ "exact": "free" })),
            ("/exact/", &[("X-Plan", "free")]),
            &[("/exact/", &[("x-plan", "freer")]), ("/exact/", &[])],
        ),
        (
            "prefix",
            on(json!({ "prefix": "fr" })),
            ("/prefix/", &[("x-plan", "free")]),
            &[("/prefix/", &[("x-plan", "afr")]), ("/prefix/", &[])],
        ),
        (
            "regex",
            on(json!({ "regex": "fr.*|none" })),
            ("/regex/", &[("x-plan", "fr\u{fc}h")]),
            &[("/regex/", &[("x-plan", "a free")]), ("/regex/", &[])],
        ),
        (
            "present",
            on(json!({ "present": true })),
            ("/present/", &[("x-plan", "")]),
            &[("/present/", &[])],
        ),
        (
            "absent",
            on(json!({ "present": false })),
            ("/absent/", &[]),
            &[("/absent/", &[("x-plan", "")])],
        ),
    ])
    .await;
}

#[tokio::test]
async fn parameters_are_tested_whatever_their_spelling_and_place() {
    let on = |test: Value| json!({ "query": [with(json!({ "name": "q" }), test)] });
    tell_apart(&[
        (
            "exact",
            on(json!({ "exact": "a b" })),
            ("/exact/?x=1&%71=%61+b", &[]),
            &[
                ("/exact/?q=a+bc", &[]),
                ("/exact/?Q=a+b", &[]),
                ("/exact/q=a+b", &[]),
            ],
        ),
        (
            "prefix",
            on(json!({ "prefix": "a" })),
            ("/prefix/?q=b&q=ab", &[]),
            &[("/prefix/?q=ba", &[]), ("/prefix/?aq=a", &[])],
        ),
        (
            "regex",
            on(json!({ "regex": ".*evil" })),
            ("/regex/?q=%0d%0a%ffevil", &[]),
            &[("/regex/?q=evil+not", &[])],
        ),
        (
            "present",
            on(json!({ "present": true })),
            ("/present/?q", &[]),
            &[("/present/?", &[]), ("/present/?p=q", &[])],
        ),
        (
            "absent",
            on(json!({ "present": false })),
            ("/absent/?p", &[]),
            &[("/absent/?q", &[])],
        ),
    ])
    .await;
}

/// A client that makes every try of an expression dear counts under its rule instead, and others
/// have their counts meanwhile.
#[tokio::test]
async fn a_value_too_long_for_a_regex_counts_as_one_that_fits() {
    let bot = json!({ "name": "user-agent", "regex": "(?i).*(?:bot|crawler|spider|slurp).*" });
    let rules = json!([
        one_of("bots", json!({ "headers": [bot] })),
        rule("all", 10_000),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for (bytes, counted) in [(4096, false), (4097, true)] {
        let agent = "b".repeat(bytes);
        let sent = [("user-agent", agent.as_str()), (KEY_HEADER, "edge")];
        let seen = Seen::of(get(&running, "/bots/", &sent)).await;
        assert_eq!((seen.status, seen.has_limits()), (200, counted), "{bytes}");
    }

    let agent = "b".repeat(57_000);
    let (mut attack, mut others) = (JoinSet::new(), JoinSet::new());
    for n in 0..20 {
        let long = [("user-agent", agent.as_str()), (KEY_HEADER, "mallory")];
        let attacker = [(); 10].map(|()| get(&running, "/bots/", &long));
        attack.spawn(in_turn(attacker));
        let other = [(); 10].map(|()| running.get("/all/", &n.to_string()));
        others.spawn(in_turn(other));
    }
    let attack = attack.join_all().await.concat();
    let of = |status| attack.iter().filter(|told| told.0 == status).count();
    assert_eq!((of(200), of(429)), (1, 199));
    let others = others.join_all().await.concat();
    assert!(others.iter().all(|told| *told == (200, true)), "{others:?}");
    let calls = running.sample().await.redis_calls;
    assert!(
        calls["ok"] > 0 && calls["ok"] == calls.values().sum::<u64>(),
        "{calls:?}"
    );
}

/// The status of each, and whether it tells of limits.
async fn in_turn(requests: [RequestBuilder; 10]) -> Vec<(u16, bool)> {
    let mut told = Vec::new();
    for request in requests {
        let seen = Seen::of(request).await;
        told.push((seen.status, seen.has_limits()));
    }
    told
}

#[tokio::test]
async fn a_path_is_tested_by_a_regex_that_the_whole_of_it_must_fit() {
    let path = json!({ "regex": "/v[0-9]+/users" });
    let users = with(rule("users", 1), json!({ "match": { "path": path } }));
    let running = Running::start(PATIENT, json!([users]), |_| ()).await;
    let sent = [("/v1/users?x", [].as_slice()), ("/v22/users", &[])];
    assert_eq!(statuses(&running, sent).await, [200, 429]);
    for target in ["/v1/users/", "/x/v1/users", "/vv/users"] {
        let seen = Seen::of(get(&running, target, &[])).await;
        assert!(seen.status == 200 && !seen.has_limits(), "{target}");
    }
}

#[tokio::test]
async fn a_property_such_as_the_routes_name_is_tested() {
    let on = |name: &str, path: &[&str], test: Value| {
        let property = json!({ "property": [with(json!({ "path": path }), test)] });
        one_of(name, property)
    };
    let route = ["xds", "route_name"];
    let rules = json!([
        on("exact", &route, json!({ "exact": "named" })),
        on("other", &route, json!({ "exact": "name" })),
        on("prefix", &route, json!({ "prefix": "na" })),
        on(
            "regex",
            &["request", "protocol"],
            json!({ "regex": "HTTP/[0-9.]+" })
        ),
        on(
            "present",
            &["xds", "cluster_name"],
            json!({ "present": true })
        ),
        on("number", &["request", "size"], json!({ "exact": "0" })),
        on("flag", &["connection", "mtls"], json!({ "exact": "false" })),
        on(
            "absent",
            &["no", "such", "property"],
            json!({ "present": false })
        ),
        on(
            "nothing",
            &["request", "headers", "x-none"],
            json!({ "present": true })
        ),
    ]);
    let running = Running::start(PATIENT, rules, |spec| {
        tweak(spec, |tree| {
            let manager = connection_manager(tree).unwrap();
            manager["route_config"]["virtual_hosts"][0]["routes"][0]["name"] = json!("named");
        });
    })
    .await;
    for (target, second) in [
        ("/exact/", 429),
        ("/other/", 200),
        ("/prefix/", 429),
        ("/regex/", 429),
        ("/present/", 429),
        ("/number/", 429),
        ("/flag/", 429),
        ("/absent/", 429),
        ("/nothing/", 200),
    ] {
        let both = statuses(&running, [(target, [].as_slice()); 2]).await;
        assert_eq!(both, [200, second], "{target}");
    }
}
