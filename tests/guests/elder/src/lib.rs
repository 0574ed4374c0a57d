//! The first of two versions of one plugin: served beside the second, on one schema, until it is gone.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{
    dinehub::elder_data::notes,
    exports::dinehub::elder::api::{Guest, Note},
};

dinehub_sdk::plugin!(Component);

struct Component;

impl Guest for Component {
    fn add(_caller: Caller, body: Note) -> Result<u32, Problem> {
        Ok(notes::add(&body.words)?)
    }

    fn tally(_caller: Caller) -> Result<i64, Problem> {
        Ok(notes::tally()?.notes)
    }
}
