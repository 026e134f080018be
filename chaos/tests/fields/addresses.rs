//! `client_ip`: the address that Envoy trusts, and never one that a client merely says it has.

use serde_json::{Value, json};
use velocitygate_chaos::stack::envoy_config::connection_manager;

use crate::common::{PATIENT, Running, Seen, rule, tweak, with};
use crate::{get, statuses};

/// A stack that counts by client address, behind so many proxies that Envoy trusts.
async fn start(hops: u32, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Running {
    let key = json!([{ "client_ip": { "v4": 32, "v6": 64 } }]);
    let rules = json!([with(rule("ip", 1), json!({ "key": key }))]);
    Running::start(PATIENT, rules, |spec| {
        tweak(spec, move |tree| {
            let manager = connection_manager(tree).unwrap();
            assert_eq!(manager["use_remote_address"], true);
            manager["xff_num_trusted_hops"] = json!(hops);
            change(tree);
        });
    })
    .await
}

/// What is counted by in Redis.
async fn counted_by(running: &Running) -> Vec<String> {
    let mut all = redis::cmd("KEYS");
    all.arg("*");
    let mut keys: Vec<String> = running.redis().ask(all).await.unwrap();
    keys.sort();
    let address = |key: &String| {
        let address = key.strip_prefix("vg:{ip:")?.strip_suffix("}:tb")?;
        Some(address.to_owned())
    };
    keys.iter().map(|key| address(key).unwrap()).collect()
}

#[tokio::test]
async fn a_client_cannot_choose_its_address() {
    let running = start(0, |_| ()).await;
    let claims = ["203.0.113.1", "203.0.113.2", "203.0.113.3, 203.0.113.4"];
    let claims = claims.map(|claim| [("x-forwarded-for", claim)]);
    let sent = claims.each_ref().map(|claim| ("/ip/", claim.as_slice()));
    assert_eq!(statuses(&running, sent).await, [200, 429, 429]);
    assert_eq!(statuses(&running, [("/ip/", &[])]).await, [429]);
    assert_eq!(counted_by(&running).await, ["127.0.0.1"]);
}

#[tokio::test]
async fn behind_one_trusted_proxy_the_address_that_it_saw_counts() {
    let running = start(1, |_| ()).await;
    for (forwarded, status) in [
        // The last one is the proxy's word; what stands before is the client's.
        ("198.51.100.1, 203.0.113.1", 200),
        ("198.51.100.2, 203.0.113.1", 429),
        ("203.0.113.1", 429),
        ("203.0.113.1, 203.0.113.2", 200),
        // One network of 64 bits, and another.
        ("198.51.100.1, 2001:db8:1:2::1", 200),
        ("198.51.100.1, 2001:db8:1:2:ffff:ffff:ffff:ffff", 429),
        ("198.51.100.1, 2001:db8:1:3::1", 200),
    ] {
        let seen = Seen::of(get(&running, "/ip/", &[("x-forwarded-for", forwarded)])).await;
        assert_eq!(seen.status, status, "{forwarded}");
    }
    let counted = counted_by(&running).await;
    let expected = [
        "2001:db8:1:2::",
        "2001:db8:1:3::",
        "203.0.113.1",
        "203.0.113.2",
    ];
    assert_eq!(counted, expected);
}
