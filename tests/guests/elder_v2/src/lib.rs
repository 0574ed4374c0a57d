//! The second of two versions of one plugin: the same table, and a column that the first does not know.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{
    dinehub::elder_data::notes,
    exports::dinehub::elder::api::{Guest, Note},
};

dinehub_sdk::plugin!(Component);

struct Component;

impl Guest for Component {
    fn add(_caller: Caller, body: Note) -> Result<u32, Problem> {
        Ok(notes::add(&body.words, &body.kind)?)
    }

    fn tally(_caller: Caller, kind: String) -> Result<i64, Problem> {
        Ok(notes::tally(&kind)?.notes)
    }
}
