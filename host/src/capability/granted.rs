//! What was approved for one plugin, function by function, with a count of uses: the list that
//! [`super::grants::Grants::authorize`] asks, and what `dinehub grants unused` is told from.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Every imported function that was approved. Cheap to ask; counting never blocks.
#[derive(Debug, Default)]
pub struct Granted {
    /// By interface, then by function, as they are imported.
    functions: HashMap<String, HashMap<String, AtomicU64>>,
}

/// How often one function was used since somebody last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// `dinehub:ordering-data/orders find`.
    pub import: String,
    pub uses: u64,
}

impl Granted {
    /// These functions, given as (interface, function), and no other.
    pub fn of<'a>(functions: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all: HashMap<String, HashMap<String, AtomicU64>> = HashMap::new();
        for (interface, function) in functions {
            all.entry(interface.to_owned()).or_default().insert(function.to_owned(), AtomicU64::new(0));
        }
        Self { functions: all }
    }

    /// Whether the function was approved; counts the use if so.
    #[must_use]
    pub fn use_once(&self, interface: &str, function: &str) -> bool {
        let count = self.functions.get(interface).and_then(|functions| functions.get(function));
        count.map(|count| count.fetch_add(1, Ordering::Relaxed)).is_some()
    }

    /// What was used since the last call of this, in no order.
    #[must_use]
    pub fn take_used(&self) -> Vec<Used> {
        let all = self.functions.iter().flat_map(|(interface, functions)| {
            functions.iter().map(move |(function, count)| (interface, function, count.swap(0, Ordering::Relaxed)))
        });
        let used = all.filter(|(_, _, uses)| *uses > 0);
        used.map(|(interface, function, uses)| Used { import: format!("{interface} {function}"), uses }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_once_and_only_of_what_was_granted() {
        let granted = Granted::of([("a", "x"), ("a", "y")]);
        assert!(granted.use_once("a", "x") && granted.use_once("a", "x"));
        assert!(!granted.use_once("b", "x") && !granted.use_once("a", "z"));
        assert_eq!(granted.take_used(), [Used { import: "a x".to_owned(), uses: 2 }]);
        assert_eq!(granted.take_used(), []);
    }
}
