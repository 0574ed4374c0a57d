//! What a connection does, so that one that does nothing can be closed.
//!
//! hyper bounds the reading of a head. It does not bound a client that connects and stays silent, an HTTP/2 client that
//! answers pings for ever, or one that reads its answer a byte a second. All three are a connection on which, for a whole
//! period, no request ran, none began, and hardly a byte could be written.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many bytes a client takes in a period, or it is stalling. More than pings and their answers come to.
const WRITTEN_MIN: u64 = 4 << 10;

/// Counts of one connection. Each has one writer at a time, so nothing needs to be ordered.
#[derive(Debug, Default)]
pub(super) struct Activity {
    running: AtomicU32,
    begun: AtomicU64,
    written: AtomicU64,
}

/// A state to compare with a later one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    begun: u64,
    written: u64,
}

/// A request, for as long as somebody works on it.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        Running(Arc::clone(self))
    }

    /// Whether anything happened since `before`, which becomes what is so now.
    pub(super) fn moved_since(&self, before: &mut Seen) -> bool {
        let now = Seen { begun: self.begun.load(Relaxed), written: self.written.load(Relaxed) };
        let moved = self.running.load(Relaxed) > 0
            || now.begun != before.begun
            || now.written.saturating_sub(before.written) >= WRITTEN_MIN;
        *before = now;
        moved
    }

    /// Whether a request ever came.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed) > 0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// A stream whose written bytes are counted.
#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.activity.written.fetch_add(bytes as u64, Relaxed);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_moves_while_a_request_runs_begins_or_is_answered() {
        let activity = Arc::new(Activity::default());
        let mut seen = Seen::default();
        assert!(!activity.has_begun() && !activity.moved_since(&mut seen));
        let running = activity.begin();
        assert!(activity.has_begun() && activity.moved_since(&mut seen), "began");
        assert!(activity.moved_since(&mut seen), "runs");
        drop(running);
        assert!(!activity.moved_since(&mut seen));
        activity.written.fetch_add(WRITTEN_MIN - 1, Relaxed);
        assert!(!activity.moved_since(&mut seen), "pongs");
        activity.written.fetch_add(WRITTEN_MIN, Relaxed);
        assert!(activity.moved_since(&mut seen), "a long answer on its way");
    }
}
