//! Envoy's own statistics.

use crate::common::{Running, Seen};

/// The statistic of the first Envoy that has this name.
pub(crate) async fn stat(running: &Running, name: &str) -> u64 {
    let url = running.envoys()[0].admin_url() + "/stats?filter=^" + name + "$";
    let page = Seen::of(running.http.get(url)).await.body;
    let told = page.trim().strip_prefix(name);
    let count = told.and_then(|told| told.strip_prefix(": "));
    count
        .unwrap_or_else(|| panic!("no {name}: {page}"))
        .parse()
        .unwrap()
}
