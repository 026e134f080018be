//! A store that can lie: a server that takes Redis commands, and either hands them to a real
//! Redis or answers every one of them with the same lie.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::lie::Act;

/// Bytes of an endless stream before a connection of it ends after all: the test's own bound.
const ENDLESS: usize = 32 << 20;

/// How the liar answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// As the Redis at this address does.
    Honest(SocketAddr),
    /// Every command with this.
    Lying(Act),
    /// As the Redis at this address does, but of every two replies the second comes first.
    Swapping(SocketAddr),
}

/// A server on a loopback port. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Liar {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    asked: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Liar {
    /// Starts it; it says nothing until [`Liar::turn`] tells it how to answer.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, manners) = watch::channel(Manner::Lying(Act::Say(b"")));
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manners.clone(), Arc::clone(&counter)));
            }
        });
        Self {
            address,
            manner,
            asked,
            server,
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers in another manner from now on. Connections of the old manner are closed.
    pub(super) fn turn(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Commands that were answered with a lie since the start.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One connection, until its manner is over. A peer that goes away ends it, which is no error.
async fn serve(mut stream: TcpStream, mut manner: watch::Receiver<Manner>, asked: Arc<AtomicU64>) {
    let current = *manner.borrow_and_update();
    let conversation = async {
        match current {
            Manner::Honest(redis) => {
                let mut redis = TcpStream::connect(redis).await?;
                copy_bidirectional(&mut stream, &mut redis).await?;
                Ok(())
            }
            Manner::Lying(act) => lie(&mut stream, act, &asked).await,
            Manner::Swapping(redis) => swap(&mut stream, redis).await,
        }
    };
    tokio::select! {
        _ = manner.changed() => {
            if let Manner::Lying(Act::Part(_, last)) = current {
                let _ = stream.write_all(last).await;
            }
        }
        _ended = conversation => {}
    }
}

async fn lie(stream: &mut TcpStream, act: Act, asked: &AtomicU64) -> std::io::Result<()> {
    let mut input = Vec::new();
    while stream.read_buf(&mut input).await? > 0 {
        while let Some(end) = command_end(&input) {
            input.drain(..end);
            asked.fetch_add(1, Ordering::Relaxed);
            match act {
                Act::Say(bytes) | Act::Part(bytes, _) => stream.write_all(bytes).await?,
                Act::Hang(bytes) => {
                    stream.write_all(bytes).await?;
                    return stream.shutdown().await;
                }
                Act::Repeat(bytes, times) => stream.write_all(&bytes.repeat(times)).await?,
                Act::Late(delay, bytes) => {
                    sleep(delay).await;
                    stream.write_all(bytes).await?;
                }
                Act::Endless(bytes) => {
                    let piece = bytes.repeat((64 << 10) / bytes.len());
                    for _ in 0..ENDLESS / piece.len() {
                        stream.write_all(&piece).await?;
                    }
                    return stream.shutdown().await;
                }
            }
        }
    }
    Ok(())
}

async fn swap(stream: &mut TcpStream, redis: SocketAddr) -> std::io::Result<()> {
    let mut redis = BufReader::new(TcpStream::connect(redis).await?);
    let mut input = Vec::new();
    let mut held: Option<Vec<u8>> = None;
    while stream.read_buf(&mut input).await? > 0 {
        while let Some(end) = command_end(&input) {
            let command: Vec<u8> = input.drain(..end).collect();
            redis.write_all(&command).await?;
            let reply = script_reply(&mut redis).await?;
            match held.take() {
                Some(earlier) => stream.write_all(&[reply, earlier].concat()).await?,
                None => held = Some(reply),
            }
        }
    }
    Ok(())
}

/// One reply of a script: an error, or an array of numbers; either way a number of lines.
async fn script_reply(redis: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    redis.read_until(b'\n', &mut reply).await?;
    let (items, _) = header(&reply, 0, b'*').unwrap_or_default();
    for _ in 0..items {
        redis.read_until(b'\n', &mut reply).await?;
    }
    Ok(reply)
}

/// Where the first command in `input` ends, when all of it is there: `*<n>`, then n times
/// `$<length>` and the bytes.
fn command_end(input: &[u8]) -> Option<usize> {
    let (arguments, mut at) = header(input, 0, b'*')?;
    for _ in 0..arguments {
        let (length, start) = header(input, at, b'$')?;
        at = start + length + 2;
    }
    (at <= input.len()).then_some(at)
}

/// The number after `sign` at `from`, and where its line ends.
fn header(input: &[u8], from: usize, sign: u8) -> Option<(usize, usize)> {
    let rest = input.get(from..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let digits = rest[..end].strip_prefix(&[sign])?;
    Some((
        std::str::from_utf8(digits).ok()?.parse().ok()?,
        from + end + 2,
    ))
}

#[test]
fn the_liar_sees_a_command_only_when_all_of_it_is_there() {
    let command = b"*2\r\n$3\r\nGET\r\n$3\r\n\r\na\r\n";
    for cut in 0..command.len() {
        assert_eq!(command_end(&command[..cut]), None, "{cut}");
    }
    assert_eq!(
        command_end(&[&command[..], b"*1"].concat()),
        Some(command.len())
    );
}
