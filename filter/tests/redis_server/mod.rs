//! A Redis of a test's own: a child process on a free loopback port, gone when it is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use velocitygate::resp::{Reply, Scanner, decode_all, encode};

/// Far longer than a start or an answer takes; only a hang comes near.
const DEADLINE: Duration = Duration::from_secs(20);

/// Another process may take the port between the choice and the start.
const STARTS: usize = 5;

/// A running server without persistence.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not start.
    pub(crate) fn start() -> Self {
        let program = program();
        (0..STARTS)
            .find_map(|_| Self::try_start(&program))
            .expect("redis-server starts")
    }

    /// A new connection to it.
    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream }
    }

    /// `None` when the server ended at once, as it does when it finds its port taken.
    fn try_start(program: &Path) -> Option<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run make tools", program.display()));
        let ready = readiness(child.stdout.take().expect("stdout is a pipe"));
        let server = Self { child, port };
        ready.recv_timeout(DEADLINE).is_ok().then_some(server)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // An error here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tells once when the log says that this very server listens; hangs up when the log ends. Reads
/// on after that, for a server whose log is not read stops at a full pipe.
fn readiness(log: ChildStdout) -> Receiver<()> {
    let (tell, ready) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if line.contains("Ready to accept connections") {
                let _ = tell.send(());
            }
        }
    });
    ready
}

/// What `make tools` wrote down, or else whatever the PATH has.
fn program() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    std::fs::read_to_string(root.join(".tools/env"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("REDIS=").map(|path| root.join(path)))
        .unwrap_or_else(|| "redis-server".into())
}

/// A connection that asks and waits.
pub(crate) struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Sends `commands`, already encoded, and hands the `replies` they must get to `read`.
    pub(crate) fn exchange<T>(
        &mut self,
        commands: &[u8],
        replies: usize,
        read: impl FnOnce(Vec<Reply<'_>>) -> T,
    ) -> T {
        self.stream.write_all(commands).unwrap();
        let (mut scanner, mut bytes) = (Scanner::new(replies), Vec::new());
        while scanner.missing() > 0 {
            let mut piece = [0; 4096];
            let length = self
                .stream
                .read(&mut piece)
                .expect("an answer within the deadline");
            assert!(length > 0, "Redis hung up");
            scanner.feed(&piece[..length]).unwrap();
            bytes.extend_from_slice(&piece[..length]);
        }
        read(decode_all(&bytes, replies).unwrap())
    }

    /// Sends one command and hands its reply to `read`.
    pub(crate) fn ask<T>(&mut self, args: &[&[u8]], read: impl FnOnce(Reply<'_>) -> T) -> T {
        let mut out = Vec::new();
        encode::command(&mut out, args);
        self.exchange(&out, 1, |mut replies| read(replies.remove(0)))
    }
}
