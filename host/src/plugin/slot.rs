//! How many calls run at once, and how many wait.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{deadline::within, error::Error};

/// Requests that may wait for a slot, as a multiple of the slots; beyond, the answer is 503 at once.
const QUEUE_FACTOR: u32 = 4;

/// Lets so many in at once, lets some wait, and turns the rest away at once.
#[derive(Debug)]
pub(super) struct Gate {
    max: usize,
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new(slots: u32) -> Self {
        let of = |count: u32| Arc::new(Semaphore::new(count as usize));
        Self { max: slots as usize, slots: of(slots), queue: of(slots.saturating_mul(QUEUE_FACTOR)) }
    }

    /// Slots that are taken now.
    pub(super) fn taken(&self) -> usize {
        self.max.saturating_sub(self.slots.available_permits())
    }

    pub(super) async fn enter(&self, wait: Duration) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        let full = || Error::Unavailable("every slot for calls is taken and enough requests wait".into());
        let _place = self.queue.try_acquire().map_err(|_| full())?;
        match within(wait, pin!(Arc::clone(&self.slots).acquire_owned())).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(full()),
        }
    }
}

/// A place in the engine's pool and in the plugin's own share; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    pub(super) _plugin: OwnedSemaphorePermit,
    pub(super) _engine: OwnedSemaphorePermit,
}
