//! Sockets. `axum::serve` has no deadline for a request's head, so hyper is driven here: with one, with a bound on
//! connections, and with an end that waits for requests in flight.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use futures::{FutureExt as _, future::BoxFuture};
use hyper::body::Incoming;

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::ServiceExt as _;

use super::Bounds;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Streams a client may have open on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Streams a client may reset before they were accepted (CVE-2023-44487, rapid reset).
const PENDING_RESETS_MAX: usize = 32;

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
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) {
    let server = Arc::new(builder(bounds));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    let mut stop = std::pin::pin!(stop);
    loop {
        // A full house leaves further connections in the kernel's queue.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut stop => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest_after(&error).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // Small answers leave at once; the failure to say so is no reason to refuse the client.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            service(request, Peer(peer)).map(Ok::<_, Infallible>)
        });
        let (server, watcher) = (Arc::clone(&server), graceful.watcher());
        tokio::spawn(async move {
            let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(target: "connection", error = %error, "closed");
            }
            drop(place);
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(Duration::from_millis(bounds.drain_ms), graceful.shutdown()).await;
    if drained.is_err() {
        tracing::warn!(target: "connection", "requests were still running when the time to drain was over");
    }
}

fn builder(bounds: Bounds) -> auto::Builder<TokioExecutor> {
    let header = Duration::from_millis(bounds.header_ms);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(header).half_close(false).max_headers(64);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(header)
        .keep_alive_timeout(header)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_header_list_size(32 << 10);
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
