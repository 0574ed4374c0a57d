//! A plugin whose standard library reads a clock that nobody granted: it must not load.

use std::time::SystemTime;

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::wasi_ungranted::api::Guest;

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Guest for Component {
    fn now(_caller: Caller) -> Result<u64, Problem> {
        Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
    }
}
