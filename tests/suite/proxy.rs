//! Behind Debian's nginx, as `nix/nginx.conf` sets it: every request has the answer that it has without.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dinehub::config::Config;
use harness::{
    client::Client,
    server::{Server, root},
    wire::Wire,
};
use serde_json::json;

use crate::{
    order::restaurant,
    smuggling::{LAST, REFUSED, answers},
};

/// nginx, stopped when dropped.
struct Proxy {
    address: SocketAddr,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Proxy {
    /// In front of `upstream`, without TLS: what it does with requests is the same.
    async fn before(upstream: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let template = fs::read_to_string(root().join("nix/nginx.conf")).unwrap();
        let state = directory.path().display().to_string();
        let set = [
            ("@state@", state.as_str()),
            ("@listen@", &address.to_string()),
            ("@upstream@", &upstream.to_string()),
            ("@tls@", ""),
        ];
        let config = set.iter().fold(template, |text, (name, value)| text.replace(name, value));
        assert!(!config.contains('@'), "every place is filled:\n{config}");
        fs::write(directory.path().join("nginx.conf"), config).unwrap();
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p", &state, "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx: apt-get install nginx-light");
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "nginx listens");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { address, child, _directory: directory }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

async fn both() -> (Server, Proxy) {
    let mut config = Config::default();
    config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
    let server = Server::configured(&config).await;
    let proxy = Proxy::before(server.address).await;
    (server, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_changes_no_answer() {
    let (server, proxy) = both().await;
    let owner = server.person("RESTAURANT_OWNER").await.client;
    let through = Client::new(proxy.address, owner.token.clone());
    let huge = Bytes::from(format!("{{\"name\":\"{}\"}}", "a".repeat(300 << 10)));
    let json_type = [("content-type", "application/json")];
    for (method, path, headers, body) in [
        ("GET", "/api/v1/restaurants?limit=5", &[][..], Bytes::new()),
        ("HEAD", "/api/v1/restaurants", &[], Bytes::new()),
        ("GET", "/nowhere", &[], Bytes::new()),
        ("GET", "//api/v1/restaurants", &[], Bytes::new()),
        ("GET", "/api/v1//restaurants", &[], Bytes::new()),
        ("GET", "/api/v1/restaurants/", &[], Bytes::new()),
        ("GET", "/api/v1/restaurants/%2e%2e/%2e%2e", &[], Bytes::new()),
        ("GET", "/docs/..%2fCargo.toml", &[], Bytes::new()),
        ("GET", "/api/v1/restaurants?text=%00", &[], Bytes::new()),
        ("GET", "/api/v1/restaurants?text=a%20b+c", &[], Bytes::new()),
        ("DELETE", "/api/v1/restaurants", &[], Bytes::new()),
        ("PATCH", "/api/v1/restaurants", &[], Bytes::new()),
        ("GET", "/api/v1/auth/me", &[], Bytes::new()),
        ("GET", "/api/v1/auth/me", &[("x_weird", "dropped"), ("x-odd", "kept")], Bytes::new()),
        ("POST", "/api/v1/restaurants", &json_type, Bytes::from_static(b"{")),
        ("POST", "/api/v1/restaurants", &json_type, Bytes::from_static(b"{}")),
        ("POST", "/api/v1/restaurants", &json_type, huge),
        ("POST", "/api/v1/restaurants", &[], Bytes::from_static(b"{}")),
        ("GET", "/docs/index.html", &[], Bytes::new()),
        ("GET", "/openapi.json", &[], Bytes::new()),
    ] {
        let (one, other) =
            (owner.send(method, path, headers, body.clone()).await, through.send(method, path, headers, body).await);
        assert_eq!((one.status, one.code()), (other.status, other.code()), "{method} {path}");
        for name in ["content-type", "cache-control", "content-security-policy", "strict-transport-security", "allow"] {
            assert_eq!(one.header(name), other.header(name), "{method} {path}: {name}");
        }
        assert!(other.header("server").is_none_or(|server| server == "nginx"), "no version is told");
    }
    let made = through.post("/api/v1/restaurants", &restaurant("Behind a proxy")).await.expect(201);
    let seen = owner.get(made.header("location").unwrap()).await.expect(200);
    assert_eq!(seen.json["name"], "Behind a proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_smuggled_past_the_proxy() {
    let (_server, proxy) = both().await;
    for (what, sample) in REFUSED.into_iter().chain(LAST) {
        let mut wire = Wire::open(proxy.address).await;
        let _ = wire.send(format!("{sample}GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        let all = wire.rest().await;
        let text = String::from_utf8_lossy(&all);
        // nginx keeps the connection after a chunked body that it read to its end; what follows is a request of the client's
        // own. Whatever it could not read is refused and ends the connection.
        let most = if text.starts_with("HTTP/1.1 400") { 1 } else { 2 };
        assert!(answers(&all) <= most, "{what}: {text}");
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 501"),
            "{what}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_the_proxy_is_the_proxys_word() {
    let (server, proxy) = both().await;
    let through = Client::new(proxy.address, None);
    let body = json!({"email": "nobody@example.com", "password": "wrong-and-long"});
    let mut statuses = Vec::new();
    while statuses.len() < 20 && statuses.last() != Some(&429) {
        let own_word = format!("203.0.113.{}", statuses.len());
        let answer = through.json("POST", "/api/v1/auth/login", &[("x-forwarded-for", &own_word)], &body).await;
        statuses.push(answer.status);
    }
    assert_eq!(statuses.last(), Some(&429), "a client's own word makes it nobody else: {statuses:?}");
    drop(server);
}
