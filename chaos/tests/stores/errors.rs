//! Errors that concern the whole store, each made for real: its class in the metric, the breaker
//! that learns of it, the policy for those who ask meanwhile, and that nothing is left of it.

use redis::{RedisResult, Value, from_redis_value};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use velocitygate::resp::ErrorClass;
use velocitygate_chaos::stack::{EnvoyVersion, Redis, RedisProgram, RedisSpec};

use crate::common::eventually;
use crate::versions::on_both_envoys;
use crate::ward::Ward;

/// A way for Redis to be unwell.
struct Illness {
    name: &'static str,
    /// Commands that bring it about.
    make: &'static [&'static str],
    /// What the breaker logs as its cause.
    cause: &'static str,
    /// The label of the metric.
    class: &'static str,
    /// Commands that end it.
    cure: &'static [&'static str],
}

/// Those that commands make and end at once. Envoy is the user `default`, the one who says this
/// is another, on a connection that all of them leave alone.
const ILLNESSES: &[Illness] = &[
    Illness {
        name: "OOM",
        make: &[
            "CONFIG SET maxmemory-policy noeviction",
            "CONFIG SET maxmemory 1",
        ],
        cause: "oom",
        class: "oom",
        cure: &["CONFIG SET maxmemory 0"],
    },
    Illness {
        name: "READONLY",
        make: &["REPLICAOF 127.0.0.1 1"],
        cause: "readonly",
        class: "readonly",
        cure: &["REPLICAOF NO ONE"],
    },
    Illness {
        name: "MASTERDOWN",
        make: &[
            "CONFIG SET replica-serve-stale-data no",
            "REPLICAOF 127.0.0.1 1",
        ],
        cause: "misconf",
        class: "other",
        cure: &[
            "REPLICAOF NO ONE",
            "CONFIG SET replica-serve-stale-data yes",
        ],
    },
    Illness {
        name: "NOREPLICAS",
        make: &["CONFIG SET min-replicas-to-write 1"],
        cause: "misconf",
        class: "other",
        cure: &["CONFIG SET min-replicas-to-write 0"],
    },
    Illness {
        name: "NOAUTH",
        make: &["ACL SETUSER default off", "CLIENT KILL TYPE normal"],
        cause: "auth",
        class: "auth",
        cure: &["ACL SETUSER default on", "CLIENT KILL TYPE normal"],
    },
    Illness {
        name: "NOPERM for scripts",
        make: &["ACL SETUSER default -evalsha"],
        cause: "auth",
        class: "auth",
        cure: &["ACL SETUSER default +evalsha"],
    },
    Illness {
        name: "NOPERM for the keys",
        make: &["ACL SETUSER default resetkeys ~other:*"],
        cause: "auth",
        class: "auth",
        cure: &["ACL SETUSER default resetkeys ~*"],
    },
    Illness {
        name: "no right to a command of the script",
        make: &["ACL SETUSER default -set"],
        cause: "auth",
        class: "auth",
        cure: &["ACL SETUSER default +set"],
    },
    Illness {
        name: "max number of clients",
        make: &["CONFIG SET maxclients 1", "CLIENT KILL TYPE normal"],
        cause: "other",
        class: "other",
        cure: &["CONFIG SET maxclients 1000"],
    },
];

async fn every_error_of_the_whole_store(version: EnvoyVersion, program: RedisProgram) {
    let ward = Ward::open(version, program).await;
    for illness in ILLNESSES {
        for line in illness.make {
            ward.say(line).await.unwrap();
        }
        ward.suffers(illness.name, illness.cause, illness.class)
            .await;
        for line in illness.cure {
            ward.say(line).await.unwrap();
        }
        ward.recovers(illness.name).await;
    }
    busy(&ward).await;
    misconf(&ward).await;
    loading(&ward, program).await;
}

/// A script that does not end.
async fn busy(ward: &Ward) {
    ward.say("CONFIG SET lua-time-limit 1").await.unwrap();
    let mut hung = ward.redis().connect().await.unwrap();
    let script = tokio::spawn(async move {
        let mut endless = redis::cmd("EVAL");
        endless.arg("while true do end").arg(0);
        let _: RedisResult<Value> = endless.query_async(&mut hung).await;
    });
    eventually("Redis is busy", async || {
        let pong = ward.say("PING").await;
        pong.is_err_and(|error| error.to_string().contains("BUSY") || error.code() == Some("BUSY"))
    })
    .await;
    ward.suffers("BUSY", "busy", "busy").await;
    ward.say("SCRIPT KILL").await.unwrap();
    script.await.unwrap();
    ward.recovers("BUSY").await;
}

