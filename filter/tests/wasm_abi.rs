//! The built module in a small host of our own: what it answers, and that no input makes it trap.

mod pieces;
mod wasm_host;

#[path = "wasm_abi/breaker.rs"]
mod breaker;
#[path = "wasm_abi/bridge.rs"]
mod bridge;
#[path = "wasm_abi/faults.rs"]
mod faults;
#[path = "wasm_abi/inputs.rs"]
mod inputs;
#[path = "wasm_abi/requests.rs"]
mod requests;
#[path = "wasm_abi/start.rs"]
mod start;

use std::cell::RefCell;
use std::rc::Rc;

use velocitygate::resp::{self, Reply as Resp};
use wasm_host::{Action, HttpCall, Pairs, Process, Reply, Worker};

/// A rule that fails open.
const OPEN: &str = r#"{ "rules": [ { "name": "per-key", "key": [ { "header": "x-api-key" } ],
    "limit": { "requests": 10, "per": "1m" } } ] }"#;

/// The same rule, failing closed: what degrades can be told from what passes.
const CLOSED: &str = r#"{ "rules": [ { "name": "per-key", "key": [ { "header": "x-api-key" } ],
    "limit": { "requests": 10, "per": "1m" }, "on_failure": "deny" } ] }"#;

/// One request charged, 9 tokens left, full in 6 seconds.
const CHARGED: &str = "*5\r\n:1\r\n:7\r\n:9\r\n:0\r\n:6000000\r\n";

/// None charged, room for one more in 6 seconds.
const REFUSED: &str = "*5\r\n:0\r\n:7\r\n:0\r\n:6000000\r\n:60000000\r\n";

/// One worker and its configured root.
struct Fixture {
    process: Rc<RefCell<Process>>,
    worker: Worker,
    root: u32,
}

impl Fixture {
    fn new(document: &str) -> Self {
        let process = Process::start();
        let mut worker = Worker::start(&process);
        let root = worker.root("velocitygate", document).unwrap();
        Self {
            process,
            worker,
            root,
        }
    }

    /// A request of this key that waits.
    fn wait(&mut self, key: &str) -> u32 {
        let (stream, action) = self.worker.request(self.root, headers(key));
        assert_eq!(action, Action::Pause);
        assert_eq!(self.worker.local_response(stream), None);
        stream
    }

    /// A request whose call is under way.
    fn ask(&mut self, key: &str) -> u32 {
        let stream = self.wait(key);
        self.worker.turn();
        assert_eq!(self.worker.calls().len(), 1);
        stream
    }

    fn metric(&self, name: &str) -> i64 {
        self.process
            .borrow()
            .metric(&format!("velocitygate_{name}"))
    }

    fn decision(&mut self, stream: u32) -> String {
        let state = &self.worker.stream(stream).filter_state;
        String::from_utf8(state["velocitygate_decision"].clone()).unwrap()
    }

    /// Asserts that the request was let through, once, and not answered.
    fn assert_passed(&mut self, stream: u32) {
        assert_eq!(self.worker.stream(stream).resumed, 1);
        assert_eq!(self.worker.local_response(stream), None);
        assert_eq!(self.metric("waiting"), 0);
    }
}

fn headers(key: &str) -> Pairs {
    let all = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "a.test"),
        ("x-api-key", key),
    ];
    all.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .to_vec()
}

fn grpc_headers() -> Pairs {
    let mut headers = headers("a");
    headers.push((
        "content-type".to_owned(),
        b"application/grpc+proto".to_vec(),
    ));
    headers
}

fn value<'a>(headers: &'a Pairs, name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known == name)?;
    Some(str::from_utf8(value).unwrap())
}

fn replied(body: impl AsRef<[u8]>) -> Reply {
    Reply::Response(200, body.as_ref().to_vec())
}

/// The commands of a call, each a list of arguments.
fn commands(call: &HttpCall) -> Vec<Vec<Vec<u8>>> {
    let count = value(&call.headers, "x-velocitygate-replies")
        .unwrap()
        .parse()
        .unwrap();
    let argument = |reply: &Resp<'_>| match reply {
        Resp::Bulk(Some(bytes)) => bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    let command = |reply: &Resp<'_>| match reply {
        Resp::Array(Some(items)) => items.iter().map(argument).collect(),
        other => panic!("{other:?}"),
    };
    resp::decode_all(&call.body, count)
        .unwrap()
        .iter()
        .map(command)
        .collect()
}
