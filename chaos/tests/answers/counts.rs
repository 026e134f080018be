//! I10: whatever protocol a client speaks, all count it alike.

use serde_json::json;
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{Running, Seen, eventually, rule, with};
use crate::http2::Http2;
use crate::origin::Origin;
use crate::start;
use crate::upgrades::UPGRADE;
use crate::versions::on_both_envoys;
use crate::wire::{Wire, request};

/// Admitted, refused, unavailable.
type Counts = [u64; 3];

/// What became of one request by this protocol, whose rule has its name.
async fn ask(running: &Running, protocol: &str) -> usize {
    let path = format!("/{protocol}/");
    let seen = match protocol {
        "grpc" => {
            let seen = Http2::to(running)
                .await
                .ask(&path, "application/grpc")
                .await
                .seen;
            return match seen.header("grpc-status") {
                "8" => 1,
                "14" => 2,
                _ => 0,
            };
        }
        "http2" => Http2::to(running).await.ask(&path, "text/plain").await.seen,
        "head" => {
            let url = running.envoys()[0].front_url() + &path;
            Seen::of(running.http.head(url)).await
        }
        "post" => {
            Seen::of(
                running
                    .http
                    .post(running.envoys()[0].front_url() + &path)
                    .body("abc"),
            )
            .await
        }
        "ws" => {
            let mut wire = Wire::to(running).await;
            wire.send(request("GET /ws/ HTTP/1.1", "a", UPGRADE)).await;
            wire.head().await
        }
        _ => Seen::of(running.get(&path, "a")).await,
    };
    let kinds: [&[u16]; 3] = [&[101, 200], &[429], &[503]];
    kinds
        .iter()
        .position(|kind| kind.contains(&seen.status))
        .unwrap()
}

async fn i10_clients_of_every_protocol_are_counted_alike_by_all(version: EnvoyVersion) {
    const PROTOCOLS: [&str; 6] = ["http1", "post", "head", "http2", "grpc", "ws"];
    let closed = json!({ "on_failure": "deny" });
    let rules = PROTOCOLS.map(|name| with(rule(name, 2), closed.clone()));
    let origin = Origin::start().await;
    let running = start(&origin, json!(rules), |spec| spec.envoy = version).await;
    let mut clients = [[0; 3]; PROTOCOLS.len()];
    // The last one is refused from what its worker knows, without asking anybody.
    for round in 0..5 {
        if round == 0 {
            running.redis().kill().await.unwrap();
        } else if round == 1 {
            running.redis().restart().await.unwrap();
        }
        for (protocol, counts) in PROTOCOLS.iter().zip(&mut clients) {
            counts[ask(&running, protocol).await] += 1;
        }
    }
    assert_eq!(clients, [[2, 2, 1]; PROTOCOLS.len()]);
    let admitted: u64 = clients.iter().map(|counts: &Counts| counts[0]).sum();
    assert_eq!(origin.hits(), admitted);
    eventually("the filter and Envoy count so, too", async || {
        let sample = running.sample().await;
        let filter = PROTOCOLS.map(|protocol| {
            let rule = &sample.requests[protocol];
            ["allowed", "denied", "degraded_deny"].map(|decision| rule[decision])
        });
        let envoy: u64 = sample.answers.values().sum();
        filter == clients
            && envoy == 5 * PROTOCOLS.len() as u64
            && sample.upstream_requests == admitted
    })
    .await;
}

on_both_envoys![i10_clients_of_every_protocol_are_counted_alike_by_all];
