//! The request as it came, for routes with `raw = true`: a webhook's signature is over exact bytes, which a JSON reader
//! would not keep.

use std::sync::Arc;

use axum::http::{HeaderName, header};

use super::Request;
use crate::{
    error::Error,
    plugin::{
        shape::{Format, Member, Named, Shape},
        value::Val,
    },
};

/// Credentials of the caller are the host's business.
const HIDDEN: [HeaderName; 4] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION, header::CONNECTION];

/// The shape of `dinehub:http/types.incoming`.
#[must_use]
pub fn shape() -> Shape {
    let text = Shape::Text { format: Format::Plain, length_min: 0, length_max: 4_096 };
    let member = |name: &str, of| Member { wit: name.to_owned(), json: name.to_owned(), of };
    let record = |name: &str, members| Shape::Record(Arc::new(Named { name: name.to_owned(), members }));
    let header = record("header", vec![member("name", text.clone()), member("value", text.clone())]);
    let headers = Shape::List { item: Arc::new(header), items_min: 0, items_max: 1_000 };
    record("incoming", vec![member("headers", headers), member("body", text)])
}

/// The value of the parameter `request`. The body must be text, because that is what crosses the boundary.
pub(super) fn value(request: &Request<'_>) -> Result<Val, Error> {
    let body = std::str::from_utf8(request.body).map_err(|_| Error::Malformed("The body is not UTF-8.".into()))?;
    let pair = |name: &str, value: &str| {
        let text = |text: &str| Val::String(text.to_owned());
        Val::Record(vec![("name".to_owned(), text(name)), ("value".to_owned(), text(value))])
    };
    let headers = request.parts.headers.iter().filter(|(name, _)| !HIDDEN.contains(name));
    let headers = headers.filter_map(|(name, value)| Some(pair(name.as_str(), value.to_str().ok()?))).collect();
    Ok(Val::Record(vec![("headers".to_owned(), Val::List(headers)), ("body".to_owned(), Val::String(body.to_owned()))]))
}
