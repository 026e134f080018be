//! A Redis Cluster behind `envoy/cluster.yaml`.

use serde_json::json;
use tempfile::TempDir;
use velocitygate_chaos::stack::{RedisCluster, RedisSpec, Spec, Store};

use crate::bed::{client_of, example, start};
use crate::common::Running;

/// A cluster, and Envoys that are told of its masters.
pub(crate) struct Sharded {
    pub(crate) running: Running,
    pub(crate) cluster: RedisCluster,
    _dir: TempDir,
}

impl Sharded {
    pub(crate) async fn start(masters: usize, change: impl FnOnce(&mut Spec)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = RedisCluster::start(&RedisSpec::default(), masters, dir.path())
            .await
            .unwrap();
        let addresses = cluster.addresses();
        let running = start(|spec| {
            example(spec, "cluster.yaml");
            spec.store = Store::Cluster(addresses);
            // More calls than one shard's failures can outweigh.
            spec.plugin["breaker"]["window"] = json!(20);
            spec.plugin["breaker"]["minimum_calls"] = json!(10);
            change(spec);
        })
        .await;
        Self {
            running,
            cluster,
            _dir: dir,
        }
    }

    /// A client whose counter is with this master; each `name` gives another.
    pub(crate) async fn client_of(&self, master: usize, name: &str) -> String {
        client_of(&self.cluster, master, name).await.0
    }
}
