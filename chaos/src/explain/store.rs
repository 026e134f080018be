//! What Redis is asked about a request, and what becomes of it without an answer: the engine is run
//! on it with nobody else there.

use std::rc::Rc;

use velocitygate::breaker::{Breaker, SharedCell};
use velocitygate::census::Census;
use velocitygate::config::Config;
use velocitygate::engine::{
    Action, CallEnd, Effect, Engine, OutgoingCall, Step, StreamId, Verdict,
};
use velocitygate::matching::Request;
use velocitygate::resp::{Reply, decode_commands};
use velocitygate::units::Instant;

const STREAM: StreamId = 1;
const NOW: Instant = Instant(0);

/// Shared data of a process in which this is the only request.
struct Alone;

impl SharedCell for Alone {
    fn load(&mut self) -> Option<(Vec<u8>, u32)> {
        None
    }

    fn store(&mut self, _: &[u8], _: u32) -> bool {
        true
    }
}

/// The commands, and the end without an answer.
pub(super) fn explain(config: &Rc<Config>, request: &Request<'_>) -> String {
    let mut engine = Engine::new(Rc::clone(config), Breaker::Off, Census::new(Alone, 0));
    match engine.request(STREAM, request, NOW) {
        Step::Pass => "Redis is not asked: no rule counts this request, it passes.\n".to_owned(),
        Step::Done(verdict) => {
            format!(
                "Redis is not asked: the request {}.\n",
                end(config, &verdict)
            )
        }
        Step::Wait => asked(config, &mut engine),
    }
}

fn asked(config: &Config, engine: &mut Engine<Alone>) -> String {
    engine.turn(NOW);
    let calls = engine
        .take_effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Call(call) => Some(call),
            _ => None,
        });
    let calls: Vec<OutgoingCall> = calls.collect();
    let mut text = "Redis is asked:\n".to_owned();
    for call in &calls {
        for command in decode_commands(&call.body, call.replies).unwrap_or_default() {
            text.push_str(&format!("  {}\n", words(&command)));
        }
        engine.call_ended(call.id, CallEnd::TimedOut, NOW);
    }
    for effect in engine.take_effects() {
        if let Effect::Finish(STREAM, verdict) = effect {
            let (timeout, end) = (config.redis.timeout, end(config, &verdict));
            text.push_str(&format!(
                "Without an answer within {timeout} the request {end}.\n"
            ));
        }
    }
    text
}

/// A command as `redis-cli` takes it: keys and numbers hold neither blanks nor quotes.
fn words(command: &Reply<'_>) -> String {
    let Reply::Array(Some(words)) = command else {
        return String::new();
    };
    let words = words.iter().map(|word| match word {
        Reply::Bulk(Some(bytes)) => String::from_utf8_lossy(bytes),
        _ => "".into(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What becomes of a request, and by which rule.
fn end(config: &Config, verdict: &Verdict) -> String {
    let what = match &verdict.action {
        Action::Pass(_) => "passes".to_owned(),
        Action::Refuse(answer) => format!("is answered with {}", answer.status),
    };
    let rule = config.rules.get(usize::from(verdict.rule));
    let rule = rule.map_or("", |rule| &rule.name);
    format!("{what} ({}, by {rule})", verdict.decision)
}
