//! Every field of a rule on real Envoy and real Redis.

#[path = "../common/access_log.rs"]
mod access_log;
mod addresses;
mod amounts;
#[path = "../common/mod.rs"]
mod common;
mod config;
mod headers;
mod keys;
mod matches;
#[path = "../common/page.rs"]
mod page;
mod redis;
mod responses;
#[path = "../common/stat.rs"]
mod stat;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use common::{Running, Seen, rule, tweak, with};

/// A rule for one request of a kind: those under `/<name>/` that pass these tests.
fn one_of(name: &str, tests: Value) -> Value {
    let path = json!({ "path": { "prefix": format!("/{name}/") } });
    with(rule(name, 1), json!({ "match": with(path, tests) }))
}

/// A GET with these headers.
fn get(running: &Running, target: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    let url = running.envoys()[0].front_url() + target;
    let request = running.http.get(url);
    let headers = headers.iter();
    headers.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

/// The statuses of such requests, one after the other.
async fn statuses<const N: usize>(
    running: &Running,
    requests: [(&str, &[(&str, &str)]); N],
) -> [u16; N] {
    let mut all = [0; N];
    for (status, (target, headers)) in all.iter_mut().zip(requests) {
        *status = Seen::of(get(running, target, headers)).await.status;
    }
    all
}
