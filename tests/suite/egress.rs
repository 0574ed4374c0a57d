//! Outbound HTTP: one origin, its methods, its secret, and nothing else; whatever the other side answers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use harness::{
    client::Answer,
    server::{Server, guests},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A provider on loopback that answers by the path, and remembers every request as it came.
struct Provider {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let book = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&book)));
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(mut stream: TcpStream, seen: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let (head, length) = loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await?;
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            break (head.to_owned(), length.unwrap_or(0_usize));
        }
        if read == 0 {
            return Ok(());
        }
    };
    while request.len() < head.len() + 4 + length {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await?;
        request.extend_from_slice(&part[..read]);
    }
    let whole = String::from_utf8_lossy(&request).into_owned();
    seen.lock().unwrap().push(whole.clone());
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let ok = |body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nset-cookie: a=b\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    match path.as_str() {
        "/reflect" => stream.write_all(&ok(whole.as_bytes())).await?,
        "/reflect-header" => {
            let key = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("none");
            stream.write_all(format!("HTTP/1.1 200 OK\r\netag: {key}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
        }
        "/redirect" => {
            stream
                .write_all(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
                .await?;
        }
        "/refused" => stream.write_all(b"HTTP/1.1 402 Payment Required\r\ncontent-length: 4\r\n\r\nbroke").await?,
        "/large" => stream.write_all(&ok(&[b'x'; 5_000])).await?,
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            while stream.write_all(&[b'x'; 1_000]).await.is_ok() {}
        }
        "/binary" => stream.write_all(&ok(b"\xff\xfe")).await?,
        "/slow" => tokio::time::sleep(Duration::from_secs(20)).await,
        "/garbage" => stream.write_all(b"SSH-2.0-OpenSSH\r\n").await?,
        _ => stream.write_all(&ok(b"fine")).await?,
    }
    Ok(())
}

/// A host with the guest `hands`, for which `https://provider.example` is the provider on loopback.
async fn routed(provider: &Provider) -> (Server, tempfile::TempDir) {
    let (directory, mut config) = crate::handle::directories();
    config.egress.routes =
        BTreeMap::from([("https://provider.example".to_owned(), format!("http://{}", provider.address))]);
    (Server::try_with(guests(&["hands"]).await, &config).await.unwrap(), directory)
}

fn request(method: &str, path: &str) -> Value {
    json!({"method": method, "path": path, "headers": [], "body": null, "times": 1})
}

async fn send(server: &Server, route: &str, request: &Value) -> Answer {
    server.anonymous().post(&format!("/api/v1/hands/{route}"), request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_carries_what_the_guest_wrote_and_the_secret_it_never_saw() {
    let provider = Provider::start().await;
    let (server, _files) = routed(&provider).await;
    let mut wanted = request("post", "/v1/charges?amount=5");
    wanted["headers"] = json!([{"name": "Idempotency-Key", "value": "order-7"}]);
    wanted["body"] = json!("{\"größe\":1}");
    let answer = send(&server, "provider", &wanted).await.expect(200);
    assert_eq!(answer.json["status"], 200);
    assert_eq!(answer.json["body"], "fine");
    assert_eq!(
        answer.json["headers"],
        json!([{"name": "content-type", "value": "text/plain"}]),
        "no cookie comes through"
    );
    let seen = provider.seen().remove(0);
    assert!(
        seen.starts_with("POST /v1/charges?amount=5 HTTP/1.1\r\n") && seen.ends_with("\r\n\r\n{\"größe\":1}"),
        "{seen}"
    );
    assert!(seen.contains("idempotency-key: order-7\r\n") && seen.contains("host: provider.example\r\n"), "{seen}");
    let key = seen.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
    assert!(key.len() >= 32, "{key}");
    // A status that says no is an answer like any other.
    assert_eq!(send(&server, "provider", &request("get", "/refused")).await.expect(200).json["status"], 402);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_does_not_leave() {
    let provider = Provider::start().await;
    let (server, _files) = routed(&provider).await;
    let with_header = |name: &str, value: &str| {
        let mut wanted = request("get", "/");
        wanted["headers"] = json!([{"name": name, "value": value}]);
        wanted
    };
    for (wanted, code) in [
        (request("delete", "/"), "not_granted"),
        (request("put", "/"), "not_granted"),
        (with_header("Authorization", "Bearer mine"), "not_granted"),
        (with_header("host", "elsewhere.example"), "not_granted"),
        (with_header("transfer-encoding", "chunked"), "not_granted"),
        (with_header("x", "a\r\nhost: elsewhere.example"), "invalid_request"),
        (request("get", "https://elsewhere.example/"), "invalid_request"),
        (request("get", "elsewhere"), "invalid_request"),
    ] {
        let answer = send(&server, "provider", &wanted).await;
        assert_eq!((answer.status, answer.code()), (409, code), "{wanted}: {answer:?}");
    }
    let mut large = request("post", "/");
    large["body"] = json!("ä".repeat(3_000));
    send(&server, "provider", &large).await.refused(409, "too_large");
    assert_eq!(provider.seen(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_the_house_is_refused() {
    let provider = Provider::start().await;
    let (server, _files) = routed(&provider).await;
    let answer = send(&server, "inside", &request("get", "/")).await;
    answer.refused(409, "not_granted");
    assert!(answer.text("/detail").contains("not public"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_other_side_answers_the_guest_is_told_and_the_host_goes_on() {
    let provider = Provider::start().await;
    let (server, _files) = routed(&provider).await;
    for (path, code) in [
        ("/redirect", "not_granted"),
        ("/large", "too_large"),
        ("/endless", "too_large"),
        ("/binary", "not_text"),
        ("/garbage", "unreachable"),
        ("/slow", "too_late"),
        ("/reflect", "not_granted"),
        ("/reflect-header", "not_granted"),
    ] {
        send(&server, "provider", &request("get", path)).await.refused(409, code);
        let _ = send(&server, "provider", &request("get", "/fine")).await.expect(200);
    }
    drop(provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_while_a_transaction_is_open() {
    let provider = Provider::start().await;
    let (server, _files) = routed(&provider).await;
    let answer = send(&server, "note-then-send", &request("get", "/")).await;
    answer.refused(409, "not_granted");
    assert!(answer.text("/detail").contains("a transaction is open"), "{answer:?}");
    assert_eq!(provider.seen().len(), 0);
    assert_eq!(
        server.anonymous().get("/api/v1/hands/notes").await.expect(200).json,
        json!(0),
        "and it was rolled back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_sends_no_more_requests_than_its_limit() {
    let provider = Provider::start().await;
    let (server, _files) = routed(&provider).await;
    let mut many = request("get", "/");
    many["times"] = json!(5);
    send(&server, "provider", &many).await.refused(500, "plugin_fault");
    assert_eq!(provider.seen().len(), 4, "http_calls_max");
    many["times"] = json!(4);
    let _ = send(&server, "provider", &many).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_gone_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = Provider { address: listener.local_addr().unwrap(), seen: Arc::default() };
    drop(listener);
    let (server, _files) = routed(&gone).await;
    send(&server, "provider", &request("get", "/")).await.refused(409, "unreachable");
}
