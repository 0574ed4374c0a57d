//! How many connections there may be: in all, and from one source, so that one cannot take the places of all others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::source::{self, Networks};

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    from_one_max: usize,
    /// Proxies and this machine speak for many.
    exempt: Arc<Networks>,
    taken: Arc<Taken>,
}

/// Places by source network; an IPv4 address is one by itself.
type Taken = Mutex<HashMap<[u8; 8], usize>>;

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _one_of_all: OwnedSemaphorePermit,
    counted: Option<([u8; 8], Arc<Taken>)>,
}

impl Places {
    pub(super) fn new(all: usize, from_one_max: usize, exempt: Arc<Networks>) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), from_one_max, exempt, taken: Arc::default() }
    }

    /// Waits until the house is not full: further connections stay in the kernel's queue.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// A place for a connection from `peer`; none when that source has as many as one may have.
    pub(super) fn take(&self, one_of_all: OwnedSemaphorePermit, peer: IpAddr) -> Option<Place> {
        if self.exempt.contain(peer) {
            return Some(Place { _one_of_all: one_of_all, counted: None });
        }
        let key = source::network(peer);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(key).or_default();
        if *count >= self.from_one_max {
            return None;
        }
        *count += 1;
        Some(Place { _one_of_all: one_of_all, counted: Some((key, Arc::clone(&self.taken))) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((key, taken)) = &self.counted else { return };
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_source_cannot_take_the_places_of_others() {
        let exempt = Arc::new(Networks::read("test", &["127.0.0.0/8".to_owned()]).unwrap());
        let places = Places::new(9, 2, exempt);
        let take = async |peer: &str| places.take(places.free().await.unwrap(), peer.parse().unwrap());
        let first = take("203.0.113.7").await.unwrap();
        let _second = take("203.0.113.7").await.unwrap();
        assert!(take("203.0.113.7").await.is_none());
        let _other = take("203.0.113.8").await.unwrap();
        drop(first);
        let _third = take("203.0.113.7").await.unwrap();
        for _ in 0..4 {
            std::mem::forget(take("127.0.0.1").await.unwrap());
        }
        assert_eq!(places.all.available_permits(), 2, "a refused one gave its place back");
        drop((_second, _other, _third));
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is remembered of who left");
    }
}
