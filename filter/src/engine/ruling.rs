//! From what is known of a request's counts to what becomes of it.

use super::effect::Action;
use super::waiter::{Bucket, Part, PartResult};
use crate::answer::{Answer, RuleStanding, limit_headers};
use crate::config::{Config, OnFailure, Response, Rule};
use crate::decision::Decision;
use crate::limit::{LocalBuckets, LocalDemand, Standing};
use crate::units::{Instant, Micros};

/// The decision of each rule, and the fate of the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// Rule number and its decision. When a request is refused, the rules that would have let it
    /// pass made no decision: they charged nothing.
    pub(super) decisions: Vec<(u16, Decision)>,
    /// Which of them decided.
    pub(super) decided: (u16, Decision),
    pub(super) action: Action,
}

/// Rules on one request whose parts are all answered.
pub(super) fn rule_on(
    config: &Config,
    parts: &[Part],
    local: &mut LocalBuckets,
    now: Instant,
) -> Ruling {
    let (shadows, enforced): (Vec<&Part>, Vec<&Part>) = parts.iter().partition(|part| part.shadow);
    let shadows: Vec<(u16, Decision)> = shadows
        .into_iter()
        .flat_map(|part| part.buckets.iter().map(|b| (b.rule, shadow_decision(part))))
        .collect();
    let enforced = (!enforced.is_empty()).then(|| rule_on_enforced(config, &enforced, local, now));
    with_shadows(enforced, &shadows)
}

/// The refusal of a request without a count: it lacks a key which the rule demands, or an override
/// refuses its key. There is nothing to wait for, so it names no time to come back.
pub(super) fn bar(config: &Config, rule: u16) -> Ruling {
    let name = rule_of(config, rule).map_or("", |rule| rule.name.as_str());
    let decided = (rule, Decision::Denied);
    Ruling {
        decisions: vec![decided],
        decided,
        action: over_limit(config, rule, (&[name], None), &[]),
    }
}

/// The refusal in the name of the rule that decided: which rules were violated, and how long to wait.
fn over_limit(
    config: &Config,
    decided: u16,
    (violated, retry): (&[&str], Option<Micros>),
    standings: &[RuleStanding<'_>],
) -> Action {
    let usual = Response::default();
    let response = rule_of(config, decided).map_or(&usual, |rule| &rule.response);
    let headers = config.headers;
    Action::Refuse(Answer::over_limit(
        headers, violated, retry, standings, response,
    ))
}

fn rule_of(config: &Config, rule: u16) -> Option<&Rule> {
    config.rules.get(usize::from(rule))
}

const fn shadow_decision(part: &Part) -> Decision {
    match part.result {
        Some(PartResult::Admitted { .. } | PartResult::Leased { .. } | PartResult::Unlimited) => {
            Decision::Allowed
        }
        Some(PartResult::Refused { .. } | PartResult::Barred) => Decision::ShadowDenied,
        Some(PartResult::Unknown) | None => Decision::DegradedAllow,
    }
}

/// Adds the shadow rules' decisions. One that would have refused is told as the decision of a
/// request that merely passed, since finding those is what a shadow rule is for.
fn with_shadows(enforced: Option<Ruling>, shadows: &[(u16, Decision)]) -> Ruling {
    let first = shadows.first().copied().unwrap_or((0, Decision::Allowed));
    let mut ruling = enforced.unwrap_or_else(|| Ruling {
        decisions: Vec::new(),
        decided: first,
        action: Action::Pass(Vec::new()),
    });
    ruling.decisions.extend_from_slice(shadows);
    let denied = shadows
        .iter()
        .find(|(_, decision)| *decision == Decision::ShadowDenied);
    if let (Decision::Allowed, Some(denied)) = (ruling.decided.1, denied) {
        ruling.decided = *denied;
    }
    ruling
}

/// All enforced rules, be they answered in one part or, by a Redis Cluster, in several.
fn rule_on_enforced(
    config: &Config,
    parts: &[&Part],
    local: &mut LocalBuckets,
    now: Instant,
) -> Ruling {
    let (mut admitted, mut refused, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let mut unlimited = Vec::new();
    for part in parts {
        match &part.result {
            Some(PartResult::Admitted { standings, .. } | PartResult::Leased { standings }) => {
                admitted.extend(known_standings(config, part, standings));
            }
            Some(PartResult::Refused { standings }) => {
                refused.extend(known_standings(config, part, standings));
            }
            Some(PartResult::Unlimited) => {
                unlimited.extend(part.buckets.iter().map(|b| (b.rule, Decision::Allowed)));
            }
            Some(PartResult::Unknown | PartResult::Barred) | None => {
                unknown.extend(&part.buckets);
            }
        }
    }
    if !refused.is_empty() {
        return refuse(config, &refused, &admitted);
    }
    let mut ruling = if unknown.is_empty() {
        admit(config, &admitted)
    } else {
        degrade(config, &unknown, local, now)
    };
    if matches!(ruling.action, Action::Pass(_)) {
        let counted = allowed(&admitted);
        ruling
            .decisions
            .extend(counted.chain(unlimited.iter().copied()));
        if let ([], [first, ..], true) = (&*admitted, &*unlimited, unknown.is_empty()) {
            ruling.decided = *first;
        }
    }
    ruling
}

/// A rule's number, and where it stands.
type Known<'a> = (u16, RuleStanding<'a>);

fn known_standings<'a>(config: &'a Config, part: &Part, standings: &[Standing]) -> Vec<Known<'a>> {
    let known = part
        .buckets
        .iter()
        .zip(standings)
        .filter_map(|(bucket, standing)| {
            let rule = rule_of(config, bucket.rule)?;
            let entry = RuleStanding {
                rule,
                limit: bucket.policy,
                standing: *standing,
            };
            Some((bucket.rule, entry))
        });
    known.collect()
}

