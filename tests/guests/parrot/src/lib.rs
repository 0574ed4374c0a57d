//! A plugin that tells itself what it was told.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{
    dinehub::parrot::words,
    exports::dinehub::parrot::{api::Guest, words::Guest as Words},
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Words for Component {
    fn said(word: String) {
        words::said(&word);
    }
}

impl Guest for Component {
    fn say(_caller: Caller) -> Result<(), Problem> {
        words::said("pieces of eight");
        Ok(())
    }

    fn answer(_caller: Caller) -> Result<i32, Problem> {
        Ok(42)
    }
}
