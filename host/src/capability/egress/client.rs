//! One request over one connection: resolve, check every address, connect to the one that was checked (so that a second
//! answer of the resolver changes nothing), prove who answers, and read no more than is allowed.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs as provider, pki_types::ServerName},
};

use super::{Failure, Method, address};
use crate::error::{Fault, Setup};

/// Headers of one request.
const HEADERS_MAX: usize = 32;
/// Headers of a response that the guest may see.
const SEEN: [HeaderName; 4] = [header::CONTENT_TYPE, header::ETAG, header::RETRY_AFTER, header::LOCATION];

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub is_https: bool,
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// Reads `https://host[:port]`, and nothing more than that.
    pub fn parse(text: &str) -> Setup<Self> {
        let fault =
            || Fault::new("origin", format!("{text:?} is no origin")).fix("origin = \"https://api.example.com\"");
        let uri: Uri = text.parse().map_err(|_| fault())?;
        let authority = uri.authority().ok_or_else(fault)?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.ends_with('/');
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(fault()),
        };
        if !is_bare || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(fault());
        }
        // `port_u16` gives none for a port that is none: that would be read as the default.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => {
                if is_https {
                    443
                } else {
                    80
                }
            }
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(fault)?,
            None => return Err(fault()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        Ok(Self { is_https, host, port })
    }
}

/// A request of a guest's.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
}

/// What came back, cut to what the guest may see.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// The way out, one for all plugins.
pub struct Outbound {
    tls: TlsConnector,
    /// Origins that the operator sends somewhere else: a fake in `dev`, a forward proxy.
    routes: BTreeMap<String, Origin>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// A header that belongs to the connection or to the host.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 12] = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
        "te",
        "trailer",
        "keep-alive",
        "expect",
        "proxy-authorization",
        "proxy-connection",
        "forwarded",
    ];
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        || name.to_ascii_lowercase().starts_with("x-forwarded")
}

impl Outbound {
    /// `routes` sends an origin to another, which is then not checked: the operator said so.
    pub fn new(routes: &BTreeMap<String, String>) -> Setup<Self> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Fault::at("TLS"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let parse = |(from, to): (&String, &String)| {
            let place = |fault: Fault| fault.within(format!("egress.routes.{from:?}"));
            Origin::parse(from).and_then(|_| Ok((from.clone(), Origin::parse(to)?))).map_err(place)
        };
        let routes = routes.iter().map(parse).collect::<Setup<_>>()?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), routes })
    }

    /// Sends one request. `injected` is a header that only the host knows; `bytes_max` bounds the response's body.
    pub async fn send(
        &self,
        origin: &Origin,
        method: Method,
        request: Request,
        injected: Option<(&str, &SecretString)>,
        bytes_max: usize,
    ) -> Result<Response, Failure> {
        let request = build(origin, method, request, injected)?;
        let name = format!("{}://{}", if origin.is_https { "https" } else { "http" }, authority(origin));
        let (target, is_routed) = match self.routes.get(&name) {
            Some(other) => (other, true),
            None => (origin, false),
        };
        let stream = connect(target, is_routed).await?;
        if !target.is_https {
            return exchange(stream, request, bytes_max).await;
        }
        let unreachable = |why: &dyn std::fmt::Display| Failure::Unreachable(why.to_string());
        let server = ServerName::try_from(target.host.clone()).map_err(|why| unreachable(&why))?;
        let stream = self.tls.connect(server, stream).await.map_err(|why| unreachable(&why))?;
        exchange(stream, request, bytes_max).await
    }
}

fn authority(origin: &Origin) -> String {
    let host = if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
    match (origin.is_https, origin.port) {
        (true, 443) | (false, 80) => host,
        (_, port) => format!("{host}:{port}"),
    }
}

