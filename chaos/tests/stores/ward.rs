//! A Redis that can be made unwell, in front of it an Envoy that must notice, and a connection to
//! it that no illness cuts.

use std::path::Path;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use tempfile::TempDir;
use velocitygate_chaos::stack::{EnvoyVersion, Redis, RedisProgram, RedisSpec, Store};

use crate::bed::{PATH, assert_limit_holds, errors, guarded, log, openings, recovered, start};
use crate::common::{Running, Seen, eventually};

/// Requests after which an error that does not open the breaker is believed not to.
const PATIENCE: u64 = 8;

pub(crate) struct Ward {
    running: Running,
    bedside: MultiplexedConnection,
    dir: TempDir,
}

impl Ward {
    /// A healthy Redis whose user `default`, which Envoy is, has all rights.
    pub(crate) async fn open(version: EnvoyVersion, program: RedisProgram) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let running = start(|spec| {
            spec.dir = dir.path().to_owned();
            (spec.envoy, spec.store) = (version, Store::Direct);
            spec.redis = RedisSpec {
                program,
                ..guarded()
            };
        })
        .await;
        let bedside = running.redis().connect().await.unwrap();
        let ward = Self {
            running,
            bedside,
            dir,
        };
        ward.say("ACL SETUSER default on nopass ~* +@all")
            .await
            .unwrap();
        recovered(&ward.running, "the first").await;
        ward
    }

    pub(crate) fn redis(&self) -> &Redis {
        self.running.redis()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Says a command, its words parted by single blanks.
    pub(crate) async fn say(&self, line: &str) -> RedisResult<Value> {
        self.command(&line.split(' ').collect::<Vec<_>>()).await
    }

    /// Says a command of these words.
    pub(crate) async fn command(&self, words: &[&str]) -> RedisResult<Value> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.bedside.clone()).await
    }

    /// Everybody gets the policy, the errors are counted, and the breaker opens because of them.
    pub(crate) async fn suffers(&self, what: &str, cause: &str, class: &str) {
        let running = &self.running;
        let (opened, counted) = (openings(running).await, errors(running, class).await);
        let logged = log(self.dir()).len();
        let mut asked = 0;
        eventually(&format!("the breaker opens for {what}"), async || {
            asked += 1;
            let seen = Seen::of(running.get(PATH, &format!("{what} {asked}"))).await;
            assert!(seen.status == 503 && !seen.has_limits(), "{what}: {seen:?}");
            openings(running).await > opened
        })
        .await;
        assert!(errors(running, class).await > counted, "{what}: {class}");
        let log = log(self.dir());
        let opening = log[logged..]
            .lines()
            .find(|line| line.contains("closed -> open"));
        let opening = opening.unwrap_or_default();
        assert!(
            opening.contains(&format!("(last: {cause})")),
            "{what}: {opening}"
        );
        assert_eq!(running.upstream().hits_of(PATH, &format!("{what} 1")), 0);
    }

    /// The breaker closes by itself, and limits hold.
    pub(crate) async fn recovers(&self, what: &str) {
        recovered(&self.running, &format!("{what}: the first after it")).await;
        self.counts(&format!("{what}: the second after it")).await;
    }

    /// This client has all of its limit and no more.
    pub(crate) async fn counts(&self, key: &str) {
        assert_limit_holds(&self.running, key).await;
    }

    /// This client meets errors of this class and gets this status; they are counted, and nothing
    /// changes for anybody else.
    pub(crate) async fn shrugs_off(&self, key: &str, class: &str, status: u16) {
        let running = &self.running;
        let (opened, counted) = (openings(running).await, errors(running, class).await);
        if status == 200 {
            self.counts(key).await;
        } else {
            for _ in 0..PATIENCE {
                assert_eq!(
                    Seen::of(running.get(PATH, key)).await.status,
                    status,
                    "{class}"
                );
            }
        }
        self.counts(&format!("not {key}")).await;
        assert!(errors(running, class).await > counted, "{class}");
        assert_eq!(openings(running).await, opened, "{class}");
    }
}
