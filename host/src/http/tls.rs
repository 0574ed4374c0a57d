//! TLS of the API's own socket: version 1.3 and nothing older (S05), with a certificate that can be exchanged while the
//! host serves.
//!
//! A pair of certificate and key is checked whole before it is used: they belong together, the certificate is valid now,
//! and the key is one that was announced, if keys are announced at all (`super::pins`). A pair that fails leaves the
//! one before it in use. Connections that stand keep what they were opened with.
//!
//! Plugins' outbound requests speak TLS as clients and share nothing with this module but the crate.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs as provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
        version::TLS13,
    },
};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _},
};

use crate::error::{Fault, Setup};

/// What a connection is after its handshake.
pub type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// What clients may ask for, the better one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// So much before its end a certificate is warned about.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate chain with its key, checked.
pub struct Pair {
    certified: Arc<CertifiedKey>,
    /// SHA-256 of the SubjectPublicKeyInfo in base64 (RFC 7469 §2.4).
    pin: String,
    /// Unix time, in seconds.
    valid_until_s: u64,
}

impl Pair {
    /// Reads PEM; `now` is what the certificate has to be valid at.
    pub fn read(chain: &[u8], key: &[u8], now: SystemTime) -> Setup<Self> {
        let fault = |what: String| Fault::new("certificate", what);
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| fault(format!("is no PEM: {why}")))?;
        let first = chain.first().ok_or_else(|| fault("holds no `BEGIN CERTIFICATE`".to_owned()))?;
        let parsed = Certificate::from_der(first).map_err(|why| fault(format!("is no X.509: {why}")))?;
        let of = parsed.tbs_certificate();
        let spki = of.subject_public_key_info().to_der().map_err(|why| fault(why.to_string()))?;
        let pin = STANDARD.encode(Sha256::digest(spki));
        let validity = of.validity();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (from, until) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
        if now < from || now > until {
            let what = format!("is valid from {} to {} only", validity.not_before, validity.not_after);
            return Err(fault(what).fix("renew it"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|why| Fault::new("key", format!("is no PEM: {why}")))?;
        let certified = CertifiedKey::from_der(chain, key, &provider::default_provider())
            .map_err(|why| Fault::new("certificate and key", why.to_string()).fix("install both of one issue"))?;
        Ok(Self { certified: Arc::new(certified), pin, valid_until_s: until.as_secs() })
    }

    /// The pin of its key.
    #[must_use]
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// Whether it ends soon.
    #[must_use]
    pub fn ends_soon(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(self.valid_until_s) < now + WARN_BEFORE
    }

    /// When it ends, in Unix seconds.
    #[must_use]
    pub fn valid_until_s(&self) -> u64 {
        self.valid_until_s
    }
}

/// The pair in use, and the pins of keys that may follow it.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    active: ArcSwap<Pair>,
    backup_pins: Vec<String>,
}

impl Keeper {
    /// `backup_pins` are those of keys that are kept for later; none, and any key may follow.
    pub fn new(first: Pair, backup_pins: Vec<String>) -> Setup<Self> {
        for pin in &backup_pins {
            if STANDARD.decode(pin).map(|bytes| bytes.len()) != Ok(32) {
                return Err(Fault::new("tls.backup_pins", format!("{pin:?} is no SHA-256 in base64"))
                    .fix("openssl pkey -in backup.key -pubout -outform der | openssl dgst -sha256 -binary | base64"));
            }
        }
        Ok(Self(Arc::new(Inner { active: ArcSwap::from_pointee(first), backup_pins })))
    }

    /// Puts a pair in the place of the one in use. With backup pins, only a key that clients were told of may come: those
    /// who pinned would not speak to any other.
    pub fn replace(&self, next: Pair) -> Setup<()> {
        let is_known = next.pin == self.active().pin || self.0.backup_pins.contains(&next.pin);
        if !is_known && !self.0.backup_pins.is_empty() {
            return Err(Fault::new("key", format!("its pin {} was never announced", next.pin))
                .fix("use the key of a backup pin, or announce this one first: tls.backup_pins"));
        }
        self.0.active.store(Arc::new(next));
        Ok(())
    }

    /// The pair in use.
    #[must_use]
    pub fn active(&self) -> Arc<Pair> {
        self.0.active.load_full()
    }

    /// Pins of keys that may follow.
    #[must_use]
    pub fn backup_pins(&self) -> &[String] {
        &self.0.backup_pins
    }

    /// What turns sockets into streams, each within `handshake_ms`.
    pub fn acceptor(&self, handshake_ms: u64) -> Setup<Acceptor> {
        // The versions are listed: the crate is built with 1.2 as well, for plugins' providers.
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(Fault::at("TLS"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // A replayed first flight would be a replayed request (RFC 8446 §8).
        config.max_early_data_size = 0;
        Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), limit: Duration::from_millis(handshake_ms) })
    }
}

impl ResolvesServerCert for Keeper {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.active.load().certified))
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("pin", &self.active().pin).finish_non_exhaustive()
    }
}

/// Does handshakes.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    limit: Duration,
}

impl Acceptor {
    /// The stream behind a socket; why there is none is for the log.
    pub async fn accept(&self, socket: TcpStream) -> Result<Stream, String> {
        match tokio::time::timeout(self.limit, self.tls.accept(socket)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(why)) => Err(why.to_string()),
            Err(_) => Err("the handshake took too long".to_owned()),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor(…)")
    }
}
