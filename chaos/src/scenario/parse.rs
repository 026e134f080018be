//! TOML text to [`Scenario`]: shapes first, then what must fit together.

use super::fields::{Fields, Problems};
use super::hot::{HOT_MAX, hot};
use super::{
    ARRIVALS_MAX, Check, Extent, Injection, Keys, LENGTH_MAX_S, Load, Measure, Op, Phases,
    RateStep, Scenario, Source, Window,
};
use crate::fault::Fault;

/// Highest planned rate, requests per second: above it the generator would rival Envoy for CPU.
const RPS_MAX: f64 = 10_000.0;
const WORKERS_MAX: u64 = 16;
const KEYS_MAX: u64 = 1_000_000;

impl Scenario {
    /// Reads a scenario file's text.
    ///
    /// # Errors
    /// Every problem of the file, each as `path: problem`.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table = text.parse::<toml::Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text
                    .get(..span.start)
                    .unwrap_or_default()
                    .matches('\n')
                    .count()
            });
            vec![format!("line {line}: {}", error.message())]
        })?;
        let problems = Problems::default();
        let mut scenario = scenario(Fields::root(table, &problems));
        text.clone_into(&mut scenario.text);
        let problems = problems.into_vec();
        if problems.is_empty() {
            Ok(scenario)
        } else {
            Err(problems)
        }
    }
}

fn scenario(mut fields: Fields<'_>) -> Scenario {
    let phases = phases(fields.table("phases"));
    let filter = fields.json("filter");
    let scenario = Scenario {
        text: String::new(),
        id: fields.text("id"),
        name: fields.text("name"),
        title: fields.text("title"),
        hypothesis: fields.text("hypothesis"),
        default: fields.flag("default", true),
        workers: fields.whole("workers", 1..=WORKERS_MAX),
        load: load(fields.table("load"), &phases, &filter),
        filter,
        timeline: timeline(&mut fields, &phases),
        steady: fields
            .tables("steady")
            .into_iter()
            .map(|it| check(it, Kind::Steady))
            .collect(),
        checks: fields
            .tables("checks")
            .into_iter()
            .map(|it| check(it, Kind::Check))
            .collect(),
        phases,
    };
    for (name, list) in [("steady", &scenario.steady), ("checks", &scenario.checks)] {
        if list.is_empty() {
            fields.problem(name, "expected at least one, found none");
        }
    }
    for (index, check) in scenario.checks.iter().enumerate() {
        let earlier = scenario.checks.iter().take(index);
        if earlier.filter(|it| it.name == check.name).count() > 0 {
            fields.problem(&format!("checks[{index}].name"), "used by an earlier check");
        }
    }
    for (name, list) in [("steady", &scenario.steady), ("checks", &scenario.checks)] {
        for (index, check) in list.iter().enumerate() {
            if let Some(problem) = unfit(check.measure, &scenario) {
                let problem = format!("{} {problem}", check.measure.name());
                fields.problem(&format!("{name}[{index}].measure"), problem);
            }
        }
    }
    fields.finish();
    scenario
}

/// Why a measure can say nothing about a scenario.
fn unfit(measure: Measure, scenario: &Scenario) -> Option<&'static str> {
    let mut rules = scenario.filter["rules"].as_array().into_iter().flatten();
    match measure {
        Measure::LimitUsed | Measure::OverAdmitted if scenario.load.hot.is_none() => {
            Some("needs a load.hot")
        }
        Measure::UnexplainedCommands if rules.any(|it| !it["lease"].is_null()) => {
            Some("cannot follow the commands of a rule with a lease")
        }
        _ => None,
    }
}

fn phases(mut fields: Fields<'_>) -> Phases {
    let phases = Phases {
        warmup_s: fields.number("warmup_s", 0.0..=LENGTH_MAX_S),
        baseline_s: fields.number("baseline_s", 1.0..=LENGTH_MAX_S),
        fault_s: fields.number("fault_s", 0.5..=LENGTH_MAX_S),
        recovery_s: fields.number("recovery_s", 1.0..=LENGTH_MAX_S),
    };
    if phases.end_at_s() > LENGTH_MAX_S {
        fields.problem(
            "recovery_s",
            format!("the phases together exceed {LENGTH_MAX_S} s"),
        );
    }
    fields.finish();
    phases
}

