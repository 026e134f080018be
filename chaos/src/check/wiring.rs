//! Mistakes around the filter that an Envoy configuration shows, each with its fix.

use serde_json::Value;
use velocitygate::config::{Config, Rule};
use velocitygate::matching::Part;
use velocitygate::units::Micros;

use super::{counters, inside, login, routes, sharded, store};
use crate::paths;
use crate::plugin::{Plugin, ROOT_ID, field, plugins, plugins_of};

/// The `root_id` of the bridge.
pub(super) const BRIDGE: &str = "velocitygate_redis";
/// The labels that the filter writes into its metrics' names.
const LABELS: [&str; 6] = ["rule", "decision", "result", "class", "state", "to"];

/// One mistake to look for: `place: mistake: fix`, when it is there.
pub(super) type Check = fn(&Wiring<'_>) -> Option<String>;

/// Of a plugin, wherever it is.
const OF_PLUGIN: [Check; 6] = [
    policy,
    idle_timeout,
    ends_first,
    client_address,
    spellings,
    default_config,
];
/// Of a whole bootstrap.
const OF_BOOTSTRAP: [Check; 3] = [extension, vm_ids, stats_tags];

pub(super) struct Wiring<'t> {
    pub(super) tree: &'t Value,
    pub(super) plugin: &'t Plugin<'t>,
    /// `None` when it was refused: then nothing is said of what it would have named.
    pub(super) config: Option<&'t Config>,
}

/// All mistakes around one plugin.
pub(super) fn warnings(tree: &Value, plugin: &Plugin<'_>, config: Option<&Config>) -> Vec<String> {
    let wiring = Wiring {
        tree,
        plugin,
        config,
    };
    let of_store = store::CHECKS.iter().chain(&sharded::CHECKS);
    let of_store = of_store.chain(&counters::CHECKS);
    let of_way = inside::CHECKS.iter().chain(of_store).chain(&login::CHECKS);
    let of_bootstrap = of_way.chain(&OF_BOOTSTRAP);
    let of_bootstrap = field(tree, "static_resources").map(|_| of_bootstrap);
    let of_plugin = OF_PLUGIN.iter().chain(&routes::CHECKS);
    let checks = of_plugin.chain(of_bootstrap.into_iter().flatten());
    checks.filter_map(|check| check(&wiring)).collect()
}

/// Plugins with the role of the other kind of filter: Envoy starts, and they crash on all they get.
pub(super) fn misplaced(tree: &Value) -> Vec<String> {
    let all = plugins_of(tree, &|id| [ROOT_ID, BRIDGE].contains(&id));
    let named = all.iter().filter_map(|it| {
        let (kind, expected) = match &it.filter {
            Some(_) => ("an HTTP filter", ROOT_ID),
            // Those of upgraded requests have a manager, too.
            None if it.manager.is_none() && it.place.contains(".filters[") => {
                ("a network filter", BRIDGE)
            }
            None => return None,
        };
        let found = field(it.config, "root_id").filter(|it| *it != expected)?;
        let place = &it.place;
        Some(format!(
            "{place}.root_id: expected {expected:?} for {kind}, found {found}"
        ))
    });
    named.collect()
}

/// Plugins of this module that ask for a role it does not have: Envoy does not start.
pub(super) fn strangers(tree: &Value) -> Vec<String> {
    let strange = plugins_of(tree, &|id| ![ROOT_ID, BRIDGE].contains(&id));
    let is_ours = |it: &&Plugin<'_>| {
        let file = find(it.config, "filename").and_then(Value::as_str);
        file.is_some_and(|it| it.ends_with("velocitygate.wasm"))
    };
    let named = strange.iter().filter(is_ours).map(|it| {
        let id = &it.config["root_id"];
        format!(
            "{}.root_id: expected {ROOT_ID:?}, or {BRIDGE:?} for the bridge, found {id}",
            it.place
        )
    });
    named.collect()
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
    let is = |it: &Plugin<'_>, name, value| field(it.config, name).is_some_and(|it| it == value);
    let plugin = all.find(|it| !is(it, "failure_policy", "FAIL_RELOAD"))?;
    let then = if is(plugin, "root_id", BRIDGE) {
        "every call to Redis would fail"
    } else if is(plugin, "failure_policy", "FAIL_OPEN") {
        "requests would pass unlimited"
    } else {
        "every request would get a 503"
    };
    let place = &plugin.place;
    Some(format!(
        "{place}.failure_policy: after one crash {then}: set it to FAIL_RELOAD"
    ))
}

