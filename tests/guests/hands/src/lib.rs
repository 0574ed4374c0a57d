//! A plugin that holds one of every handle, so that each can be tried, misused, and taken away.

use dinehub_sdk::{
    conflict,
    types::{Caller, Problem},
};

use crate::bindings::{
    dinehub::{
        clock::wall,
        files::types::Error,
        hands_files::{reports, shelf},
        hands_secret::{seal, word},
        platform::log,
        random::secure,
    },
    exports::dinehub::hands::api::Guest,
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

fn refused(error: Error) -> Problem {
    let code = match error {
        Error::Missing => "missing",
        Error::TooLarge => "too_large",
        Error::NotText => "not_text",
        Error::Unavailable => "unavailable",
    };
    conflict(code, "The file handle said no.")
}

impl Guest for Component {
    fn log_write(_caller: Caller, body: String) -> Result<(), Problem> {
        let field = log::Field { key: "size".to_owned(), value: body.len().to_string() };
        log::write(log::Level::Info, &body, &[field]);
        Ok(())
    }

    fn wall_now(_caller: Caller) -> Result<String, Problem> {
        Ok(wall::now())
    }

    fn secure_uuid(_caller: Caller) -> Result<String, Problem> {
        Ok(secure::fresh_uuid())
    }

    fn secure_hex(_caller: Caller, bytes: i32) -> Result<String, Problem> {
        Ok(secure::hex(bytes.unsigned_abs()))
    }

    fn seal_sign(_caller: Caller, body: String) -> Result<String, Problem> {
        Ok(seal::sign(&body))
    }

    fn seal_verify(_caller: Caller, body: String) -> Result<bool, Problem> {
        let (message, signature) = body.split_once('\n').unwrap_or((&body, ""));
        Ok(seal::verify(message, signature))
    }

    fn word_reveal(_caller: Caller) -> Result<String, Problem> {
        Ok(word::reveal())
    }

    fn shelf_read(_caller: Caller, path: String) -> Result<String, Problem> {
        shelf::read(&path).map_err(refused)
    }

    fn reports_read(_caller: Caller, path: String) -> Result<String, Problem> {
        reports::read(&path).map_err(refused)
    }

    fn reports_write(_caller: Caller, path: String, body: String) -> Result<(), Problem> {
        reports::write(&path, &body).map_err(refused)
    }
}