fn load(mut fields: Fields<'_>, phases: &Phases, filter: &serde_json::Value) -> Load {
    let load = Load {
        rps: fields.number("rps", 1.0..=RPS_MAX),
        seed: fields.whole("seed", 0..=u64::from(u32::MAX)),
        keys: keys(fields.table("keys")),
        hot: fields.optional_table("hot").map(|it| hot(it, filter)),
        steps: fields
            .tables("steps")
            .into_iter()
            .map(|it| step(it, phases))
            .collect(),
    };
    if !load.steps.is_sorted_by(|a, b| a.at_s < b.at_s) {
        fields.problem("steps", "expected rising times");
    }
    let planned = load.arrivals(phases.end_at_s());
    if planned > ARRIVALS_MAX {
        fields.problem(
            "rps",
            format!("{planned} requests are planned, at most {ARRIVALS_MAX}"),
        );
    }
    let hot = load.hot.map_or(0, |hot| planned.div_ceil(hot.every.max(1)));
    if hot > HOT_MAX {
        let problem = format!("{hot} hot requests are planned, at most {HOT_MAX}");
        fields.problem("hot.every", problem);
    }
    fields.finish();
    load
}

fn step(mut fields: Fields<'_>, phases: &Phases) -> RateStep {
    let step = RateStep {
        at_s: fields.number("at_s", 0.0..=phases.end_at_s()),
        rps: fields.number("rps", 0.0..=RPS_MAX),
    };
    fields.finish();
    step
}

fn keys(mut fields: Fields<'_>) -> Keys {
    let plans = [
        ("one", Keys::One),
        ("distinct", Keys::Distinct),
        ("uniform", Keys::Uniform { count: 0 }),
    ];
    let keys = match fields.choice("plan", &plans) {
        Some(Keys::Uniform { .. }) => Keys::Uniform {
            count: fields.whole("count", 1..=KEYS_MAX),
        },
        other => other.unwrap_or(Keys::One),
    };
    fields.finish();
    keys
}

fn timeline(fields: &mut Fields<'_>, phases: &Phases) -> Vec<Injection> {
    let timeline = fields
        .tables("timeline")
        .into_iter()
        .map(|it| injection(it, phases))
        .collect();
    if Vec::is_empty(&timeline) {
        fields.problem("timeline", "expected at least one fault, found none");
    }
    // Healing one fault heals all, so a second may begin only after that.
    if !timeline.is_sorted_by(|a: &Injection, b: &Injection| a.heal_at_s <= b.at_s) {
        fields.problem(
            "timeline",
            "expected one fault at a time, in the order of time",
        );
    }
    timeline
}

fn injection(mut fields: Fields<'_>, phases: &Phases) -> Injection {
    let (from, to) = (phases.fault_at_s(), phases.recovery_at_s());
    let injection = Injection {
        at_s: fields.number("at_s", from..=to),
        heal_at_s: fields.number("heal_at_s", from..=to),
        fault: fault(&mut fields),
    };
    if injection.heal_at_s <= injection.at_s {
        fields.problem("heal_at_s", "expected a time after at_s");
    }
    fields.finish();
    injection
}

fn fault(fields: &mut Fields<'_>) -> Fault {
    let fault = fields.json("fault");
    serde_json::from_value(fault).unwrap_or_else(|error| {
        fields.problem("fault", error.to_string());
        Fault::ProxyDown
    })
}

/// Steady-state checks always look at the baseline and belong to no list of bounds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Steady,
    Check,
}

fn window(fields: &mut Fields<'_>, kind: Kind, measure: Measure) -> Window {
    let own = format!("{} is taken over a span of its own", measure.name());
    match (kind, measure.extent()) {
        (Kind::Steady, Extent::Window) => Window::Baseline,
        (Kind::Steady, Extent::Own) => {
            fields.problem("measure", own + ", not over the baseline");
            Window::Baseline
        }
        (Kind::Check, Extent::Window) => fields
            .choice("window", Window::NAMES)
            .unwrap_or(Window::Whole),
        (Kind::Check, Extent::Own) => {
            fields.refuse("window", own + "; leave this out");
            Window::Whole
        }
    }
}

fn check(mut fields: Fields<'_>, kind: Kind) -> Check {
    let measure = fields.choice("measure", Measure::NAMES);
    let measure = measure.unwrap_or(Measure::SuccessShare);
    let window = window(&mut fields, kind, measure);
    let source = match kind {
        Kind::Steady => Some(Source::Plan),
        Kind::Check => fields.choice("source", Source::NAMES),
    };
    let check = Check {
        name: fields.text("name"),
        measure,
        window,
        op: fields.choice("op", Op::NAMES).unwrap_or(Op::AtMost),
        bound: fields.number("bound", -1e12..=1e12),
        source: source.unwrap_or(Source::Plan),
    };
    fields.finish();
    check
}
