//! Closed-loop load: so many connections, each with one request at a time, for throughput.
//!
//! It runs on a thread of its own and does little for a request, so that Envoy's worker and not the
//! generator is what is full. Every answer is looked at.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, timeout};

use super::peer::{Answer, Answers};
use crate::load::key_text;
use crate::stack::KEY_HEADER;

/// How long past its end a load may wait for answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to send.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    /// Envoy's listener.
    pub(super) front: SocketAddr,
    /// Connections.
    pub(super) connections: usize,
    /// The first key; the following ones are used in turn.
    pub(super) first_key: u64,
    /// How many keys there are.
    pub(super) keys: u64,
    /// When the last request is sent at the latest, from the start.
    pub(super) length: Duration,
    /// Most requests.
    pub(super) most: u64,
    /// What is right.
    pub(super) answers: Answers,
}

/// What came back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// Answers of the upstream.
    pub(super) admitted: u64,
    /// Refusals.
    pub(super) refused: u64,
    /// Answers that the peer must not give.
    pub(super) wrong: u64,
    /// One of these.
    pub(super) example: Option<String>,
    /// From the start to the last answer.
    pub(super) took: Duration,
}

impl Tally {
    /// Right answers.
    pub(super) fn right(&self) -> u64 {
        self.admitted + self.refused
    }

    fn count(&mut self, judged: Result<Answer, String>) {
        match judged {
            Ok(Answer::Admitted) => self.admitted += 1,
            Ok(Answer::Refused) => self.refused += 1,
            Err(what) => {
                self.wrong += 1;
                self.example.get_or_insert(what);
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.wrong += other.wrong;
        self.example = self.example.take().or(other.example);
    }
}

impl Closed {
    /// Sends it all. Dropping the future ends the load.
    ///
    /// # Errors
    /// When a connection fails, or an answer is missing 5 s after the end.
    pub(super) async fn run(self) -> Result<Tally> {
        let (mut asked, tally) = oneshot::channel();
        std::thread::spawn(move || {
            let load = async {
                tokio::select! {
                    tally = self.all_connections() => tally,
                    () = asked.closed() => bail!("nobody wants to know"),
                }
            };
            let runtime = Builder::new_current_thread().enable_all().build();
            let done = runtime
                .context("cannot start a thread's runtime")
                .and_then(|it| it.block_on(LocalSet::new().run_until(load)));
            let _ = asked.send(done);
        });
        tally.await.context("the load's thread ended")?
    }

    async fn all_connections(self) -> Result<Tally> {
        let start = Instant::now();
        let (end, sent) = (start + self.length, Rc::new(Cell::new(0)));
        let patience = self.length + PATIENCE;
        let mut open = JoinSet::new();
        for _ in 0..self.connections {
            open.spawn_local(self.clone().one_connection(end, Rc::clone(&sent)));
        }
        let mut all = Tally::default();
        let answered = async {
            while let Some(ended) = open.join_next().await {
                all.add(ended??);
            }
            anyhow::Ok(())
        };
        timeout(patience, answered)
            .await
            .context("an answer is missing")??;
        all.took = start.elapsed();
        Ok(all)
    }

    async fn one_connection(self, end: Instant, sent: Rc<Cell<u64>>) -> Result<Tally> {
        let stream = TcpStream::connect(self.front).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        spawn_local(connection);
        let mut tally = Tally::default();
        while Instant::now() < end && sent.get() < self.most {
            let key = self.first_key + sent.replace(sent.get() + 1) % self.keys;
            let answer = self.ask(&mut sender, key).await?;
            tally.count(answer);
        }
        Ok(tally)
    }

    async fn ask(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        key: u64,
    ) -> Result<Result<Answer, String>> {
        let request = Request::get("/")
            .header(HOST, "bench.example.com")
            .header(KEY_HEADER, key_text(key))
            .body(Empty::new())?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let judged = self.judge(&response);
        response.into_body().collect().await?;
        Ok(judged)
    }

    fn judge<B>(&self, response: &Response<B>) -> Result<Answer, String> {
        let has = |field: &str| response.headers().contains_key(field);
        self.answers.judge(response.status().as_u16(), has)
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::Peer;
    use super::*;
    use crate::stack::Upstream;

    fn load(front: SocketAddr, peer: Peer) -> Closed {
        Closed {
            front,
            connections: 3,
            first_key: 7,
            keys: 2,
            length: Duration::from_secs(60),
            most: 10,
            answers: peer.answers(),
        }
    }

    #[tokio::test]
    async fn it_ends_after_the_most_requests_and_takes_the_keys_in_turn() {
        let upstream = Upstream::start().await.unwrap();
        let tally = load(upstream.address(), Peer::None).run().await.unwrap();
        assert_eq!((tally.admitted, tally.wrong), (10, 0));
        let hits = [6, 7, 8, 9].map(|key| upstream.hits_of("/", &key_text(key)));
        assert_eq!(hits, [0, 5, 5, 0]);
    }

    #[tokio::test]
    async fn an_answer_that_the_peer_must_not_give_is_counted_and_told() {
        let upstream = Upstream::start().await.unwrap();
        let tally = load(upstream.address(), Peer::Strict).run().await.unwrap();
        assert_eq!((tally.right(), tally.wrong), (0, 10));
        assert_eq!(tally.example.unwrap(), "status 200 without ratelimit");
    }

    #[tokio::test]
    async fn without_a_server_it_fails() {
        let nobody = crate::stack::ports::free().unwrap();
        assert!(load(nobody, Peer::None).run().await.is_err());
    }
}
