//! The room in a granted directory: no more bytes than its quota, whatever how many calls write at once.
//!
//! Whoever will write asks first and is promised some bytes; what is promised counts as used until the writing is over. A
//! promise is made under a lock and read before the directory is measured, so that bytes are counted twice at worst.

use std::{
    io::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cap_std::fs::Dir;
use nix::errno::Errno;
use tokio::sync::Mutex;
use wasmtime_wasi::{
    async_trait,
    p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult},
};

use crate::capability::files;

/// What is left of one directory's quota.
#[derive(Debug)]
pub(super) struct Room {
    directory: Arc<Dir>,
    quota_bytes: u64,
    promised: AtomicU64,
    one_at_a_time: Mutex<()>,
}

/// Bytes that may be written; kept until dropped.
#[derive(Debug)]
pub(super) struct Promise {
    room: Arc<Room>,
    pub(super) bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// As the guest's own C library knows it.
pub(super) fn full() -> Error {
    Errno::ENOSPC.into()
}

impl Room {
    pub(super) fn new(directory: &Arc<Dir>, quota_bytes: u64) -> Arc<Self> {
        let promised = AtomicU64::new(0);
        Arc::new(Self { directory: Arc::clone(directory), quota_bytes, promised, one_at_a_time: Mutex::new(()) })
    }

    /// Up to `bytes`, and at least one; fails when there is no room for it, or no room for one more file.
    pub(super) async fn promise_up_to(self: &Arc<Self>, bytes: u64) -> Result<Promise, Error> {
        let _alone = self.one_at_a_time.lock().await;
        let promised = self.promised.load(Ordering::Acquire);
        let directory = Arc::clone(&self.directory);
        let measured = tokio::task::spawn_blocking(move || files::used_bytes(&directory)).await;
        let used = measured.map_err(Error::other)?.map_err(|_| full())?;
        let left = self.quota_bytes.saturating_sub(used).saturating_sub(promised).min(bytes);
        if left == 0 && bytes > 0 {
            return Err(full());
        }
        self.promised.fetch_add(left, Ordering::AcqRel);
        Ok(Promise { room: Arc::clone(self), bytes: left })
    }

    /// All of `bytes`.
    pub(super) async fn promise(self: &Arc<Self>, bytes: u64) -> Result<Promise, Error> {
        let promise = self.promise_up_to(bytes).await?;
        if promise.bytes < bytes { Err(full()) } else { Ok(promise) }
    }
}

/// A stream into a file that ends where its promise does.
pub(super) struct Bounded {
    /// Dropped first: what it is still writing is within the promise.
    stream: DynOutputStream,
    left: u64,
    _promise: Promise,
}

impl Bounded {
    /// No more than `bytes`, and no more than was promised.
    pub(super) fn new(stream: DynOutputStream, promise: Promise, bytes: u64) -> Self {
        Self { stream, left: promise.bytes.min(bytes), _promise: promise }
    }

    fn refuse(&self) -> StreamError {
        StreamError::LastOperationFailed(full().into())
    }
}

#[async_trait]
impl Pollable for Bounded {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[async_trait]
impl OutputStream for Bounded {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        let left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| self.refuse())?;
        self.stream.write(bytes)?;
        self.left = left;
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let allowed = self.stream.check_write()?;
        // With nothing left this only says that earlier writes are done, and the next one is refused.
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(if left == 0 { allowed } else { allowed.min(left) })
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}
