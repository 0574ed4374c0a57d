//! TLS 1.3 by the host itself: no older version, both protocols, and another certificate without a restart (S05, S38).

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dinehub::config::{Config, Tls};
use harness::{server::Server, wire::Wire};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, date_time_ymd};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};

/// A certificate of our own with its key.
struct Issue {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
    pin: String,
}

impl Issue {
    fn until(key: &KeyPair, year: i32) -> Self {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(key).unwrap();
        let pin = STANDARD.encode(Sha256::digest(key.subject_public_key_info()));
        Self { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone(), pin }
    }

    fn fresh() -> Self {
        Self::until(&KeyPair::generate().unwrap(), 2090)
    }

    fn install(&self, directory: &Path) {
        write_key(directory, &self.key);
        fs::write(directory.join("chain.pem"), &self.chain).unwrap();
    }
}

fn write_key(directory: &Path, key: &str) {
    fs::write(directory.join("key.pem"), key).unwrap();
    fs::set_permissions(directory.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn config(directory: &Path) -> Config {
    let (certificate_file, key_file) = (directory.join("chain.pem"), directory.join("key.pem"));
    Config { tls: Tls { certificate_file, key_file, ..Tls::default() }, ..Config::default() }
}

async fn handshake(
    address: SocketAddr,
    trusted: &Issue,
    version: &'static SupportedProtocolVersion,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await?;
    // With 1.3 a refusal of the server's may come after the client is done.
    stream.flush().await?;
    Ok(stream)
}

async fn ask(stream: &mut TlsStream<TcpStream>, close: bool) -> String {
    let close = if close { "Connection: close\r\n" } else { "" };
    let ask = format!("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n{close}\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("\"request_id\"") {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "an answer, not an end: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    text
}

/// Waits until a new connection is shown the certificate of `issue`.
async fn until_shown(address: SocketAddr, issue: &Issue) {
    let begun = Instant::now();
    while handshake(address, issue, &TLS13, &[]).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new certificate is never shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_3_is_spoken_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let issue = Issue::fresh();
    issue.install(directory.path());
    let server = Server::configured(&config(directory.path())).await;
    let refused = handshake(server.address, &issue, &TLS12, &[]).await.unwrap_err();
    assert!(refused.to_string().to_lowercase().contains("version"), "{refused}");
    assert!(handshake(server.address, &Issue::fresh(), &TLS13, &[]).await.is_err(), "a stranger's certificate");
    for (offered, chosen) in
        [(&[b"h2" as &[u8], b"http/1.1"][..], Some(b"h2" as &[u8])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = handshake(server.address, &issue, &TLS13, offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
    }
    assert!(handshake(server.address, &issue, &TLS13, &[b"spdy/3"]).await.is_err(), "no protocol in common");
    let mut stream = handshake(server.address, &issue, &TLS13, &[b"http/1.1"]).await.unwrap();
    let text = ask(&mut stream, true).await;
    assert!(text.starts_with("HTTP/1.1 404") && text.contains("strict-transport-security"), "{text}");
    let mut plain = Wire::open(server.address).await;
    assert!(plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await);
    assert!(!String::from_utf8_lossy(&plain.rest().await).contains("HTTP/"), "nothing is said in the clear");
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    Issue::fresh().install(directory.path());
    let mut config = config(directory.path());
    config.tls.handshake_ms = 200;
    let server = Server::configured(&config).await;
    for begin in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut wire = Wire::open(server.address).await;
        assert!(wire.send(begin).await);
        let _ = wire.rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_without_a_restart_and_a_bad_one_never() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second, third) = (Issue::fresh(), Issue::fresh(), Issue::fresh());
    first.install(directory.path());
    let server = Server::configured(&config(directory.path())).await;
    let mut standing = handshake(server.address, &first, &TLS13, &[b"http/1.1"]).await.unwrap();
    let _ = ask(&mut standing, false).await;
    second.install(directory.path());
    until_shown(server.address, &second).await;
    let _ = ask(&mut standing, false).await;
    // Each is tried, named in the log, and not used; the last sample is good, so all before it were looked at.
    let expired = Issue::until(&KeyPair::generate().unwrap(), 2021);
    let chain = directory.path().join("chain.pem");
    let (before, app) = (app_pin(&server), Arc::clone(server.app()));
    for bad in [third.chain.as_str(), "", "no PEM at all", &expired.chain, &first.chain[..first.chain.len() / 2]] {
        fs::write(&chain, bad).unwrap();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(app.edge.tls.as_ref().unwrap().0.active().pin(), before, "{bad}");
    }
    assert!(handshake(server.address, &second, &TLS13, &[]).await.is_ok(), "the one before stays");
    expired.install(directory.path());
    fs::remove_file(&chain).unwrap();
    third.install(directory.path());
    until_shown(server.address, &third).await;
    assert_eq!(app_pin(&server), third.pin);
}

fn app_pin(server: &Server) -> String {
    server.app().edge.tls.as_ref().unwrap().0.active().pin().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_backup_pins_only_an_announced_key_may_follow() {
    let directory = tempfile::tempdir().unwrap();
    let (key, backup_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (first, renewed, backup) =
        (Issue::until(&key, 2080), Issue::until(&key, 2085), Issue::until(&backup_key, 2090));
    first.install(directory.path());
    let mut config = config(directory.path());
    config.tls.backup_pins = vec![backup.pin.clone()];
    let server = Server::configured(&config).await;
    renewed.install(directory.path());
    until_shown(server.address, &renewed).await;
    let stranger = Issue::fresh();
    stranger.install(directory.path());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(handshake(server.address, &stranger, &TLS13, &[]).await.is_err());
    backup.install(directory.path());
    until_shown(server.address, &backup).await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let refusal = async |config: &Config| match Server::try_with(vec![], config).await {
        Ok(_) => panic!("it serves"),
        Err(fault) => fault.to_string(),
    };
    let config = config(directory.path());
    assert!(refusal(&config).await.contains("key.pem: No such file"));
    let issue = Issue::fresh();
    issue.install(directory.path());
    write_key(directory.path(), &Issue::fresh().key);
    assert!(refusal(&config).await.contains("install both of one issue"));
    Issue::until(&KeyPair::generate().unwrap(), 2021).install(directory.path());
    assert!(refusal(&config).await.contains("renew it"));
    issue.install(directory.path());
    fs::set_permissions(&config.tls.key_file, fs::Permissions::from_mode(0o604)).unwrap();
    assert!(refusal(&config).await.contains("chmod o= "));
    fs::set_permissions(&config.tls.key_file, fs::Permissions::from_mode(0o640)).unwrap();
    let mut wrong = config.clone();
    wrong.tls.backup_pins = vec!["c2hvcnQ=".to_owned()];
    assert!(refusal(&wrong).await.contains("openssl pkey"));
    wrong.tls.certificate_file = "".into();
    assert!(refusal(&wrong).await.contains("set both or none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_may_be_pinned_are_published_with_the_one_to_come() {
    let directory = tempfile::tempdir().unwrap();
    let (issue, backup) = (Issue::fresh(), Issue::fresh());
    issue.install(directory.path());
    let mut config = config(directory.path());
    let pins = async |config: &Config| {
        let server = Server::configured(config).await;
        let mut stream = handshake(server.address, &issue, &TLS13, &[b"http/1.1"]).await.unwrap();
        let ask = "GET /.well-known/pins.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    };
    assert!(pins(&config).await.starts_with("HTTP/1.1 404"), "one key alone is not to be pinned");
    config.tls.backup_pins = vec![backup.pin.clone()];
    let text = pins(&config).await;
    let body: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["pins"][0]["spki"], issue.pin);
    assert_eq!(body["pins"][0]["use"], "current");
    assert_eq!(body["pins"][1]["spki"], backup.pin);
    assert_eq!(body["pins"][1]["use"], "backup");
}
