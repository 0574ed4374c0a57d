//! Sockets. `axum::serve` has no deadline for a request's head, so hyper is driven here: with one, with bounds on
//! connections, with an end of those that only take up a place, and with a stop that waits for requests in flight.
//!
//! Whatever the peer does, its connection ends: a TLS handshake within `handshake_ms`, a head within `header_ms`, a body
//! within `body_ms` ([`super::layers`]), and a connection on which nothing moves within `idle_ms` (`serve::activity`).

mod activity;
mod place;

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use futures::{FutureExt as _, future::BoxFuture};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::ServiceExt as _;

use self::{
    activity::{Activity, Counted, Seen},
    place::{Place, Places},
};
use super::{Bounds, source::Networks, tls::Acceptor};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Streams a client may have open on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Streams a client may reset before they were accepted (CVE-2023-44487, rapid reset).
const PENDING_RESETS_MAX: usize = 32;
/// Streams that are reset because the client broke the protocol on them (CVE-2025-8671, made you reset).
const OWN_RESETS_MAX: usize = 128;
/// The largest head, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Header lines of one request.
const HEADERS_MAX: usize = 64;
/// An answer that waits for the client to read on, in bytes of one stream.
const SEND_BYTES_MAX: usize = 64 << 10;
/// A connection that was told to end may take so long.
const FAREWELL: Duration = Duration::from_secs(1);

/// On what terms a listener takes connections.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    pub bounds: Bounds,
    /// Speaks TLS, and nothing else.
    pub tls: Option<Acceptor>,
    /// Peers that may have as many connections as there are.
    pub exempt: Arc<Networks>,
}

impl From<Bounds> for Terms {
    fn from(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }
}

/// Any router as a service.
pub fn routed(router: Router) -> impl Fn(Request<Incoming>, Peer) -> BoxFuture<'static, Response<Body>> + Clone {
    move |request, _| {
        let router = router.clone();
        Box::pin(async move { infallible(router.oneshot(request.map(Body::new)).await) })
    }
}

/// Serves until `stop` ends; then accepts nothing more and gives requests in flight `drain_ms` to end.
pub async fn serve<A: Future<Output = Response<Body>> + Send + 'static>(
    listener: TcpListener,
    service: impl Fn(Request<Incoming>, Peer) -> A + Clone + Send + 'static,
    terms: impl Into<Terms>,
    stop: impl Future<Output = ()>,
) {
    let Terms { bounds, tls, exempt } = terms.into();
    let (server, tls) = (Arc::new(builder(bounds)), tls.map(Arc::new));
    let places = Places::new(bounds.connections_max, bounds.connections_per_source_max, exempt);
    // Every connection holds a receiver: who sees the sender's word ends, and when all have, they are gone.
    let (stopping, told) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let one_of_all = tokio::select! {
            free = places.free() => match free { Some(free) => free, None => break },
            () = &mut stop => break,
        };
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest_after(&error).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let Some(place) = places.take(one_of_all, peer.ip()) else {
            tracing::debug!(target: "connection", %peer, "closed: its source has as many as one may have");
            continue;
        };
        let connection = Connection { server: Arc::clone(&server), bounds, peer: Peer(peer), told: told.clone() };
        tokio::spawn(open(socket, tls.clone(), connection, service.clone(), place));
    }
    drop((listener, told));
    let _ = stopping.send(true);
    if tokio::time::timeout(Duration::from_millis(bounds.drain_ms), stopping.closed()).await.is_err() {
        tracing::warn!(target: "connection", "requests were still running when the time to drain was over");
    }
}

/// One connection, before its first byte.
struct Connection {
    server: Arc<auto::Builder<TokioExecutor>>,
    bounds: Bounds,
    peer: Peer,
    told: watch::Receiver<bool>,
}

async fn open<A: Future<Output = Response<Body>> + Send + 'static>(
    socket: TcpStream,
    tls: Option<Arc<Acceptor>>,
    connection: Connection,
    service: impl Fn(Request<Incoming>, Peer) -> A + Clone + Send + 'static,
    place: Place,
) {
    // Small answers leave at once; the failure to say so is no reason to refuse the client.
    let _ = socket.set_nodelay(true);
    match tls {
        None => drive(socket, connection, service).await,
        Some(tls) => match tls.accept(socket).await {
            Ok(stream) => drive(stream, connection, service).await,
            Err(why) => tracing::debug!(target: "connection", why, "no handshake"),
        },
    }
    drop(place);
}

/// Serves one connection until it ends, is told to, or nothing moves on it any more.
async fn drive<S, A>(
    stream: S,
    connection: Connection,
    service: impl Fn(Request<Incoming>, Peer) -> A + Clone + Send + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let Connection { server, bounds, peer, mut told } = connection;
    let activity = Arc::new(Activity::default());
    let counted = Counted::new(stream, Arc::clone(&activity));
    let of_requests = Arc::clone(&activity);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let running = of_requests.begin();
        service(request, peer).map(move |response| {
            drop(running);
            Ok::<_, Infallible>(response)
        })
    });
    let mut served = pin!(server.serve_connection(TokioIo::new(counted), service));
    let mut seen = Seen::default();
    loop {
        let period = if activity.has_begun() { bounds.idle_ms } else { bounds.header_ms.min(bounds.idle_ms) };
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(target: "connection", error = %error, "closed");
                }
                return;
            }
            // Its requests end, however long they may take: the drain has a deadline of its own.
            () = stop_of(&mut told) => {
                served.as_mut().graceful_shutdown();
                let _ = served.await;
                return;
            }
            () = tokio::time::sleep(Duration::from_millis(period)) => {
                if !activity.moved_since(&mut seen) {
                    tracing::debug!(target: "connection", "closed: nothing moved on it");
                    served.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(FAREWELL, served).await;
                    return;
                }
            }
        }
    }
}

/// Ends when the listener stops.
async fn stop_of(told: &mut watch::Receiver<bool>) {
    let _ = told.wait_for(|stopping| *stopping).await;
}

fn builder(bounds: Bounds) -> auto::Builder<TokioExecutor> {
    let header = Duration::from_millis(bounds.header_ms);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .half_close(false)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(header)
        .keep_alive_timeout(header)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(OWN_RESETS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    server
}

/// Out of file descriptors: trying again at once would only burn the CPU.
async fn rest_after(error: &io::Error) {
    tracing::warn!(target: "connection", error = %error, "cannot accept");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn infallible<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
