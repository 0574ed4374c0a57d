//! A bound on waiting that costs nothing until there is a wait.
//!
//! Nearly everything that is bounded here is ready when it is first asked: a body that came with its head, a call that
//! asks nobody. `tokio::time::timeout` takes its future by value and keeps the timer inside, which is 128-byte aligned;
//! each future around it is then as large and as aligned, is copied into its place, and leaves the allocator's fast path.
//! [`within`] borrows the future where it lies, and makes its timer when the future first has to wait.
//!
//! ```
//! # futures::executor::block_on(async {
//! use std::{pin::pin, time::Duration};
//! use dinehub::deadline::within;
//! assert_eq!(within(Duration::from_secs(1), pin!(async { 7 })).await, Ok(7));
//! # });
//! ```

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The time was over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late;

/// Waits for `work` no longer than `limit`, counted from here. Dropping `work` is its owner's business.
pub fn within<F: Future>(limit: Duration, work: Pin<&mut F>) -> Within<'_, F> {
    Within { work, end: Instant::now() + limit, timer: None }
}

/// See [`within`].
#[derive(Debug)]
pub struct Within<'w, F> {
    work: Pin<&'w mut F>,
    end: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Result<F::Output, Late>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(done) = self.work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        let end = self.end;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        timer.as_mut().poll(context).map(|()| Err(Late))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_time_is_late() {
        let began = Instant::now();
        assert_eq!(within(Duration::from_secs(3), pin!(pending::<()>())).await, Err(Late));
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_time_is_given_back() {
        let work = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            7
        };
        assert_eq!(within(Duration::from_secs(3), pin!(work)).await, Ok(7));
    }
}
