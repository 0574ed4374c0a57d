//! A plugin that publishes: once, too often, too much, and in calls that come to nothing.

use dinehub_sdk::{
    conflict,
    types::{Caller, Problem},
};

use crate::bindings::{
    dinehub::herald::herald_events::{self, Saying},
    exports::dinehub::herald::api::Guest,
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

/// The caller that is handed over is a lie: nobody may believe it.
fn publish(topic: &str, number: i32, words: Vec<String>) {
    let saying = Saying { topic: topic.to_owned(), number, words };
    herald_events::said(&Caller::System("00000000-0000-4000-8000-000000000bad".to_owned()), &saying);
}

impl Guest for Component {
    fn say(_caller: Caller, topic: String, number: i32) -> Result<(), Problem> {
        publish(&topic, number, vec!["hear".to_owned()]);
        Ok(())
    }

    fn say_many(_caller: Caller, topic: String, count: i32) -> Result<(), Problem> {
        (1..=count).for_each(|number| publish(&topic, number, Vec::new()));
        Ok(())
    }

    fn say_large(_caller: Caller, topic: String, words: i32) -> Result<(), Problem> {
        publish(&topic, 0, (0..words).map(|_| "a".repeat(1_000)).collect());
        Ok(())
    }

    fn say_then_refuse(_caller: Caller, topic: String) -> Result<(), Problem> {
        publish(&topic, 0, Vec::new());
        Err(conflict("changed_its_mind", "It is unsaid."))
    }

    fn say_then_trap(_caller: Caller, topic: String) -> Result<(), Problem> {
        publish(&topic, 0, Vec::new());
        core::arch::wasm32::unreachable()
    }

    fn say_in_a_read(_caller: Caller, topic: String) -> Result<(), Problem> {
        publish(&topic, 0, Vec::new());
        Ok(())
    }

    fn answer(_caller: Caller) -> Result<i32, Problem> {
        Ok(42)
    }
}
