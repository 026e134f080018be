//! The generator keeps its plan whatever the system does, and latency counts from the plan.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use velocitygate_chaos::load::{Client, IN_FLIGHT_MAX, Pacer};
use velocitygate_chaos::record::{Event, Outcome, Request};
use velocitygate_chaos::scenario::{Keys, Load};

/// Counts what arrives, and answers nothing until it is released.
#[derive(Debug, Default)]
struct Stalled {
    arrived: AtomicU64,
    all_there: Notify,
    release: Notify,
}

const PLANNED: u64 = 50;

/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

async fn stall(State(server): State<Arc<Stalled>>) -> &'static str {
    let released = server.release.notified();
    if server.arrived.fetch_add(1, Ordering::SeqCst) + 1 == PLANNED {
        server.all_there.notify_one();
    }
    released.await;
    "done"
}

async fn serve(server: Arc<Stalled>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(stall).with_state(server);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn load(rps: f64) -> Load {
    Load {
        rps,
        keys: Keys::Distinct,
        hot: None,
        seed: 0,
        steps: Vec::new(),
    }
}

fn requests(mut received: mpsc::UnboundedReceiver<Event>) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Ok(event) = received.try_recv() {
        if let Event::Request(request) = event {
            requests.push(request);
        }
    }
    requests.sort_by(|a, b| a.due_s.total_cmp(&b.due_s));
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_server_does_not_slow_arrivals_and_latency_counts_from_the_plan() {
    let server = Arc::new(Stalled::default());
    let client = Client::new(serve(Arc::clone(&server)).await).unwrap();
    let (sink, received) = mpsc::unbounded_channel();
    let start = Instant::now();
    let pacer = Pacer::start(load(100.0), 0.5, start, sink, move |key| {
        let client = client.clone();
        async move { client.send(key).await }
    });
    // Not one answer was given, and yet all of the plan arrives: the load is open.
    let all = server.all_there.notified();
    tokio::time::timeout(DEADLINE, all)
        .await
        .expect("all planned requests arrive");
    let released_s = start.elapsed().as_secs_f64();
    server.release.notify_waiters();
    pacer.finish().await;
    let requests = requests(received);
    assert_eq!(requests.len() as u64, PLANNED);
    assert!(
        requests.iter().all(|it| it.outcome == Outcome::Uncounted),
        "{requests:?}"
    );
    // None was answered before that moment, so who was due first waited longest.
    for request in &requests {
        let waited_us = ((released_s - request.due_s) * 1e6) as u64;
        assert!(request.took_us >= waited_us, "{waited_us}: {request:?}");
        assert!(request.took_us >= request.late_us, "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_safety_bound_requests_are_recorded_as_not_sent() {
    let (sink, received) = mpsc::unbounded_channel();
    // Everything is overdue at once: the bound is met whatever the machine's speed.
    let start = Instant::now() - Duration::from_secs(1);
    let rps = f64::from(IN_FLIGHT_MAX + 10);
    let pacer = Pacer::start(load(rps), 1.0, start, sink, |_| std::future::pending());
    let deadline = Instant::now() + DEADLINE;
    while !pacer.is_finished() {
        assert!(Instant::now() < deadline, "the pacer waits for answers");
        tokio::task::yield_now().await;
    }
    let unsent = requests(received);
    assert_eq!(unsent.len(), 10);
    assert!(unsent.iter().all(|it| it.outcome == Outcome::NotSent));
}
