//! A plugin that holds one of every handle, so that each can be tried, misused, and taken away.

use dinehub_sdk::{
    conflict,
    types::{Caller, Problem},
};

use crate::bindings::{
    dinehub::{
        clock::wall,
        files::types::Error,
        hands_data::notes,
        hands_files::{reports, shelf},
        hands_http::{inside, provider},
        hands_secret::{seal, word},
        http::types as http,
        platform::log,
        random::secure,
    },
    exports::dinehub::hands::api::{Guest, Header, Method, Outgoing, Reply},
};

dinehub_sdk::plugin!(Component);

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

/// Sends the request as often as it says; gives the last answer.
fn send(
    outgoing: Outgoing,
    send: impl Fn(&http::Request) -> Result<http::Response, http::Error>,
) -> Result<Reply, Problem> {
    let method = match outgoing.method {
        Method::Get => http::Method::Get,
        Method::Post => http::Method::Post,
        Method::Put => http::Method::Put,
        Method::Patch => http::Method::Patch,
        Method::Delete => http::Method::Delete,
    };
    let headers = outgoing.headers.into_iter().map(|Header { name, value }| http::Header { name, value }).collect();
    let request = http::Request { method, path: outgoing.path, headers, body: outgoing.body };
    for _ in 1..outgoing.times {
        let _ = send(&request);
    }
    let http::Response { status, headers, body } = send(&request).map_err(unsent)?;
    let headers = headers.into_iter().map(|http::Header { name, value }| Header { name, value }).collect();
    Ok(Reply { status, headers, body })
}

fn unsent(error: http::Error) -> Problem {
    match error {
        http::Error::Invalid(why) => conflict("invalid_request", &why),
        http::Error::Denied(why) => conflict("not_granted", &why),
        http::Error::TooLarge => conflict("too_large", "Too large."),
        http::Error::Timeout => conflict("too_late", "Too late."),
        http::Error::Unreachable => conflict("unreachable", "Nobody there."),
        http::Error::NotText => conflict("not_text", "Not text."),
    }
}

impl Guest for Component {
    fn provider_send(_caller: Caller, body: Outgoing) -> Result<Reply, Problem> {
        send(body, provider::send)
    }

    fn inside_send(_caller: Caller, body: Outgoing) -> Result<Reply, Problem> {
        send(body, inside::send)
    }

    fn webhook(_caller: Caller, request: http::Incoming) -> Result<(bool, Vec<String>), Problem> {
        let (signatures, others): (Vec<_>, Vec<_>) =
            request.headers.into_iter().partition(|header| header.name == "x-signature");
        let is_signed = matches!(signatures.as_slice(), [one] if seal::verify(&request.body, &one.value));
        Ok((is_signed, others.into_iter().map(|header| header.name).collect()))
    }

    fn notes_add(_caller: Caller, name: String) -> Result<u32, Problem> {
        Ok(notes::add(&name)?)
    }

    fn notes_tally(_caller: Caller) -> Result<i64, Problem> {
        Ok(notes::tally()?.notes)
    }

    fn note_then_send(_caller: Caller, body: Outgoing) -> Result<Reply, Problem> {
        notes::add("first")?;
        send(body, provider::send)
    }

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
