//! What each rule makes of a request, in words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use velocitygate::config::{Config, Counted, OnFailure, Rule, Treatment};
use velocitygate::limit::{Limit, TokenBucket};
use velocitygate::matching::{HostPattern, Mismatch, Request, TextTest, ValueTest, redis_key};

use super::untried;

/// A paragraph for each rule, in the order of the configuration.
pub(super) fn explain(config: &Config, request: &Request<'_>) -> Vec<String> {
    let mut applicable: BTreeMap<usize, Treatment> = config.applicable(request).collect();
    let leases = spends_leases(config, &applicable);
    let rules = config.rules.iter().enumerate();
    let paragraph = |(index, rule): (usize, &Rule)| {
        let treatment = applicable.remove(&index);
        let untried = treatment.is_some().then(|| untried::explain(rule, request));
        let said = match treatment {
            Some(Treatment::Count(counted)) => counts(config, rule, &counted, leases),
            Some(Treatment::Unlimited) => "passes: its override is unlimited".to_owned(),
            Some(Treatment::Skip) => {
                "skipped: the request lacks a part of its key, and missing_key is skip".to_owned()
            }
            Some(Treatment::Deny) if rule.key.key(request).missing => {
                "refuses: the request lacks a part of its key, and missing_key is deny".to_owned()
            }
            Some(Treatment::Deny) => "refuses: an override denies it".to_owned(),
            None => {
                let why = rule.matcher.mismatch(request);
                let why = why.map(|it| reason(it, request)).unwrap_or_default();
                format!("does not match: {why}")
            }
        };
        let shadow = if rule.shadow { " (shadow)" } else { "" };
        let untried = untried.unwrap_or_default();
        format!("{}{shadow}: {said}{untried}", rule.name)
    };
    rules.map(paragraph).collect()
}

/// Whether the request may pass on leases: when all rules that are enforced on it have them.
fn spends_leases(config: &Config, applicable: &BTreeMap<usize, Treatment>) -> bool {
    let counting = applicable
        .iter()
        .filter(|(_, it)| matches!(it, Treatment::Count(_)));
    let mut rules = counting.filter_map(|(index, _)| config.rules.get(*index));
    rules.all(|rule| rule.shadow || rule.lease.is_some())
}

fn counts(config: &Config, rule: &Rule, counted: &Counted, leases: bool) -> String {
    let Counted {
        key,
        limit,
        on_failure,
        cost,
    } = counted;
    let note = match (rule.key.parts.is_empty(), key.missing) {
        (true, _) => " (one for all)",
        (_, true) => " (one for all that lack a part)",
        _ if key.has_several() => " (one for all that send different values)",
        _ => "",
    };
    let counter = redis_key(&config.redis.key_prefix, &rule.name, key, limit.tag());
    let overridden = if *limit == rule.limit {
        ""
    } else {
        ", by an override"
    };
    let lease = rule.lease.filter(|_| !rule.shadow);
    let tightened = lease.and_then(|it| limit.leased(it.ttl));
    let tightened = tightened.filter(|it| it != limit);
    let lease = lease.map(|it| {
        let (max, ttl) = (it.max, it.ttl);
        let unless = if leases {
            ""
        } else {
            "; not for this request, which a rule without a lease counts, too"
        };
        format!("a worker takes up to {max} ahead, for {ttl}{unless}")
    });
    let in_redis = tightened.map(|it| format!("{}, tightened for the lease", self::limit(&it)));
    let lines = [
        ("counter", Some(format!("{counter}{note}"))),
        ("limit", Some(format!("{}{overridden}", self::limit(limit)))),
        ("cost", Some(cost.to_string())),
        ("lease", lease),
        ("in Redis", in_redis),
        ("no Redis", Some(policy(on_failure))),
    ];
    let lines = lines.into_iter().filter_map(|(what, it)| Some((what, it?)));
    let lines: String = lines
        .map(|(what, it)| format!("\n  {what:8}  {it}"))
        .collect();
    format!("counts it{lines}")
}

fn limit(limit: &Limit) -> String {
    let (requests, per) = (limit.requests(), limit.per());
    match limit {
        Limit::TokenBucket(bucket) => self::bucket(bucket),
        Limit::FixedWindow(_) => format!("{requests} in each {per} (fixed_window)"),
        Limit::SlidingWindow(_) => format!("{requests} in {per} (sliding_window)"),
        Limit::SlidingLog(_) => format!("{requests} in {per} (sliding_log)"),
    }
}

fn bucket(bucket: &TokenBucket) -> String {
    let TokenBucket {
        requests,
        per,
        burst,
    } = bucket;
    format!("{requests} in {per}, at most {burst} at once (token_bucket)")
}

fn policy(policy: &OnFailure) -> String {
    match policy {
        OnFailure::Allow => "allow".to_owned(),
        OnFailure::Deny => "deny".to_owned(),
        OnFailure::Local(own) => format!("local: each worker admits {}", bucket(own)),
    }
}

/// `subject is this, must be that`.
fn reason(mismatch: Mismatch<'_>, request: &Request<'_>) -> String {
    let (subject, found) = subject(mismatch, request);
    let wanted = match mismatch {
        Mismatch::Method(methods) => format!("be one of {}", methods.join(", ")),
        Mismatch::Host(hosts) => format!(
            "be one of {}",
            hosts.iter().map(host).collect::<Vec<_>>().join(", ")
        ),
        Mismatch::Path(test) => text_test(test),
        Mismatch::Header(named) | Mismatch::Query(named) => value_test(&named.test),
        Mismatch::Property(property) => value_test(&property.test),
    };
    format!("{subject} is {}, must {wanted}", shown(&found))
}

/// What a test looks at, and the values that a request has there.
pub(super) fn subject<'r>(
    test: Mismatch<'r>,
    request: &'r Request<'_>,
) -> (String, Vec<Cow<'r, [u8]>>) {
    let one = |value: Option<Cow<'r, [u8]>>| value.into_iter().collect();
    match test {
        Mismatch::Method(_) => ("method".to_owned(), one(request.method())),
        Mismatch::Host(_) => ("host".to_owned(), one(request.host())),
        Mismatch::Path(_) => ("path".to_owned(), one(request.path().map(Into::into))),
        Mismatch::Header(named) => (
            format!("header {}", named.name),
            request.header_readings(&named.name).collect(),
        ),
        Mismatch::Query(named) => (
            format!("query parameter {}", named.name),
            request.parameters(&named.name).collect(),
        ),
        Mismatch::Property(property) => (
            format!("property {}", property.path.join(".")),
            one(request.property(&property.path).map(Into::into)),
        ),
    }
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn text_test(test: &TextTest) -> String {
    match test {
        TextTest::Exact(text) => format!("be {text:?}"),
        TextTest::Prefix(text) => format!("begin with {text:?}"),
        TextTest::Regex(pattern) => format!("fit {:?}", pattern.source()),
    }
}

fn value_test(test: &ValueTest) -> String {
    match test {
        ValueTest::Is(test) => text_test(test),
        ValueTest::Present(true) => "be there".to_owned(),
        ValueTest::Present(false) => "be absent".to_owned(),
    }
}

/// Values in quotes, escaped; "absent" when there are none.
fn shown(values: &[Cow<'_, [u8]>]) -> String {
    let values: Vec<_> = values
        .iter()
        .map(|value| format!("{:?}", String::from_utf8_lossy(value)))
        .collect();
    if values.is_empty() {
        "absent".to_owned()
    } else {
        values.join(" and ")
    }
}
