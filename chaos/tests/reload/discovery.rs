//! A stack whose filter is discovered from a file, and what Envoy counts of its updates.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use velocitygate_chaos::stack::envoy_config::discovery::{FILE, update};
use velocitygate_chaos::stack::{Spec, Wiring};
use velocitygate_chaos::tools::repository;

use crate::common::{Running, Seen, eventually};

/// A stack of `reload.yaml` with two workers.
pub(crate) struct Reloading {
    pub(crate) running: Running,
    /// Outlives the stack.
    folder: TempDir,
}

impl Reloading {
    /// Starts one whose filter has these rules.
    pub(crate) async fn start(timeout: u64, rules: Value, change: impl FnOnce(&mut Spec)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        let running = Running::start(timeout, rules, |spec| {
            spec.config = repository().join("envoy/reload.yaml");
            spec.dir.clone_from(&dir);
            (spec.workers, spec.wiring) = (2, Wiring::RedisProxy);
            change(spec);
        })
        .await;
        Self { running, folder }
    }

    /// Changes the filter's JSON by a merge patch; Envoy takes it up some time later.
    pub(crate) fn publish(&self, patch: &Value) {
        update(self.dir(), patch).unwrap();
    }

    /// Moves a file of this text to where the filter's is.
    pub(crate) fn publish_text(&self, text: &str) {
        let next = self.dir().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, self.dir().join(FILE)).unwrap();
    }

    /// The folder that Envoy watches, with the filter's file and Envoy's log.
    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Changes it, and waits until Envoy says that it is in force.
    pub(crate) async fn reload(&self, patch: &Value) {
        let before = self.updates("config_reload").await;
        self.publish(patch);
        eventually("the update is in force", async || {
            self.updates("config_reload").await > before
        })
        .await;
    }

    /// Moves the filter to a VM of its own, and waits until that is in force: the old VM goes.
    pub(crate) async fn change_vm(&self) {
        let before = self.updates("config_reload").await;
        let file = self.dir().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        let other = text.replace(r#""vm_id":""#, r#""vm_id":"another_"#);
        assert_ne!(other, text);
        self.publish_text(&other);
        eventually("the update is in force", async || {
            self.updates("config_reload").await > before
        })
        .await;
    }

    /// What Envoy counts of the filter's updates under this name.
    pub(crate) async fn updates(&self, name: &str) -> u64 {
        let filter = format!("^extension_config_discovery\\..*\\.{name}$");
        self.stats(&filter).await
    }

    /// The sum of Envoy's statistics whose names match; some do.
    pub(crate) async fn stats(&self, filter: &str) -> u64 {
        let admin = self.running.envoys()[0].admin_url();
        let url = format!("{admin}/stats?filter={filter}");
        let text = Seen::of(self.running.http.get(url)).await.body;
        let mut values = text
            .lines()
            .filter_map(|line| line.rsplit_once(": "))
            .peekable();
        assert!(values.peek().is_some(), "none matches {filter}");
        values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    /// Envoy's log so far.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(self.dir().join("envoy-0.log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Stops the stack as an operator would; where its logs are.
    pub(crate) async fn stop(self) -> TempDir {
        self.running.stack.stop().await.unwrap();
        self.folder
    }

    pub(crate) fn assert_no_trap(&self) {
        let log = self.log();
        assert_eq!(log.lines().find(|line| line.contains("RuntimeError")), None);
    }
}
