//! The load: a process of its own that keeps connections open and sends the next request when an answer came.
//!
//! Driver and server speak in lines: an [`Order`] as JSON, `ready` when the connections stand and have answered once, `go`,
//! and a [`Tally`] as JSON.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Makes the program a driver.
pub(crate) const ARGUMENT: &str = "drive";
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// One slice of load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) address: SocketAddr,
    /// Whole requests as they go over the wire; each connection goes through them in turn.
    pub(crate) requests: Vec<String>,
    pub(crate) connections: usize,
    pub(crate) ms: u64,
}

/// What became of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The first answer that was no 2xx, if one was not.
    pub(crate) refused: Option<String>,
}

/// The driver, as the server's process holds it.
#[derive(Debug)]
pub(crate) struct Driver {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts this program once more.
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(program);
        let mut process =
            command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a second process");
        let orders = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, orders, answers }
    }

    /// One slice. `around` is called when the connections stand, and again when the load is over.
    pub(crate) fn run(&mut self, order: &Order, mut around: impl FnMut()) -> Tally {
        let order = serde_json::to_string(order).expect("JSON");
        writeln!(self.orders, "{order}").expect("the driver listens");
        assert_eq!(self.line().trim(), "ready", "the driver failed");
        around();
        writeln!(self.orders, "go").expect("the driver listens");
        let tally = self.line();
        around();
        let tally: Tally = serde_json::from_str(&tally).unwrap_or_else(|why| panic!("{why}: {tally}"));
        assert!(tally.refused.is_none(), "refused under load: {:?}", tally.refused);
        tally
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the driver answers");
        line
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The driver itself: serves orders until its input ends.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut lines = std::io::stdin().lines();
    while let Some(Ok(line)) = lines.next() {
        let order: Order = serde_json::from_str(&line).expect("an order");
        let connections = runtime.block_on(connect(&order));
        println!("ready");
        let _ = lines.next();
        let local = tokio::task::LocalSet::new();
        let tally = local.block_on(&runtime, slice(order, connections));
        println!("{}", serde_json::to_string(&tally).expect("JSON"));
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Connections that have answered once: their tasks exist, and caches behind them are warm.
async fn connect(order: &Order) -> Vec<Connection> {
    let mut connections = Vec::with_capacity(order.connections);
    for at in 0..order.connections {
        let stream = TcpStream::connect(order.address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut connection = Connection { stream, buffer: vec![0; ANSWER_BYTES_MAX] };
        connection.exchange(&order.requests[at % order.requests.len()]).await;
        connections.push(connection);
    }
    connections
}

async fn slice(order: Order, connections: Vec<Connection>) -> Tally {
    let order = Rc::new(order);
    let started = Instant::now();
    let end = started + Duration::from_millis(order.ms);
    let tasks = connections.into_iter().enumerate().map(|(at, mut connection)| {
        let order = Rc::clone(&order);
        tokio::task::spawn_local(async move {
            let (mut micros, mut refused) = (Vec::with_capacity(1 << 14), None);
            for request in order.requests.iter().cycle().skip(at) {
                let sent = Instant::now();
                if sent >= end {
                    break;
                }
                if let Some(answer) = connection.exchange(request).await {
                    refused.get_or_insert(answer);
                }
                micros.push(u32::try_from(sent.elapsed().as_nanos() / 100).unwrap_or(u32::MAX));
            }
            (micros, refused)
        })
    });
    let done = futures::future::join_all(tasks).await;
    let seconds = started.elapsed().as_secs_f64();
    let (mut tenths, mut refused) = (Vec::new(), None);
    for (times, first) in done.into_iter().map(|done| done.expect("a task ends")) {
        tenths.extend(times);
        refused = refused.or(first);
    }
    tenths.sort_unstable();
    let at = |share: f64| {
        let last = tenths.len().saturating_sub(1) as f64;
        tenths.get((last * share) as usize).map_or(0.0, |tenth| f64::from(*tenth) / 10.0)
    };
    Tally { requests: tenths.len() as u64, seconds, p50_us: at(0.5), p99_us: at(0.99), refused }
}

impl Connection {
    /// Sends a request and reads the whole answer; gives it back when it is no 2xx.
    async fn exchange(&mut self, request: &str) -> Option<String> {
        self.stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut length = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[length..]).await.expect("the server answers");
            assert!(read > 0, "the server hung up after {:?}", String::from_utf8_lossy(&self.buffer[..length]));
            length += read;
            let Some(whole) = answer_bytes(&self.buffer[..length]) else { continue };
            if length >= whole {
                break;
            }
        }
        let is_good = self.buffer.starts_with(b"HTTP/1.1 2");
        if is_good { None } else { Some(String::from_utf8_lossy(&self.buffer[..length]).into_owned()) }
    }
}

/// How long the answer is whose beginning was read, once its head is complete.
fn answer_bytes(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let at = read[..head].windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME));
    let digits = at.map_or(&[][..], |at| &read[at + NAME.len()..head]);
    let body = digits.iter().take_while(|b| b.is_ascii_digit()).fold(0, |sum, b| sum * 10 + usize::from(b - b'0'));
    Some(head + body)
}