fn allowed(known: &[Known<'_>]) -> impl Iterator<Item = (u16, Decision)> {
    known.iter().map(|(rule, _)| (*rule, Decision::Allowed))
}

/// The decisions are the caller's to add.
fn admit(config: &Config, known: &[Known<'_>]) -> Ruling {
    let standings: Vec<RuleStanding<'_>> = known.iter().map(|(_, standing)| *standing).collect();
    let tightest = known
        .iter()
        .min_by_key(|(_, standing)| standing.tightness());
    Ruling {
        decisions: Vec::new(),
        decided: (tightest.map_or(0, |(rule, _)| *rule), Decision::Allowed),
        action: Action::Pass(limit_headers(config.headers, &standings)),
    }
}

/// `refused` are the rules of which some had no room, `others` those that had.
fn refuse(config: &Config, refused: &[Known<'_>], others: &[Known<'_>]) -> Ruling {
    let standings = refused.iter().chain(others);
    let standings: Vec<RuleStanding<'_>> = standings.map(|(_, standing)| *standing).collect();
    let violated = refused
        .iter()
        .filter(|(_, entry)| entry.standing.retry.0 > 0);
    let violated: Vec<&Known<'_>> = violated.collect();
    let names: Vec<&str> = violated
        .iter()
        .map(|(_, entry)| entry.rule.name.as_str())
        .collect();
    let slowest = violated
        .iter()
        .max_by_key(|(_, entry)| entry.standing.retry);
    let retry = slowest.map(|(_, entry)| entry.standing.retry);
    let decisions: Vec<(u16, Decision)> = violated
        .iter()
        .map(|(rule, _)| (*rule, Decision::Denied))
        .collect();
    let decided = slowest.map_or(0, |(rule, _)| *rule);
    Ruling {
        decisions,
        decided: (decided, Decision::Denied),
        action: over_limit(config, decided, (&names, retry), &standings),
    }
}

/// The failure policy of each rule. One that fails closed refuses before any local bucket is
/// charged; the local buckets are then charged all or nothing.
fn degrade(config: &Config, buckets: &[&Bucket], local: &mut LocalBuckets, now: Instant) -> Ruling {
    let mut passed = Vec::new();
    let mut demands = Vec::new();
    for bucket in buckets {
        let number = bucket.rule;
        match bucket.on_failure {
            OnFailure::Allow => passed.push((number, Decision::DegradedAllow)),
            OnFailure::Local(limit) => {
                passed.push((number, Decision::DegradedLocalAllow));
                demands.push(LocalDemand {
                    rule: number,
                    key: bucket.fingerprint,
                    limit,
                    cost: bucket.cost,
                });
            }
            OnFailure::Deny => {
                let decided = (number, Decision::DegradedDeny);
                let action = Action::Refuse(Answer::unavailable());
                return Ruling {
                    decisions: vec![decided],
                    decided,
                    action,
                };
            }
        }
    }
    if let Err(standings) = local.charge(&demands, now) {
        return refuse_locally(config, &demands, &standings);
    }
    let local_rule = passed
        .iter()
        .find(|(_, d)| *d == Decision::DegradedLocalAllow);
    let decided = local_rule.or_else(|| passed.first()).copied();
    Ruling {
        decided: decided.unwrap_or((0, Decision::DegradedAllow)),
        decisions: passed,
        action: Action::Pass(Vec::new()),
    }
}

fn refuse_locally(config: &Config, demands: &[LocalDemand], standings: &[Standing]) -> Ruling {
    let violated = demands
        .iter()
        .zip(standings)
        .filter(|(_, standing)| standing.retry.0 > 0);
    let violated: Vec<(u16, &Standing)> = violated.map(|(d, s)| (d.rule, s)).collect();
    let names = violated
        .iter()
        .filter_map(|(rule, _)| rule_of(config, *rule));
    let names: Vec<&str> = names.map(|rule| rule.name.as_str()).collect();
    let slowest = violated.iter().max_by_key(|(_, standing)| standing.retry);
    let retry = slowest.map(|(_, standing)| standing.retry);
    let decision = Decision::DegradedLocalDeny;
    let decided = slowest.map_or(0, |(rule, _)| *rule);
    Ruling {
        decisions: violated.iter().map(|(rule, _)| (*rule, decision)).collect(),
        decided: (decided, decision),
        action: over_limit(config, decided, (&names, retry), &[]),
    }
}