fn build(
    origin: &Origin,
    method: Method,
    request: Request,
    injected: Option<(&str, &SecretString)>,
) -> Result<http::Request<Full<Bytes>>, Failure> {
    let invalid = |what: &str| Failure::Invalid(what.to_owned());
    let is_path = request.path.starts_with('/') && !request.path.contains('#');
    let path: PathAndQuery = request.path.parse().map_err(|_| invalid("path"))?;
    if !is_path || request.headers.len() > HEADERS_MAX {
        return Err(invalid(if is_path { "too many headers" } else { "path" }));
    }
    let mut built = http::Request::new(Full::new(Bytes::from(request.body.unwrap_or_default())));
    *built.method_mut() = method.as_str().parse().map_err(|_| invalid("method"))?;
    *built.uri_mut() = Uri::from(path);
    let headers = built.headers_mut();
    for (name, value) in &request.headers {
        let is_injected = injected.is_some_and(|(injected, _)| injected.eq_ignore_ascii_case(name));
        if is_reserved(name) || is_injected {
            return Err(Failure::Denied(format!("the header {} is the host's", name.to_ascii_lowercase())));
        }
        let name: HeaderName = name.parse().map_err(|_| invalid("a header's name"))?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| invalid("a header's value"))?);
    }
    if let Some((name, secret)) = injected {
        let name: HeaderName = name.parse().map_err(|_| invalid("the injected header's name"))?;
        let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| invalid("the injected header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let host = HeaderValue::from_str(&authority(origin)).map_err(|_| invalid("host"))?;
    headers.insert(header::HOST, host);
    Ok(built)
}

/// Connects to the first address that answers; all of them must be outside the house.
async fn connect(target: &Origin, is_routed: bool) -> Result<TcpStream, Failure> {
    let unreachable = |why: std::io::Error| Failure::Unreachable(why.to_string());
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(unreachable)?;
    let found: Vec<SocketAddr> = found.collect();
    if !is_routed && found.iter().any(|address| !address::is_public(address.ip())) {
        return Err(Failure::Denied("the name leads to an address that is not public".to_owned()));
    }
    let mut last = Failure::Unreachable("the name has no address".to_owned());
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(why) => last = unreachable(why),
        }
    }
    Err(last)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: http::Request<Full<Bytes>>,
    bytes_max: usize,
) -> Result<Response, Failure> {
    let unreachable = |why: hyper::Error| Failure::Unreachable(why.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // Dropped with this future: the connection ends when nobody waits for its answer.
    let driver = Aborting(tokio::spawn(connection));
    let (parts, body) = sender.send_request(request).await.map_err(unreachable)?.into_parts();
    if parts.status.is_redirection() {
        return Err(Failure::Denied("the answer leads somewhere else".to_owned()));
    }
    let body = Limited::new(body, bytes_max).collect().await.map_err(|why| {
        if why.is::<http_body_util::LengthLimitError>() {
            Failure::TooLarge
        } else {
            Failure::Unreachable(why.to_string())
        }
    })?;
    drop(driver);
    let body = String::from_utf8(body.to_bytes().into()).map_err(|_| Failure::NotText)?;
    let seen = SEEN.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    Ok(Response { status: parts.status.as_u16(), headers: seen.collect(), body })
}

struct Aborting<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        let origin = Origin::parse("https://API.pay.example:8443").unwrap();
        assert_eq!((origin.is_https, origin.host.as_str(), origin.port), (true, "api.pay.example", 8443));
        assert_eq!(Origin::parse("https://[2606:4700::1]").unwrap().host, "2606:4700::1");
        for wrong in [
            "",
            "api.pay.example",
            "ftp://a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://a.example?x",
            "https://user@a.example",
            "https://a b",
            "https://a.example:99999",
        ] {
            assert!(Origin::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Request { path: path.to_owned(), headers, body: None }
    }

    #[test]
    fn a_guest_cannot_write_a_header_of_the_hosts_or_break_out_of_a_line() {
        let origin = Origin::parse("https://a.example").unwrap();
        let key = SecretString::from("Bearer key");
        let built = |path: &str, headers: &[(&str, &str)]| {
            build(&origin, Method::Post, request(path, headers), Some(("authorization", &key)))
        };
        for name in ["Host", "content-length", "Transfer-Encoding", "connection", "x-forwarded-for", "Authorization"] {
            assert!(matches!(built("/", &[(name, "x")]), Err(Failure::Denied(_))), "{name}");
        }
        for (path, headers) in [
            ("/", [("x", "a\r\nhost: b")]),
            ("/", [("x y", "a")]),
            ("/", [("", "a")]),
            ("/ HTTP/1.1\r\nx: y", [("x", "a")]),
            ("http://b.example/", [("x", "a")]),
            ("//b.example/\u{0}", [("x", "a")]),
            ("", [("x", "a")]),
            ("*", [("x", "a")]),
        ] {
            assert!(matches!(built(path, &headers), Err(Failure::Invalid(_))), "{path:?} {headers:?}");
        }
        let sent = built("/v1/charges?x=1", &[("idempotency-key", "7")]).unwrap();
        assert_eq!(sent.uri(), "/v1/charges?x=1");
        assert_eq!(sent.headers()["host"], "a.example");
        assert_eq!(sent.headers()["authorization"], "Bearer key");
    }
}
