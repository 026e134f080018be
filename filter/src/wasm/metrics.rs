//! The numbers by which the host knows the metrics.

use std::cell::RefCell;

use hashbrown::HashMap;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::config::Config;
use crate::metrics::{Kind, Metric};

thread_local! {
    /// Those of this VM, in the order of their names, for all roots that it will have. The host gives
    /// out a number more each time that a name is defined, and keeps it, as it keeps the metric, while
    /// the VM lives.
    static KNOWN: RefCell<Vec<(String, u32)>> = const { RefCell::new(Vec::new()) };
}

/// The numbers of all metrics that a configuration has.
pub(super) fn define_all(config: &Config) -> HashMap<Metric, u32> {
    let rules = u16::try_from(config.rules.len()).unwrap_or(u16::MAX);
    let rule_name = |rule: u16| {
        config
            .rules
            .get(usize::from(rule))
            .map_or("", |rule| rule.name.as_str())
    };
    let define = |metric: Metric| Some((metric, define(metric, rule_name)?));
    Metric::all(rules).into_iter().filter_map(define).collect()
}

/// Counts a refused configuration. The host keeps the counter when this VM is gone, because the
/// VMs of the configuration in force have defined it, too.
pub(super) fn count_rejection() {
    if let Some(id) = define(Metric::ConfigRejected, |_| "") {
        let _ = hostcalls::increment_metric(id, 1);
    }
}

fn define<'a>(metric: Metric, rule_name: impl Fn(u16) -> &'a str) -> Option<u32> {
    let name = metric.name(rule_name);
    KNOWN.with_borrow_mut(|known| {
        let place = known.binary_search_by(|(it, _)| it.cmp(&name));
        if let Err(place) = place {
            let id = hostcalls::define_metric(kind_of(metric), &name).ok()?;
            known.insert(place, (name, id));
        }
        let (Ok(place) | Err(place)) = place;
        known.get(place).map(|(_, id)| *id)
    })
}

const fn kind_of(metric: Metric) -> MetricType {
    match metric.kind() {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    }
}
