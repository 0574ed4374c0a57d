//! The HTTP boundary as it is configured: every mistake surfaces here, before anything listens.

use super::certificate;
use crate::{
    config::Config,
    error::{Fault, Setup},
    http::{
        Bounds, Edge,
        source::{Networks, Proxies, Said},
    },
};

/// The bounds of a request and a connection.
#[must_use]
pub fn bounds(config: &Config) -> Bounds {
    let http = &config.http;
    Bounds {
        body_bytes_max: http.body_bytes_max,
        body_ms: http.body_ms,
        header_ms: http.header_ms,
        idle_ms: http.idle_ms,
        connections_max: http.connections_max,
        connections_per_source_max: http.connections_per_source_max,
        drain_ms: http.drain_ms,
    }
}

/// Everything else of it.
pub fn open(config: &Config) -> Setup<Edge> {
    let said = match config.http.proxy_header.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Said::XForwardedFor,
        "forwarded" => Said::Forwarded,
        other => {
            return Err(Fault::new("http.proxy_header", format!("{other:?} is not read"))
                .fix(r#"proxy_header = "x-forwarded-for" or "forwarded""#));
        }
    };
    let trusted = Networks::read("http.trusted_proxies", &config.http.trusted_proxies)?;
    let tls = match certificate::open(&config.tls)? {
        None => None,
        Some(keeper) => {
            let acceptor = keeper.acceptor(config.tls.handshake_ms)?;
            Some((keeper, acceptor))
        }
    };
    Ok(Edge { proxies: Proxies::new(trusted, said), exempt: Networks::read("rate.exempt", &config.rate.exempt)?, tls })
}
