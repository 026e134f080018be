//! Rules of different filters that have one name, and so one counter for each key.

use std::mem::discriminant;

use velocitygate::config::{Config, Rule};

use crate::plugin::Plugin;

/// Those that count otherwise, each as `place: mistake: fix`.
pub(super) fn shared(judged: &[(&Plugin<'_>, Config)]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, (plugin, config)) in judged.iter().enumerate() {
        let place = filter(plugin);
        for rule in &config.rules {
            let mut before = judged[..index].iter().filter(|(other, before)| {
                let (there, here) = (&before.redis, &config.redis);
                let is_same = there.cluster == here.cluster && there.key_prefix == here.key_prefix;
                is_same && filter(other) != place
            });
            let twin = before.find(|(_, before)| before.rules.iter().any(|it| is_mixed(it, rule)));
            found.extend(twin.map(|(other, _)| {
                format!(
                    "{}.configuration: rule {:?} has the counters of one with its name, but another \
                     key or limit, in {}: give it a name of its own",
                    plugin.place,
                    rule.name,
                    filter(other)
                )
            }));
        }
    }
    found
}

/// Of a filter that is discovered, one configuration is in force at a time.
fn filter<'p>(plugin: &'p Plugin<'_>) -> &'p str {
    let filter = plugin.filter.as_ref().map(|it| &it.place);
    filter.unwrap_or(&plugin.place)
}

/// Each algorithm has counters of its own.
fn is_mixed(one: &Rule, other: &Rule) -> bool {
    let is_same = discriminant(&one.limit) == discriminant(&other.limit);
    one.name == other.name && is_same && (one.limit != other.limit || one.key != other.key)
}
