//! Mistakes around the filter that an Envoy configuration shows, each with its fix.

use serde_json::Value;
use velocitygate::config::Config;
use velocitygate::units::Micros;

use crate::plugin::{Plugin, field, plugins};

/// The `root_id` of the bridge.
const BRIDGE: &str = "velocitygate_redis";
/// The labels that the filter writes into its metrics' names.
const LABELS: [&str; 6] = ["rule", "decision", "result", "class", "state", "to"];

/// One mistake to look for: `place: mistake: fix`, when it is there.
type Check = fn(&Wiring<'_>) -> Option<String>;

/// Of a plugin, wherever it is.
const OF_PLUGIN: [Check; 2] = [policy, idle_timeout];
/// Of a whole bootstrap.
const OF_BOOTSTRAP: [Check; 5] = [cluster, bridge, extension, vm_ids, stats_tags];

struct Wiring<'t> {
    tree: &'t Value,
    plugin: &'t Plugin<'t>,
    /// `None` when it was refused: then nothing is said of what it would have named.
    config: Option<&'t Config>,
}

/// All mistakes around one plugin.
pub(super) fn warnings(tree: &Value, plugin: &Plugin<'_>, config: Option<&Config>) -> Vec<String> {
    let wiring = Wiring {
        tree,
        plugin,
        config,
    };
    let of_bootstrap: &[Check] = match field(tree, "static_resources") {
        Some(_) => &OF_BOOTSTRAP,
        None => &[],
    };
    let checks = OF_PLUGIN.iter().chain(of_bootstrap);
    checks.filter_map(|check| check(&wiring)).collect()
}

/// The first field of this name in a tree.
pub(super) fn find<'t>(tree: &'t Value, name: &str) -> Option<&'t Value> {
    let inside = match tree {
        Value::Object(fields) => fields.values().find_map(|inner| find(inner, name)),
        Value::Array(items) => items.iter().find_map(|inner| find(inner, name)),
        _ => None,
    };
    field(tree, name).or(inside)
}

fn policy(wiring: &Wiring<'_>) -> Option<String> {
    let bridges = plugins(wiring.tree, BRIDGE);
    let mut all = std::iter::once(wiring.plugin).chain(&bridges);
    let place = &all
        .find(|it| field(it.config, "failure_policy").is_none_or(|it| it != "FAIL_RELOAD"))?
        .place;
    Some(format!(
        "{place}.failure_policy: after one crash every request would get a 503: set it to FAIL_RELOAD"
    ))
}

fn idle_timeout(wiring: &Wiring<'_>) -> Option<String> {
    let manager = wiring.plugin.manager?;
    let bounds = ["stream_idle_timeout", "max_stream_duration"];
    let bounded = |name: &&str| {
        find(manager, name)
            .and_then(seconds)
            .is_some_and(|it| it > 0.0)
    };
    if bounds.iter().any(bounded) {
        return None;
    }
    let place = wiring.plugin.place.split(".http_filters").next()?;
    Some(format!(
        "{place}.stream_idle_timeout: requests that wait in a VM that crashes would hang: set it to a few seconds"
    ))
}

fn cluster(wiring: &Wiring<'_>) -> Option<String> {
    let name = &wiring.config?.redis.cluster;
    if wiring.cluster().is_some() || find(wiring.tree, "cds_config").is_some() {
        return None;
    }
    Some(format!(
        "static_resources.clusters: there is no cluster {name:?}, which redis.cluster names: copy \
         velocitygate_redis from envoy/envoy.yaml"
    ))
}

fn bridge(wiring: &Wiring<'_>) -> Option<String> {
    let cluster = wiring.cluster()?;
    let fix = "copy velocitygate_redis from envoy/envoy.yaml";
    let Some(name) = find(cluster, "server_listener_name") else {
        return Some(format!(
            "static_resources.clusters: {} leads to no envoy_internal_address: {fix}",
            cluster["name"]
        ));
    };
    if find(wiring.tree, "lds_config").is_some() {
        return None;
    }
    let Some(listener) = wiring.bridge().filter(|it| !plugins(it, BRIDGE).is_empty()) else {
        return Some(format!(
            "static_resources.listeners: there is no internal_listener {name} with a plugin of \
             root_id {BRIDGE:?}: {fix}"
        ));
    };
    let timeout = wiring.config?.redis.timeout;
    let written = find(listener, "op_timeout")?;
    let allowed = Micros((seconds(written)? * 1e6) as u64);
    (allowed < timeout).then(|| {
        format!(
            "static_resources.listeners: redis_proxy's op_timeout {written} of {name} ends calls \
             before redis.timeout ({timeout}) does: make it slightly longer"
        )
    })
}

fn extension(wiring: &Wiring<'_>) -> Option<String> {
    let extensions = field(wiring.tree, "bootstrap_extensions");
    let there = extensions.is_some_and(|it| it.to_string().contains(".InternalListener\""));
    (!there).then(|| {
        "bootstrap_extensions: envoy.bootstrap.internal_listener is not there, so Envoy refuses \
         internal addresses: copy it from envoy/envoy.yaml"
            .to_owned()
    })
}

fn vm_ids(wiring: &Wiring<'_>) -> Option<String> {
    let own = find(wiring.plugin.config, "vm_id");
    let shared = plugins(wiring.tree, BRIDGE)
        .iter()
        .any(|bridge| find(bridge.config, "vm_id") == own);
    shared.then(|| {
        format!(
            "{}.vm_config.vm_id: it is the bridge's too, and one VM cannot wait for itself: give \
             each its own",
            wiring.plugin.place
        )
    })
}

fn stats_tags(wiring: &Wiring<'_>) -> Option<String> {
    let tags = find(wiring.tree, "stats_tags").and_then(Value::as_array);
    let has = |label: &str| {
        let mut tags = tags.into_iter().flatten();
        tags.any(|tag| field(tag, "tag_name").is_some_and(|it| it == label))
    };
    let missing: Vec<&str> = LABELS.into_iter().filter(|label| !has(label)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "stats_config.stats_tags: no {}, so metrics lack these labels: copy them from \
             envoy/envoy.yaml",
            missing.join(", ")
        )
    })
}

impl<'t> Wiring<'t> {
    /// The cluster that the filter calls.
    fn cluster(&self) -> Option<&'t Value> {
        let name = &self.config?.redis.cluster;
        self.resources("clusters")
            .find(|it| it["name"] == *name.as_str())
    }

    /// The internal listener that this cluster leads to.
    fn bridge(&self) -> Option<&'t Value> {
        let name = find(self.cluster()?, "server_listener_name")?;
        self.resources("listeners")
            .find(|it| it["name"] == *name && field(it, "internal_listener").is_some())
    }

    fn resources(&self, kind: &str) -> impl Iterator<Item = &'t Value> + use<'t> {
        let resources = field(self.tree, "static_resources").and_then(|it| field(it, kind));
        resources.and_then(Value::as_array).into_iter().flatten()
    }
}

/// A duration as protobuf's JSON has it, such as `0.06s`.
fn seconds(duration: &Value) -> Option<f64> {
    duration.as_str()?.strip_suffix('s')?.parse().ok()
}