/// A snapshot that cannot be written, because a folder is where its file belongs.
async fn misconf(ward: &Ward) {
    let in_the_way = ward.dir().join("dump.rdb");
    std::fs::create_dir(&in_the_way).unwrap();
    ward.command(&["CONFIG", "SET", "save", "3600 1"])
        .await
        .unwrap();
    ward.say("BGSAVE").await.unwrap();
    eventually("the snapshot fails", async || {
        let info = ward.redis().info().await.unwrap();
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
    ward.suffers("MISCONF", "misconf", "other").await;
    std::fs::remove_dir(&in_the_way).unwrap();
    ward.command(&["CONFIG", "SET", "save", ""]).await.unwrap();
    ward.recovers("MISCONF").await;
}

/// A data set that takes long to read: that of a master, read slowly.
async fn loading(ward: &Ward, program: RedisProgram) {
    let dir = tempfile::tempdir().unwrap();
    let spec = RedisSpec {
        program,
        ..RedisSpec::default()
    };
    let master = Redis::start(&spec, dir.path()).await.unwrap();
    // While it loads, Redis looks at its clients after every 2 MB.
    let fill = "for i = 1, 100 do redis.call('SET', ARGV[1] .. i, string.rep('x', 100000)) end";
    for words in [
        ["EVAL", fill, "0", "a"],
        ["EVAL", fill, "0", "b"],
        ["EVAL", fill, "0", "c"],
        ["EVAL", fill, "0", "d"],
        ["CONFIG", "SET", "rdbcompression", "no"],
        ["CONFIG", "SET", "repl-diskless-sync-delay", "0"],
    ] {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        master.ask::<()>(command).await.unwrap();
    }
    // 8 s in all: far longer than it takes the breaker to open.
    ward.say("CONFIG SET key-load-delay 20000").await.unwrap();
    let address = master.address();
    let follow = format!("REPLICAOF {} {}", address.ip(), address.port());
    ward.say(&follow).await.unwrap();
    let is_loading = async |ward: &Ward| {
        let info: String = from_redis_value(ward.say("INFO persistence").await.unwrap()).unwrap();
        info.contains("\nloading:1\r")
    };
    eventually("Redis loads", async || is_loading(ward).await).await;
    ward.suffers("LOADING", "loading", "loading").await;
    assert!(is_loading(ward).await);
    eventually("Redis has loaded", async || !is_loading(ward).await).await;
    ward.say("CONFIG SET key-load-delay 0").await.unwrap();
    ward.say("REPLICAOF NO ONE").await.unwrap();
    ward.recovers("LOADING").await;
}

async fn every_error_of_the_whole_store_feeds_the_breaker(version: EnvoyVersion) {
    every_error_of_the_whole_store(version, RedisProgram::Installed).await;
}

#[tokio::test]
async fn every_error_of_the_oldest_redis_feeds_the_breaker() {
    every_error_of_the_whole_store(EnvoyVersion::Newest, RedisProgram::Oldest).await;
}

#[tokio::test]
async fn every_error_of_valkey_feeds_the_breaker() {
    every_error_of_the_whole_store(EnvoyVersion::Newest, RedisProgram::Valkey).await;
}

/// Errors that say nothing about the store: the breaker stays closed, and all others are counted.
async fn i5_an_error_of_one_key_or_of_the_script_never_opens_the_breaker(version: EnvoyVersion) {
    for program in [
        RedisProgram::Installed,
        RedisProgram::Oldest,
        RedisProgram::Valkey,
    ] {
        let ward = Ward::open(version.clone(), program).await;
        // Somebody else's value: those who meet it get the policy.
        ward.say("LPUSH vg:{deny:mallory}:tb x").await.unwrap();
        ward.shrugs_off("mallory", "wrongtype", 503).await;
        // A value that no script wrote counts as none.
        ward.say("SET vg:{deny:trudy}:tb garbage").await.unwrap();
        ward.counts("trudy").await;
        how_a_script_says_that_it_failed(&ward).await;
        // A script that Redis forgot is sent again.
        ward.say("SCRIPT FLUSH").await.unwrap();
        ward.shrugs_off("walter", "noscript", 200).await;
    }
}

/// No value makes the script itself fail; if one ever does, it is told from an error of the store,
/// as each product words it.
async fn how_a_script_says_that_it_failed(ward: &Ward) {
    let stream = TcpStream::connect(ward.redis().address()).await.unwrap();
    let mut redis = BufReader::new(stream);
    for (script, expected) in [
        ("return redis.call('GET', KEYS[1])", ErrorClass::Wrongtype),
        ("local it = nil; return it.field", ErrorClass::Script),
        ("error('unheard of')", ErrorClass::Script),
        ("redis.call('NONSUCH')", ErrorClass::Other),
    ] {
        let command = format!("EVAL \"{script}\" 1 vg:{{deny:mallory}}:tb\r\n");
        redis.write_all(command.as_bytes()).await.unwrap();
        let mut reply = String::new();
        redis.read_line(&mut reply).await.unwrap();
        let error = reply.strip_prefix('-').unwrap_or_else(|| panic!("{reply}"));
        assert_eq!(ErrorClass::of(error.as_bytes()), expected, "{reply}");
    }
}

on_both_envoys![
    every_error_of_the_whole_store_feeds_the_breaker,
    i5_an_error_of_one_key_or_of_the_script_never_opens_the_breaker
];
