//! The filter's counters that have no label, as Prometheus scrapes them.

use crate::common::{Running, Seen};

/// What the first Envoy shows of `velocitygate_<name>`.
pub(crate) async fn counter(running: &Running, name: &str) -> u64 {
    let url = running.envoys()[0].metrics_url() + "/stats/prometheus";
    let page = Seen::of(running.http.get(url)).await.body;
    let series = format!("velocitygate_{name}{{}} ");
    let count = page.lines().find_map(|line| line.strip_prefix(&series));
    count.expect("the metric").parse().unwrap()
}
