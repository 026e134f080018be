//! Each algorithm on real Envoy and Redis, alone and all of them on one request.

use serde_json::{Value, json};

use crate::common::{PATIENT, Running, Seen, eventually, rule, with};
use crate::promise::ALGORITHMS;
use crate::statuses;

fn limit(algorithm: &str, requests: u64, per: &str) -> Value {
    json!({ "limit": { "algorithm": algorithm, "requests": requests, "per": per } })
}

#[tokio::test]
async fn every_algorithm_admits_its_requests_and_names_its_policy() {
    let rules: Vec<Value> = ALGORITHMS
        .iter()
        .map(|(name, _)| with(rule(name, 4), limit(name, 4, "366d")))
        .collect();
    let running = Running::start(PATIENT, json!(rules), |_| ()).await;
    for (name, tag) in ALGORITHMS {
        let path = format!("/{name}/");
        assert_eq!(
            statuses(&running, &path, "a", 5).await,
            [200, 200, 200, 200, 429],
            "{name}"
        );
        let seen = Seen::of(running.get(&path, "b")).await;
        let policy = format!("\"{name}\";q=4;w=31622400");
        assert_eq!(seen.header("ratelimit-policy"), policy);
        assert!(seen.header("ratelimit").contains(";r=3;"), "{seen:?}");
        let mut exists = redis::cmd("EXISTS");
        exists.arg(format!("vg:{{{name}:a}}:{tag}"));
        assert_eq!(running.redis().ask::<u64>(exists).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn rules_of_all_algorithms_are_charged_together_or_not_at_all() {
    let rules: Vec<Value> = (2..)
        .zip(ALGORITHMS)
        .map(|(requests, (name, _))| {
            let all = json!({ "name": name, "key": [{ "value": "all" }] });
            with(all, limit(name, requests, "366d"))
        })
        .collect();
    let running = Running::start(PATIENT, json!(rules), |spec| {
        // An Envoy of its own for each question: none knows what another was told.
        spec.envoys = 2;
    })
    .await;
    assert_eq!(statuses(&running, "/", "a", 3).await, [200, 200, 429]);
    let other = running.envoys()[1].front_url() + "/";
    let refused = Seen::of(running.http.get(&other)).await;
    assert_eq!(refused.status, 429);
    let limits = refused.header("ratelimit");
    for left in [
        "token_bucket\";r=0",
        "sliding_window\";r=1",
        "sliding_log\";r=2",
        "fixed_window\";r=3",
    ] {
        assert!(limits.contains(left), "{left}: {limits}");
    }
}

#[tokio::test]
async fn what_a_window_forgets_can_be_had_again() {
    let rules: Vec<Value> = ALGORITHMS
        .iter()
        .map(|(name, _)| with(rule(name, 1), limit(name, 1, "300ms")))
        .collect();
    let running = Running::start(PATIENT, json!(rules), |_| ()).await;
    for (name, _) in ALGORITHMS {
        let path = format!("/{name}/");
        for _ in 0..3 {
            eventually("the limit has room again", async || {
                statuses(&running, &path, "a", 1).await == [200]
            })
            .await;
        }
    }
}
