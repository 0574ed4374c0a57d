//! A plugin that subscribes: two writes for each event, and a topic that it can be made to fail at.

use dinehub_sdk::{
    conflict,
    types::{Caller, Problem},
};

use crate::bindings::{
    dinehub::listener_data::sayings,
    exports::dinehub::{
        herald::herald_events::{Guest as Events, Saying},
        listener::api::Guest,
    },
};

dinehub_sdk::plugin!(Component);

struct Component;

fn write(caller: Caller, saying: &Saying) -> Result<(), Problem> {
    let Caller::System(cause) = caller else {
        return Err(conflict("not_the_system", "Only the host may say this."));
    };
    sayings::add(&saying.topic, saying.number, &cause)?;
    if sayings::shut(&saying.topic)?.is_some() {
        return Err(conflict("closed", "Not now."));
    }
    sayings::count_up(&saying.topic)?;
    Ok(())
}

impl Events for Component {
    fn said(caller: Caller, saying: Saying) {
        if write(caller, &saying).is_err() {
            core::arch::wasm32::unreachable()
        }
    }
}

impl Guest for Component {
    fn heard(_caller: Caller, topic: String) -> Result<Vec<i32>, Problem> {
        Ok(sayings::of_topic(&topic)?.into_iter().map(|row| row.number).collect())
    }
}
