//! A Redis Cluster of some masters, and moving a slot from one to another.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use redis::Cmd;
use tokio::time::{Instant, sleep};

use super::redis::Redis;
use super::redis_spec::RedisSpec;

/// The fewest masters of a cluster that can tell which of them is lost.
pub const MASTERS: usize = 3;

const SLOTS: usize = 16_384;

/// How long the masters may take to agree on a cluster.
const AGREE: Duration = Duration::from_secs(60);

/// How long after they were introduced it is done again: nodes forget a handshake that lasts longer
/// than the node timeout.
const INTRODUCE: Duration = Duration::from_secs(5);

/// Pause between two looks at whether they do.
const POLL: Duration = Duration::from_millis(20);

/// Milliseconds without a word after which a master counts as lost while they join: the shorter,
/// the more often they talk.
const NODE_TIMEOUT: &str = "1000";

/// The same from then on: a machine that stops them all for a while loses none of them.
const PATIENT_NODE_TIMEOUT: &str = "60000";

/// Keys that one command moves.
const KEYS_AT_ONCE: usize = 100;

/// A cluster whose masters have as many slots each. When one of them is lost the others
/// go on with theirs (`cluster-require-full-coverage no`).
#[derive(Debug)]
pub struct RedisCluster {
    spec: RedisSpec,
    masters: Vec<Redis>,
    ids: Vec<String>,
}

impl RedisCluster {
    /// Starts so many masters, each with a folder of its own in `dir`, and joins them.
    ///
    /// # Errors
    /// When one of them does not start, or they do not agree in time.
    pub async fn start(spec: &RedisSpec, number: usize, dir: &Path) -> Result<Self> {
        let mut spec = spec.clone();
        spec.options.extend(
            [
                "--cluster-enabled",
                "yes",
                "--cluster-require-full-coverage",
                "no",
            ]
            .into_iter()
            .chain(["--cluster-node-timeout", NODE_TIMEOUT])
            .map(str::to_owned),
        );
        let (mut masters, mut ids) = (Vec::new(), Vec::new());
        for master in 0..number {
            let master = Redis::start(&spec, &dir.join(format!("master-{master}"))).await?;
            ids.push(master.ask(cluster(&["MYID"])).await?);
            masters.push(master);
        }
        let cluster = Self { spec, masters, ids };
        cluster.join().await?;
        cluster.count_lost_after(PATIENT_NODE_TIMEOUT).await?;
        Ok(cluster)
    }

    /// The masters, in the order of the slots that they began with.
    pub fn masters(&self) -> &[Redis] {
        &self.masters
    }

    /// Where the masters are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.masters.iter().map(Redis::address).collect()
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// When the first master does not answer within 10 s.
    pub async fn slot_of(&self, key: &str) -> Result<usize> {
        self.masters[0].ask(cluster(&["KEYSLOT", key])).await
    }

    /// The master that a slot was given to at the start.
    #[must_use]
    pub fn first_owner(&self, slot: usize) -> usize {
        slot * self.masters.len() / SLOTS
    }

    /// Begins to move a slot: from now on `from` sends those who ask for a key that it has not
    /// (any more) to `to`.
    ///
    /// # Errors
    /// When a master refuses, or does not answer within 10 s; so for all that follows.
    pub async fn begin_move(&self, slot: usize, from: usize, to: usize) -> Result<()> {
        let slot = slot.to_string();
        for (at, what, peer) in [(to, "IMPORTING", from), (from, "MIGRATING", to)] {
            let command = cluster(&["SETSLOT", &slot, what, &self.ids[peer]]);
            self.masters[at].ask::<()>(command).await?;
        }
        Ok(())
    }

