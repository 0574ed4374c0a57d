//! A plugin that wants a socket: no bundle has one, and it must not load.

use std::net::TcpStream;

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::wasi_sockets::api::Guest;

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Guest for Component {
    fn connect(_caller: Caller) -> Result<bool, Problem> {
        Ok(TcpStream::connect("127.0.0.1:5432").is_ok())
    }
}
