//! Mistakes between the filter and the routes that turn it on and off.

use serde_json::Value;

use super::wiring::{Check, Wiring, find};
use crate::plugin::{Message, each, field, within};

pub(super) const CHECKS: [Check; 3] = [unknown, shared, never_on];

/// What a route, or what it is in, says of a filter.
struct Setting<'t> {
    place: String,
    filter: &'t str,
    config: &'t Value,
}

/// Envoy keeps what is said of a filter that is not there, and tells nobody.
fn unknown(wiring: &Wiring<'_>) -> Option<String> {
    let manager = wiring.plugin.manager.as_ref()?;
    let filters = field(manager.fields, "http_filters")?;
    let names = filters
        .as_array()?
        .iter()
        .filter_map(|it| it["name"].as_str());
    let names: Vec<&str> = names.collect();
    // Another filter may run it, a cluster may have it, and routes may serve several listeners.
    let others = extensions(wiring.tree);
    let mut settings = settings(manager).into_iter();
    let Setting { place, filter, .. } =
        settings.find(|it| !names.contains(&it.filter) && !others.contains(&it.filter))?;
    Some(format!(
        "{place}: {filter:?} is the name of no HTTP filter here, so Envoy ignores it: correct it to \
         one of {}",
        names.join(", ")
    ))
}

/// What a route says goes to all filters of the name.
fn shared(wiring: &Wiring<'_>) -> Option<String> {
    let manager = wiring.plugin.manager.as_ref()?;
    let name = &wiring.plugin.filter.as_ref()?.fields["name"];
    let filters = field(manager.fields, "http_filters")?.as_array()?.iter();
    let count = filters.filter(|it| it["name"] == *name).count();
    let is_used = settings(manager).iter().any(|it| name == it.filter);
    (is_used && count > 1).then(|| {
        format!(
            "{}.http_filters: {count} have the name {name}, so a route turns all of them on or off: \
             give each its own",
            manager.place
        )
    })
}

/// A filter that is off runs only where a route turns it on.
fn never_on(wiring: &Wiring<'_>) -> Option<String> {
    let plugin = wiring.plugin;
    let manager = plugin.manager.as_ref()?;
    let filter = plugin.filter.as_ref().filter(|_| plugin.is_disabled())?;
    let routes = field(manager.fields, "route_config")?;
    if find(routes, "vhds").is_some() {
        return None;
    }
    let name = filter.fields["name"].as_str()?;
    let turns_on = |it: &Setting<'_>| it.filter == name && it.config["disabled"] != true;
    (!settings(manager).iter().any(turns_on)).then(|| {
        format!(
            "{}.disabled: no route turns {name:?} on in its typed_per_filter_config, so it limits \
             nothing: turn it on as in envoy/per-route.yaml, or take this out",
            filter.place
        )
    })
}

/// All that the routes of a connection manager say of filters.
fn settings<'t>(manager: &Message<'t>) -> Vec<Setting<'t>> {
    let mut found = Vec::new();
    each(&manager.place, manager.fields, &mut |place, message| {
        let said = field(message, "typed_per_filter_config").and_then(Value::as_object);
        found.extend(said.into_iter().flatten().map(|(filter, config)| Setting {
            place: within(place, "typed_per_filter_config"),
            filter,
            config,
        }));
    });
    found
}

/// The names of all extensions in a tree. That of a plugin is none.
fn extensions(tree: &Value) -> Vec<&str> {
    let mut names = Vec::new();
    each("", tree, &mut |_, message| {
        let mut kinds = ["typed_config", "config_discovery"].into_iter();
        if kinds.any(|kind| field(message, kind).is_some()) {
            names.extend(message["name"].as_str());
        }
    });
    names
}
