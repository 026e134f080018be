//! Reads every observer ten times a second into the record.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{MissedTickBehavior, interval};

use crate::observe::{EnvoySample, ProcessSample, RedisSample, Stolen, Turns};
use crate::record::{Event, Sample, Source, names};
use crate::stack::Stack;

/// Time between two readings of one observer.
const EVERY: Duration = Duration::from_millis(100);
/// How long Envoy may take to answer a reading.
const PATIENCE: Duration = Duration::from_secs(1);

type Values = BTreeMap<String, f64>;

/// All observers of a stack.
#[derive(Debug)]
pub(super) struct Observers<'s> {
    stack: &'s Stack,
    http: reqwest::Client,
    events: &'s UnboundedSender<Event>,
    /// What the scheduler said at the last reading.
    scheduler: Mutex<Option<Scheduler>>,
}

/// What the scheduler says.
#[derive(Debug)]
struct Scheduler {
    /// Of those whose work is in every latency: Envoy, and the suite with its client and upstream.
    path: Turns,
    /// Of all that the filter can set to work.
    stack: Turns,
    stolen: Stolen,
}

impl Scheduler {
    async fn take(stack: &Stack) -> Result<Self> {
        let envoy = stack.envoys().first().context("no Envoy")?;
        Ok(Self {
            path: Turns::take(&[envoy.pid(), std::process::id()])?,
            stack: Turns::take(&stack.pids().await)?,
            stolen: Stolen::take()?,
        })
    }

    fn since(&self, before: &Self) -> Values {
        let waited = self.path.waited_since(&before.path);
        let kept = waited.max(self.stolen.since(&before.stolen));
        let ran = self.stack.ran_since(&before.stack);
        named([
            (names::STACK_RAN_MS, ran.as_secs_f64() * 1e3),
            (names::KEPT_WAITING_MS, kept.as_secs_f64() * 1e3),
        ])
    }
}

impl<'s> Observers<'s> {
    pub(super) fn new(stack: &'s Stack, events: &'s UnboundedSender<Event>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        Ok(Self {
            stack,
            http,
            events,
            scheduler: Mutex::new(None),
        })
    }

    /// Reads until dropped. Each observer has its own beat, so one that hangs delays no other.
    pub(super) async fn watch(&self, start: Instant) {
        let watch = async |source| {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                self.read(source, || start.elapsed().as_secs_f64()).await;
            }
        };
        let ((), (), (), ()) = tokio::join!(
            watch(Source::Envoy),
            watch(Source::Redis),
            watch(Source::Upstream),
            watch(Source::Process),
        );
    }

    /// Reads each observer once. Nothing moves before the load and after it, so all agree.
    pub(super) async fn read_all(&self, at_s: f64) {
        for source in [
            Source::Envoy,
            Source::Redis,
            Source::Upstream,
            Source::Process,
        ] {
            self.read(source, || at_s).await;
        }
    }

    async fn read(&self, source: Source, now_s: impl Fn() -> f64) {
        let values = match source {
            Source::Envoy => self.envoy().await,
            Source::Redis => self.redis().await,
            Source::Process => self.process().await,
            Source::Upstream => Ok(self.upstream()),
            Source::AccessLog => return,
        };
        let at_s = now_s();
        // A closed channel means that the scenario is over: nobody wants the reading.
        let _ = self.events.send(match values {
            Ok(values) => Event::Sample(Sample {
                at_s,
                source,
                values,
            }),
            Err(error) => Event::Missed {
                at_s,
                source,
                reason: format!("{error:#}"),
            },
        });
    }

    async fn envoy(&self) -> Result<Values> {
        let envoy = self.stack.envoys().first().context("no Envoy")?;
        Ok(envoy_values(&EnvoySample::take(&self.http, envoy).await?))
    }

    async fn redis(&self) -> Result<Values> {
        let pid = self.stack.redis().pid().await.context("Redis is down")?;
        let sample = RedisSample::take(self.stack.redis()).await?;
        Ok(named([
            (names::INSTANCE, f64::from(pid)),
            (names::USED_MEMORY, float(sample.used_memory)),
            (names::KEYS, float(sample.keys)),
            (names::EVAL_CALLS, float(sample.eval_calls)),
            (names::EVALSHA_CALLS, float(sample.evalsha_calls)),
        ]))
    }

    async fn process(&self) -> Result<Values> {
        let envoy = self.stack.envoys().first().context("no Envoy")?;
        let sample = ProcessSample::take(envoy.pid())?;
        let mut values = named([
            (names::ENVOY_CPU_S, sample.cpu_seconds),
            (names::ENVOY_RSS, float(sample.rss_bytes)),
            (names::ENVOY_THREADS, float(sample.threads)),
        ]);
        // While Redis is down the rest still counts.
        if let Some(pid) = self.stack.redis().pid().await
            && let Ok(redis) = ProcessSample::take(pid)
        {
            values.insert(names::REDIS_CPU_S.to_owned(), redis.cpu_seconds);
        }
        values.extend(self.scheduler().await);
        Ok(values)
    }

    /// Nothing from a kernel that keeps no statistics of its scheduler, and at the first reading.
    async fn scheduler(&self) -> Values {
        let now = Scheduler::take(self.stack).await.ok();
        let mut last = self
            .scheduler
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, now);
        let pair = before.as_ref().zip(last.as_ref());
        pair.map(|(before, now)| now.since(before))
            .unwrap_or_default()
    }

    fn upstream(&self) -> Values {
        named([(names::HITS, float(self.stack.upstream().hits()))])
    }
}

fn envoy_values(sample: &EnvoySample) -> Values {
    let mut values = named([
        (names::WAITING, float(sample.waiting)),
        (names::COMPLETED, float(sample.answers.values().sum())),
        (names::VM_RELOADS, float(sample.vm_reloads)),
        (
            names::NOSCRIPT,
            float(sample.redis_errors.get("noscript").copied().unwrap_or(0)),
        ),
    ]);
    for (decision, count) in sample.requests.values().flatten() {
        *values
            .entry(format!("{}{decision}", names::DECISION))
            .or_default() += float(*count);
    }
    for (name, counts) in [
        (names::REDIS_CALLS, &sample.redis_calls),
        (names::PROBES, &sample.probes),
    ] {
        for (result, count) in counts {
            values.insert(format!("{name}{result}"), float(*count));
        }
    }
    values
}

fn named<const N: usize>(values: [(&str, f64); N]) -> Values {
    values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^53"
)]
fn float(count: u64) -> f64 {
    count as f64
}
