//! Where the limits remember whom they counted: a table of fixed size, so that nobody can make it grow.
//!
//! A key is a 64-bit hash with a seed of this process: who does not know the seed cannot aim at another's place. It belongs
//! to one set of eight places. When all eight are taken, the one that owes least gives way, because forgetting it loses
//! least. So a flood of a million sources, each asking once, neither costs memory nor lets the one go that is being held.

use std::sync::{Arc, Mutex, PoisonError};

use governor::{nanos::Nanos, state::StateStore};

/// With eight places of 16 bytes each: 131,072 keys in 2.2 MiB.
pub(super) const SETS: usize = 16_384;
const WAYS: usize = 8;

/// One key and the time at which it owes nothing any more; 0 is nobody.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    due: u64,
}

/// All places.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Mutex<[Place; WAYS]>]>,
}

impl Table {
    pub(super) fn new(sets: usize) -> Self {
        Self { sets: (0..sets.max(1)).map(|_| Mutex::default()).collect() }
    }

    fn set(&self, key: u64) -> Option<&Mutex<[Place; WAYS]>> {
        // The upper half chooses the set; the whole is compared.
        let at = usize::try_from(key >> 32).unwrap_or_default() % self.sets.len();
        self.sets.get(at)
    }
}

/// One table under several limits, whose keys differ.
#[derive(Clone, Debug)]
pub(super) struct Shared(pub(super) Arc<Table>);

impl StateStore for Shared {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Some(set) = self.0.set(*key) else { return decide(None).map(|(given, _)| given) };
        let mut places = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.iter_mut().find(|place| place.key == *key && place.due > 0);
        match known {
            Some(place) => {
                let (given, due) = decide(Some(Nanos::from(place.due)))?;
                place.due = due.into();
                Ok(given)
            }
            None => {
                let (given, due) = decide(None)?;
                if let Some(place) = places.iter_mut().min_by_key(|place| place.due) {
                    *place = Place { key: *key, due: due.into() };
                }
                Ok(given)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        hash::{BuildHasher as _, RandomState},
        num::NonZeroU32,
    };

    use governor::{Quota, RateLimiter, clock::FakeRelativeClock};

    use super::*;

    #[test]
    fn a_million_others_do_not_free_who_is_held_and_cost_no_memory() {
        let table = Arc::new(Table::new(SETS));
        let quota = Quota::per_minute(NonZeroU32::new(20).unwrap());
        let limiter = RateLimiter::new(quota, Shared(Arc::clone(&table)), FakeRelativeClock::default());
        let hash = RandomState::new();
        let held = hash.hash_one("held");
        for _ in 0..20 {
            limiter.check_key(&held).unwrap();
        }
        assert!(limiter.check_key(&held).is_err());
        for other in 0..1_000_000_u64 {
            limiter.check_key(&hash.hash_one(other)).unwrap();
        }
        assert!(limiter.check_key(&held).is_err(), "still held");
        assert_eq!(size_of_val(&*table.sets), SETS * size_of::<Mutex<[Place; WAYS]>>());
        assert!(size_of_val(&*table.sets) < 3 << 20);
    }
}
