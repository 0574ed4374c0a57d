//! How letters leave the house: through an HTTP gateway, or into a directory where somebody looks (`dev`, tests).
//!
//! A gateway takes `POST` with `{"to": …, "subject": …, "text": …}` and answers 2xx; the vault's `mail.age`, if there is
//! one, is sent along as a bearer token. A spooled letter is one file, `<time>-<random>.eml`, readable by its owner alone.

use std::{fmt, io::Write as _, sync::Arc};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use futures::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::egress::{
    Method,
    client::{Origin, Outbound, Request},
};
use crate::{
    error::{Error, Fault, Setup},
    identity::mail::{Letter, Post},
};

/// As much of a gateway's answer as is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// An HTTP gateway.
pub struct Gateway {
    origin: Origin,
    path: String,
    token: Option<SecretString>,
    outbound: Arc<Outbound>,
}

impl Gateway {
    /// `url` is `https://host[:port]/path`; plain HTTP only where `egress.routes` leads elsewhere.
    pub fn new(url: &str, token: Option<SecretString>, outbound: Arc<Outbound>) -> Setup<Self> {
        let fault =
            || Fault::new("mail.url", format!("{url:?} is no URL of a gateway")).fix("https://mail.example/send");
        let after = url.find("://").ok_or_else(fault)? + 3;
        let at = url.get(after..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after + at);
        let (origin, path) = url.split_at(at);
        let origin = Origin::parse(origin).map_err(|fault| fault.within("mail.url"))?;
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        let bearer = token.map(|token| SecretString::from(format!("Bearer {}", token.expose_secret().trim())));
        Ok(Self { origin, path, token: bearer, outbound })
    }
}

impl Post for Gateway {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let body = json!({"to": letter.to, "subject": letter.subject, "text": letter.text.expose_secret()});
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            let request = Request { path: self.path.clone(), headers, body: Some(body.to_string()) };
            let token = self.token.as_ref().map(|token| ("authorization", token));
            let sent = self.outbound.send(&self.origin, Method::Post, request, token, ANSWER_BYTES_MAX).await;
            match sent {
                Ok(response) if (200..300).contains(&response.status) => Ok(()),
                Ok(response) => {
                    Err(Error::Unavailable(format!("the mail gateway answered {}", response.status).into()))
                }
                Err(why) => Err(Error::Unavailable(format!("the mail gateway: {why:?}").into())),
            }
        })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateway({}{} …)", self.origin.host, self.path)
    }
}

/// A directory that letters are put into.
#[derive(Debug)]
pub struct Spool(pub Dir);

impl Post for Spool {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // What ends a header line is not in an address (ASCII, printable) or a subject (ours).
            let text = format!("To: {}\nSubject: {}\n\n{}", letter.to, letter.subject, letter.text.expose_secret());
            let name = format!("{}.eml", Uuid::now_v7());
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = self.0.open_with(name, &options).map_err(Error::internal)?;
            file.write_all(text.as_bytes()).map_err(Error::internal)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn gateway(url: &str) -> Setup<Gateway> {
        Gateway::new(url, None, Arc::new(Outbound::new(&BTreeMap::new()).unwrap()))
    }

    #[test]
    fn what_is_no_url_is_refused_with_its_key() {
        for url in ["", "mail.example", "ftp://mail.example/", "https://", "https://user@mail.example/send"] {
            let fault = gateway(url).unwrap_err().to_string();
            assert!(fault.contains("mail.url"), "{url}: {fault}");
        }
    }

    #[test]
    fn a_url_is_an_origin_and_a_path() {
        for (url, path) in [("https://m.example", "/"), ("https://m.example:8443/v1/send?a=b", "/v1/send?a=b")] {
            assert_eq!(gateway(url).unwrap().path, path);
        }
    }
}
