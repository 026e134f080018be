//! What Envoy notes of each request.

use std::path::Path;

use serde_json::Value;

use crate::common::Running;

/// Stops a stack in `dir`, and gives the lines of its first Envoy's access log: Envoy writes what it
/// still holds of them when it ends.
pub(crate) async fn stop_and_read(running: Running, dir: &Path) -> Vec<Value> {
    running.stack.stop().await.unwrap();
    let log = std::fs::read_to_string(dir.join("envoy-0.access.log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}