fn idle_timeout(wiring: &Wiring<'_>) -> Option<String> {
    let manager = wiring.plugin.manager.as_ref()?;
    let bounds = ["stream_idle_timeout", "max_stream_duration"];
    let bounded = |name: &&str| {
        find(manager.fields, name)
            .and_then(seconds)
            .is_some_and(|it| it > 0.0)
    };
    if bounds.iter().any(bounded) {
        return None;
    }
    Some(format!(
        "{}.stream_idle_timeout: requests that wait in a VM that crashes would hang: set it to a \
         few seconds",
        manager.place
    ))
}

/// To Envoy a request that waits for Redis is idle.
fn ends_first(wiring: &Wiring<'_>) -> Option<String> {
    let manager = wiring.plugin.manager.as_ref()?;
    let timeout = wiring.config?.redis.timeout;
    let written = field(manager.fields, "stream_idle_timeout")?;
    let ends = store::duration(written)?;
    (ends > Micros(0) && ends <= timeout).then(|| {
        format!(
            "{}.stream_idle_timeout: {written} ends requests with a 504 before redis.timeout \
             ({timeout}) ends their wait: make it longer",
            manager.place
        )
    })
}

/// Envoy takes the client's address from `x-forwarded-for`, unless it is told which of it to trust.
fn client_address(wiring: &Wiring<'_>) -> Option<String> {
    let manager = wiring.plugin.manager.as_ref()?;
    let mut parts = wiring.config?.rules.iter().flat_map(|it| &it.key.parts);
    if !parts.any(|part| matches!(part, Part::ClientIp { .. })) {
        return None;
    }
    let is_said = |name: &str| field(manager.fields, name).is_some_and(says_something);
    let ways = [
        "use_remote_address",
        "xff_num_trusted_hops",
        "original_ip_detection_extensions",
    ];
    if ways.into_iter().any(is_said) {
        return None;
    }
    Some(format!(
        "{}.use_remote_address: a rule counts by client_ip, but clients choose theirs in \
         x-forwarded-for: set it to true; behind other proxies also xff_num_trusted_hops",
        manager.place
    ))
}

/// A path that is spelt otherwise may reach the same of an upstream, past the rules.
fn spellings(wiring: &Wiring<'_>) -> Option<String> {
    let manager = wiring.plugin.manager.as_ref()?;
    let missing = paths::missing(manager.fields);
    let name = missing.first()?;
    let mut rules = wiring.config?.rules.iter();
    let looks = |rule: &Rule| rule.matcher.path.is_some() || rule.key.parts.contains(&Part::Path);
    let rule = &rules.find(|it| looks(it))?.name;
    Some(format!(
        "{}.{name}: rule {rule:?} looks at the path, which clients may spell in other ways \
         (//login, /x/../login): set {} to true",
        manager.place,
        missing.join(" and ")
    ))
}

/// Whether a field is set to something else than its default.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Array(items) => !items.is_empty(),
        number => whole(number).is_some_and(|it| it > 0),
    }
}

/// Envoy that starts without a filter is live all the same.
fn default_config(wiring: &Wiring<'_>) -> Option<String> {
    let discovery = wiring.plugin.discovery?;
    if field(discovery, "default_config").is_some() {
        return None;
    }
    let place = &wiring.plugin.place;
    let filter = place.split(".config_discovery").next().unwrap_or(place);
    Some(format!(
        "{filter}.config_discovery.default_config: while what is discovered is bad when Envoy \
         starts, every request would get a 500: copy it from envoy/reload.yaml"
    ))
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
    let own = vm_id(wiring.plugin);
    let shared = plugins(wiring.tree, BRIDGE)
        .iter()
        .any(|it| vm_id(it) == own);
    shared.then(|| {
        format!(
            "{}.vm_config.vm_id: it is the bridge's too, and one VM cannot wait for itself: give \
             each its own",
            wiring.plugin.place
        )
    })
}

/// The VM that a plugin asks for; all without a name share one.
fn vm_id<'t>(plugin: &Plugin<'t>) -> Option<&'t Value> {
    find(plugin.config, "vm_id").filter(|it| *it != "")
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
    pub(super) fn resources(&self, kind: &str) -> impl Iterator<Item = &'t Value> + use<'t> {
        let resources = field(self.tree, "static_resources").and_then(|it| field(it, kind));
        resources.and_then(Value::as_array).into_iter().flatten()
    }
}

/// A duration as protobuf's JSON has it, such as `0.06s`.
pub(super) fn seconds(duration: &Value) -> Option<f64> {
    duration.as_str()?.strip_suffix('s')?.parse().ok()
}

/// A whole number, which protobuf's JSON also has as a string.
pub(super) fn whole(number: &Value) -> Option<u64> {
    let text = || number.as_str()?.parse().ok();
    number.as_u64().or_else(text)
}
