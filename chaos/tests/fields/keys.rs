//! `key`: every kind of part that is not a plain field of the request.

use serde_json::{Value, json};
use velocitygate_chaos::stack::envoy_config::connection_manager;

use crate::common::{PATIENT, Running, Seen, rule, with};
use crate::{get, statuses, tweak};

fn by(name: &str, part: Value) -> Value {
    with(rule(name, 1), json!({ "key": [part] }))
}

#[tokio::test]
async fn parameters_and_cookies_are_counted_by_their_value_however_it_is_spelled() {
    let rules = json!([
        by("query", json!({ "query": "user id" })),
        by("cookie", json!({ "cookie": "sid" })),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    let sent = [
        ("/query/?user+id=a", [].as_slice()),
        ("/query/?x&user%20id=%61", &[]),
        ("/query/?user+id=b", &[]),
        // Which of two values the upstream takes is not known: one counter for all of these.
        ("/query/?user+id=a&user+id=c", &[]),
        ("/query/?user+id=d&user+id=e", &[]),
        ("/query/", &[]),
        ("/query/?user", &[]),
    ];
    let seen = statuses(&running, sent).await;
    assert_eq!(seen, [200, 429, 200, 200, 429, 200, 429]);
    let cookie = |value: &'static str| ("cookie", value);
    let headers = [
        vec![cookie("sid=a")],
        vec![cookie("x=y; sid=\"%61\"")],
        vec![cookie("x=y"), cookie("sid=a")],
        vec![cookie("sid=b")],
        vec![cookie("sid=c; sid=d")],
        vec![cookie("sid=e"), cookie("sid=f")],
    ];
    let sent = headers
        .each_ref()
        .map(|headers| ("/cookie/", headers.as_slice()));
    let seen = statuses(&running, sent).await;
    assert_eq!(seen, [200, 429, 429, 200, 200, 429]);
}

#[tokio::test]
async fn a_header_that_is_sent_twice_gains_a_client_no_counter_and_evades_no_test() {
    let mut counted = by("header", json!({ "header": "x-user" }));
    counted["match"]["headers"] = json!([{ "name": "x-user", "present": true }]);
    let mut tested = rule("test", 1);
    tested["match"]["headers"] = json!([{ "name": "x-plan", "exact": "paid" }]);
    let standard = by("standard", json!({ "header": "user-agent" }));
    let running = Running::start(PATIENT, json!([counted, tested, standard]), |_| ()).await;
    let user = |value: &'static str| ("x-user", value);
    let headers = [
        vec![user("a"), user("a")],
        vec![user("a")],
        vec![user("a"), user("b")],
        vec![user("c"), user("d")],
    ];
    let sent = headers
        .each_ref()
        .map(|headers| ("/header/", headers.as_slice()));
    assert_eq!(statuses(&running, sent).await, [200, 429, 200, 429]);
    let headers = [
        vec![("x-plan", "paid")],
        vec![("x-plan", "free"), ("x-plan", "paid")],
        vec![("x-plan", "free")],
    ];
    let sent = headers
        .each_ref()
        .map(|headers| ("/test/", headers.as_slice()));
    assert_eq!(statuses(&running, sent).await, [200, 429, 200]);
    // Envoy itself makes one value of this one.
    let agent = |value: &'static str| ("user-agent", value);
    let headers = [
        vec![agent("a"), agent("b")],
        vec![agent("a"), agent("c")],
        vec![agent("a,b")],
    ];
    let sent = headers
        .each_ref()
        .map(|headers| ("/standard/", headers.as_slice()));
    assert_eq!(statuses(&running, sent).await, [200, 200, 429]);
}

/// A filter before this one that leaves a header's value in the request's metadata.
fn header_to_metadata(header: &str, key: &str, kind: &str) -> Value {
    json!({
        "header": header,
        "on_header_present": { "metadata_namespace": "com.example", "key": key, "type": kind },
    })
}

#[tokio::test]
async fn metadata_is_that_of_the_request_or_else_of_its_route() {
    let rules = json!([
        by("text", json!({ "metadata": ["com.example", "user"] })),
        by("number", json!({ "metadata": ["com.example", "number"] })),
        by(
            "deep",
            json!({ "metadata": ["com.example", "team", "name"] })
        ),
        with(
            by("none", json!({ "metadata": ["com.example", "nobody"] })),
            json!({ "missing_key": "skip" })
        ),
    ]);
    let running = Running::start(PATIENT, rules, |spec| {
        tweak(spec, |tree| {
            let manager = connection_manager(tree).unwrap();
            let filter = json!({
                "name": "envoy.filters.http.header_to_metadata",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
                    "request_rules": [
                        header_to_metadata("x-user", "user", "STRING"),
                        header_to_metadata("x-number", "number", "NUMBER"),
                    ],
                },
            });
            manager["http_filters"].as_array_mut().unwrap().insert(0, filter);
            let metadata = json!({ "user": "of the route", "team": { "name": "blue" } });
            manager["route_config"]["virtual_hosts"][0]["routes"][0]["metadata"] =
                json!({ "filter_metadata": { "com.example": metadata } });
        });
    })
    .await;
    let text = [
        ("/text/", [("x-user", "a")].as_slice()),
        ("/text/", &[("x-user", "a")]),
        ("/text/", &[("x-user", "b")]),
        ("/text/", &[]),
        ("/text/", &[]),
        ("/text/", &[("x-user", "of the route")]),
    ];
    let seen = statuses(&running, text).await;
    assert_eq!(seen, [200, 429, 200, 200, 429, 429]);
    let number = [
        ("/number/", [("x-number", "1")].as_slice()),
        ("/number/", &[("x-number", "1.0")]),
        ("/number/", &[("x-number", "2")]),
    ];
    assert_eq!(statuses(&running, number).await, [200, 429, 200]);
    let deep = [("/deep/", [].as_slice()); 2];
    assert_eq!(statuses(&running, deep).await, [200, 429]);
    let none = [("/none/", [].as_slice()); 2];
    assert_eq!(statuses(&running, none).await, [200, 200]);
    let mut all = redis::cmd("KEYS");
    all.arg("*");
    let mut keys: Vec<String> = running.redis().ask(all).await.unwrap();
    keys.retain(|key| !key.contains("number"));
    keys.sort();
    assert_eq!(
        keys,
        [
            "vg:{deep:blue}:tb",
            "vg:{text:a}:tb",
            "vg:{text:b}:tb",
            "vg:{text:of%20the%20route}:tb"
        ]
    );
}

#[tokio::test]
async fn any_attribute_of_envoy_can_be_a_key() {
    let rules = json!([
        by("text", json!({ "property": ["request", "query"] })),
        by(
            "header",
            json!({ "property": ["request", "headers", "x-user"] })
        ),
        by("number", json!({ "property": ["request", "size"] })),
        by("flag", json!({ "property": ["connection", "mtls"] })),
        by("port", json!({ "property": ["destination", "port"] })),
        by("list", json!({ "property": ["xds", "node"] })),
        by("none", json!({ "property": ["no", "such"] })),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for (target, other, apart) in [
        ("/text/?a", "/text/?b", true),
        ("/number/", "/number/x", false),
        ("/flag/", "/flag/x", false),
        ("/port/", "/port/x", false),
        ("/list/", "/list/x", false),
        ("/none/", "/none/x", false),
    ] {
        let sent = [target, target, other].map(|target| (target, [].as_slice()));
        let last = if apart { 200 } else { 429 };
        assert_eq!(statuses(&running, sent).await, [200, 429, last], "{target}");
    }
    for (user, status) in [("a", 200), ("a", 429), ("b", 200)] {
        let seen = Seen::of(get(&running, "/header/", &[("x-user", user)])).await;
        assert_eq!(seen.status, status);
    }
    // Numbers and flags are texts, though Envoy hands over bytes.
    let port = running.envoys()[0].front_url();
    let (_, port) = port.rsplit_once(':').unwrap();
    let mut all = redis::cmd("KEYS");
    all.arg("*");
    let keys: Vec<String> = running.redis().ask(all).await.unwrap();
    for counter in ["number:0", "flag:false", &format!("port:{port}")] {
        let key = format!("vg:{{{counter}}}:tb");
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
}