    /// Moves the keys of a slot whose move has begun.
    ///
    /// # Errors
    /// When a master refuses.
    pub async fn move_keys(&self, slot: usize, from: usize, to: usize) -> Result<()> {
        let (slot, target) = (slot.to_string(), self.masters[to].address());
        loop {
            let some = cluster(&["GETKEYSINSLOT", &slot, &KEYS_AT_ONCE.to_string()]);
            let keys: Vec<Vec<u8>> = self.masters[from].ask(some).await?;
            if keys.is_empty() {
                return Ok(());
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg(target.ip().to_string()).arg(target.port());
            migrate.arg("").arg(0).arg(2000).arg("KEYS").arg(keys);
            self.masters[from].ask::<()>(migrate).await?;
        }
    }

    /// Ends the move of a slot: every master knows the new owner.
    ///
    /// # Errors
    /// When a master refuses.
    pub async fn end_move(&self, slot: usize, to: usize) -> Result<()> {
        // The new owner first: nobody may be sent to one that does not know it yet.
        let others = (0..self.masters.len()).filter(|number| *number != to);
        for at in [to].into_iter().chain(others) {
            let command = cluster(&["SETSLOT", &slot.to_string(), "NODE", &self.ids[to]]);
            self.masters[at].ask::<()>(command).await?;
        }
        Ok(())
    }

    /// From now on whoever is lost is missed: a replica takes the place of its master within
    /// seconds. So it may, of one that the machine has merely stopped for 1 s.
    ///
    /// # Errors
    /// When a master refuses.
    pub async fn miss_the_lost(&self) -> Result<()> {
        self.count_lost_after(NODE_TIMEOUT).await
    }

    async fn count_lost_after(&self, millis: &str) -> Result<()> {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("cluster-node-timeout").arg(millis);
        for master in &self.masters {
            master.ask::<()>(set.clone()).await?;
        }
        Ok(())
    }

    /// Starts a replica of a master in a folder of its own. It takes the place of its master when
    /// that is lost, see [`RedisCluster::miss_the_lost`].
    ///
    /// # Errors
    /// When it does not start, or is not in step with its master within 60 s.
    pub async fn add_replica(&self, dir: &Path, of: usize) -> Result<Redis> {
        let replica = Redis::start(&self.spec, dir).await?;
        let end = Instant::now() + AGREE;
        self.introduce(&replica).await?;
        let follow = || cluster(&["REPLICATE", &self.ids[of]]);
        // It refuses until it has heard of that master, and of the slots that the master has.
        while let Err(error) = replica.ask::<()>(follow()).await {
            ensure!(
                Instant::now() < end,
                "no replica within {AGREE:?}: {error:#}"
            );
            sleep(POLL).await;
            self.introduce(&replica).await?;
        }
        while !replica.info().await?.contains("master_link_status:up") {
            ensure!(
                Instant::now() < end,
                "no link to the master within {AGREE:?}"
            );
            sleep(POLL).await;
        }
        Ok(replica)
    }

    /// Makes a node known to the first master, and so to all.
    async fn introduce(&self, node: &Redis) -> Result<()> {
        let first = self.masters[0].address();
        let (ip, port) = (first.ip().to_string(), first.port().to_string());
        node.ask(cluster(&["MEET", &ip, &port])).await
    }

    async fn join(&self) -> Result<()> {
        for (number, master) in self.masters.iter().enumerate() {
            let mut slots = cluster(&["ADDSLOTS"]);
            slots.arg(
                (0..SLOTS)
                    .filter(|slot| self.first_owner(*slot) == number)
                    .collect::<Vec<_>>(),
            );
            master.ask::<()>(slots).await?;
            // Different epochs from the start: nothing to settle between masters later.
            let epoch = cluster(&["SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            master.ask::<()>(epoch).await?;
        }
        let end = Instant::now() + AGREE;
        loop {
            for master in &self.masters[1..] {
                self.introduce(master).await?;
            }
            let soon = end.min(Instant::now() + INTRODUCE);
            let agreed = self.agreed_until(soon).await;
            if agreed.is_ok() || soon == end {
                return agreed;
            }
        }
    }

    /// Waits until every master sees all slots served.
    ///
    /// # Errors
    /// When they do not within 60 s.
    pub async fn agreed(&self) -> Result<()> {
        self.agreed_until(Instant::now() + AGREE).await
    }

    async fn agreed_until(&self, end: Instant) -> Result<()> {
        for master in &self.masters {
            loop {
                let info: String = master.ask(cluster(&["INFO"])).await?;
                let all = format!("cluster_slots_ok:{SLOTS}\r\n");
                if info.contains("cluster_state:ok") && info.contains(&all) {
                    break;
                }
                ensure!(Instant::now() < end, "no cluster in time: {info}");
                sleep(POLL).await;
            }
        }
        Ok(())
    }
}

fn cluster(arguments: &[&str]) -> Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg(arguments);
    command
}
