//! The HTTP boundary as it is configured: every mistake surfaces here, before anything listens.

use std::fs;

use super::certificate;
use crate::{
    config::{self, Config},
    error::{Fault, Setup},
    http::{
        Bounds, Edge, Security,
        cors::Cors,
        filter::{Filter, Force},
        rate::Rates,
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
    let exempt = Networks::read("rate.exempt", &config.rate.exempt)?;
    let tls = match certificate::open(&config.tls)? {
        None => None,
        Some(keeper) => {
            let acceptor = keeper.acceptor(config.tls.handshake_ms)?;
            Some((keeper, acceptor))
        }
    };
    let rate = &config.rate;
    Ok(Edge {
        proxies: proxies(&config.http)?,
        rates: Rates::new(exempt.clone(), rate.source, rate.account, rate.routes.clone())?,
        exempt,
        filter: filter(&config.filter)?,
        cors: Cors::new(&config.cors.origins, config.cors.max_age_s)?,
        security: security(&config.security)?,
        pins: config.tls.pins.clone(),
        tls,
    })
}

fn proxies(http: &config::Http) -> Setup<Proxies> {
    let said = match http.proxy_header.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Said::XForwardedFor,
        "forwarded" => Said::Forwarded,
        other => {
            return Err(Fault::new("http.proxy_header", format!("{other:?} is not read"))
                .fix(r#"proxy_header = "x-forwarded-for" or "forwarded""#));
        }
    };
    Ok(Proxies::new(Networks::read("http.trusted_proxies", &http.trusted_proxies)?, said))
}

fn filter(filter: &config::Filter) -> Setup<Option<Filter>> {
    let force = match filter.mode.as_str() {
        "off" => return Ok(None),
        "on" => Force::AsWritten,
        "report" => Force::ReportOnly,
        other => {
            return Err(Fault::new("filter.mode", format!("{other:?} is no mode")).fix("mode = on, report or off"));
        }
    };
    if filter.rules_file.as_os_str().is_empty() {
        return Filter::built_in(force).map(Some);
    }
    let place = filter.rules_file.display().to_string();
    let text = fs::read_to_string(&filter.rules_file).map_err(Fault::at(&place))?;
    Filter::read(&place, &text, force).map(Some)
}

fn security(security: &config::Security) -> Setup<Security> {
    let fault = |key: &str, what: String| Fault::new(format!("security.{key}"), what);
    let mut lines = Vec::new();
    let uris = |values: &[String]| values.to_vec();
    for (key, name, values) in [
        ("contact", "Contact", uris(&security.contact)),
        ("canonical", "Canonical", uris(&security.canonical)),
        ("policy", "Policy", uris(std::slice::from_ref(&security.policy))),
        ("encryption", "Encryption", uris(std::slice::from_ref(&security.encryption))),
    ] {
        for value in values.into_iter().filter(|value| !value.is_empty()) {
            // RFC 9116 §2.5: each is a URI, and a web address is https.
            let is_uri =
                ["https://", "mailto:", "tel:", "openpgp4fpr:", "dns:"].iter().any(|how| value.starts_with(how));
            if !is_uri || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(fault(key, format!("{value:?} is no URI")).fix("mailto:security@… or https://…"));
            }
            lines.push((name, value));
        }
    }
    if security.contact.is_empty() {
        return Ok(Security::default());
    }
    if !(1..=365).contains(&security.days) {
        return Err(fault("days", format!("{} is not from 1 to 365", security.days)).fix("days = 180"));
    }
    if !security.preferred_languages.is_empty() {
        lines.push(("Preferred-Languages", security.preferred_languages.clone()));
    }
    Ok(Security { lines, days: security.days })
}
