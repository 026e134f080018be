//! The built module in its small host: whatever clients, Redis, callers of the bridge and
//! configurations say, it does not trap (a trap fails the host), and its memory stays small.

use proptest::prelude::*;
use proptest::sample::select;

use crate::bridge::{Said, bulks, call, said};
use crate::documents::{nearly_valid, valid};
use crate::harness::fuzz;
use crate::pieces::pieces;
use crate::replies;
use crate::wasm_host::{Action, Pairs, Process, Reply, Worker, built};

/// Memory of one VM. A fresh one has little over 1 MiB.
const MEMORY_BYTES: usize = 24 << 20;

#[derive(Clone, Debug)]
enum Event {
    Request(Pairs),
    Response(usize, Pairs),
    Deleted(usize),
    Turn,
    Tick(u16),
    Reply(u32, Vec<u8>),
    /// So many charges that let one request pass.
    Charged(usize),
    Reset,
    Configured(Vec<u8>),
}

fn headers() -> impl Strategy<Value = Pairs> {
    let names = &[
        ":method",
        ":path",
        ":authority",
        "x-api-key",
        "content-type",
        "cookie",
        "x",
    ][..];
    let value = prop_oneof![
        2 => select(&["GET", "/api/v1?q=1", "api.example.com", "application/grpc", "a=b; c", ""][..])
            .prop_map(|text| text.as_bytes().to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (any::<u8>(), 1usize..60_000).prop_map(|(byte, times)| vec![byte; times]),
    ];
    let header = (select(names), value).prop_map(|(name, value)| (name.to_owned(), value));
    prop::collection::vec(header, 0..10)
}

fn event() -> impl Strategy<Value = Event> {
    let document =
        prop_oneof![2 => nearly_valid(), 1 => prop::collection::vec(any::<u8>(), 0..200)];
    let status = prop_oneof![3 => Just(200), 1 => select(&[0, 400, 502, 503, 504, 999][..])];
    prop_oneof![
        8 => headers().prop_map(Event::Request),
        2 => (any::<usize>(), headers()).prop_map(|(stream, it)| Event::Response(stream, it)),
        2 => any::<usize>().prop_map(Event::Deleted),
        6 => Just(Event::Turn),
        3 => prop_oneof![3 => 0u16..60, 1 => any::<u16>()].prop_map(Event::Tick),
        4 => (status, replies::bytes()).prop_map(|(code, bytes)| Event::Reply(code, bytes)),
        3 => (1usize..4).prop_map(Event::Charged),
        1 => Just(Event::Reset),
        1 => document.prop_map(Event::Configured),
    ]
}

fn charges(count: usize, rules: usize) -> Vec<u8> {
    let fields = 2 + 3 * rules;
    let charge = format!(
        "*{fields}\r\n:1\r\n:7\r\n{}",
        ":9\r\n:0\r\n:9\r\n".repeat(rules)
    );
    charge.repeat(count).into_bytes()
}

fn play(worker: &mut Worker, root: &mut u32, streams: &mut Vec<u32>, event: Event) {
    match event {
        Event::Request(headers) => {
            let (stream, action) = worker.request(*root, headers);
            let answered = worker.local_response(stream).is_some();
            assert!(
                !answered || action == Action::Pause,
                "answered and let pass"
            );
            streams.push(stream);
        }
        Event::Response(stream, headers) if !streams.is_empty() => {
            worker.response(streams[stream % streams.len()], headers);
        }
        Event::Deleted(stream) if !streams.is_empty() => {
            worker.delete(streams.remove(stream % streams.len()));
        }
        Event::Response(..) | Event::Deleted(_) => {}
        Event::Turn => worker.turn(),
        Event::Tick(ms) => {
            worker.vm().process.borrow_mut().advance(ms.into());
            worker.tick(*root);
        }
        Event::Configured(document) => {
            // What a refused document leaves in force is the old root.
            if let Ok(new) = worker.root("velocitygate", document) {
                worker.delete(std::mem::replace(root, new));
            }
        }
        Event::Reply(..) | Event::Charged(_) | Event::Reset if worker.calls().is_empty() => {}
        Event::Reply(code, bytes) => worker.reply(Reply::Response(code, bytes)),
        Event::Charged(rules) => {
            let calls = worker.calls();
            let mut headers = calls[0].headers.iter();
            let (_, commands) = headers
                .find(|(name, _)| name == "x-velocitygate-replies")
                .unwrap();
            let commands = str::from_utf8(commands).unwrap().parse().unwrap();
            worker.reply(Reply::Response(200, charges(commands, rules)));
        }
        Event::Reset => worker.reply(Reply::Reset),
    }
}

#[test]
fn fuzz_module() {
    built();
    let documents = select(valid());
    let input = (documents, prop::collection::vec(event(), 1..60));
    fuzz("module", 30, &input, |(document, events)| {
        let mut worker = Worker::start(&Process::start());
        let mut root = worker.root("velocitygate", document).unwrap();
        let mut streams = Vec::new();
        for event in events {
            play(&mut worker, &mut root, &mut streams, event);
            assert!(
                streams
                    .iter()
                    .all(|stream| worker.stream(*stream).resumed <= 1)
            );
        }
        let memory = worker.memory_bytes();
        assert!(memory <= MEMORY_BYTES, "{memory} bytes");
    });
}

#[test]
fn fuzz_module_as_the_bridge() {
    built();
    let input = prop::collection::vec((0usize..3, said()), 1..12);
    fuzz("module_as_the_bridge", 30, &input, |events| {
        let mut worker = Worker::start(&Process::start());
        let root = worker.root("velocitygate_redis", "").unwrap();
        let connections = [(); 3].map(|()| worker.connection(root));
        for (connection, said) in events {
            let connection = connections[connection];
            match said {
                Said::Caller(bytes, cuts) => pieces(&bytes, &cuts).iter().for_each(|piece| {
                    worker.downstream(connection, piece);
                }),
                Said::Store(bytes, cuts) => pieces(&bytes, &cuts).iter().for_each(|piece| {
                    worker.upstream(connection, piece);
                }),
                Said::Exchange(replies, length) => {
                    worker.downstream(connection, &call(&[b"PING".to_vec()], replies));
                    worker.upstream(connection, &bulks(replies, length));
                }
            }
        }
        for connection in connections {
            worker.delete(connection);
        }
        let memory = worker.memory_bytes();
        assert!(memory <= MEMORY_BYTES, "{memory} bytes");
    });
}
