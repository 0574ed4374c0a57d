//! What the host's own handles give: each as promised, and nothing beyond it. How they are refused is in `gate` and
//! `sandbox`.

use std::{collections::HashSet, fs};

use dinehub::config::Config;
use harness::server::{Server, guests, patient, root};
use serde_json::{Value, json};

/// The directories of `hands`, copied, so that a test may write.
pub(crate) fn directories() -> (tempfile::TempDir, Config) {
    directories_of("hands")
}

/// The directories of a guest, copied, beside those of the feature plugins.
pub(crate) fn directories_of(guest: &str) -> (tempfile::TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join(guest);
    fs::create_dir_all(&to).unwrap();
    let from = root().join("tests/guests").join(guest).join("files");
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(&to).status();
    assert!(copied.unwrap().success());
    let _ = fs::remove_file(to.join("files/reports/.gitignore"));
    // Feature plugins may be served beside it.
    for entry in fs::read_dir(root().join("plugins")).unwrap() {
        let plugin = entry.unwrap().path();
        if plugin.join("files").is_dir() {
            std::os::unix::fs::symlink(&plugin, directory.path().join(plugin.file_name().unwrap())).unwrap();
        }
    }
    let mut config = patient();
    config.plugins.files_directory = directory.path().to_owned();
    // What leads out of a directory must be refused by the directory, not only on the way to it.
    config.filter.mode = "off".to_owned();
    (directory, config)
}

async fn hands() -> (Server, tempfile::TempDir) {
    let (directory, config) = directories();
    let server = Server::try_with(guests(&["hands"]).await, &config).await;
    (server.unwrap_or_else(|fault| panic!("{fault}")), directory)
}

async fn get(server: &Server, path: &str) -> Value {
    server.anonymous().get(&format!("/api/v1/hands{path}")).await.expect(200).json
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_right_and_coarse() {
    let (server, _files) = hands().await;
    let before = jiff::Timestamp::now();
    let now: jiff::Timestamp = get(&server, "/now").await.as_str().unwrap().parse().unwrap();
    assert!(now >= before - jiff::SignedDuration::from_millis(1) && now <= jiff::Timestamp::now());
    assert_eq!(now.as_microsecond() % 1_000, 0, "{now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn randomness_differs_between_instances_and_is_bounded() {
    let (server, _files) = hands().await;
    let mut seen = HashSet::new();
    for _ in 0..50 {
        let id = get(&server, "/uuid").await;
        assert_eq!(id.as_str().unwrap().parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
        assert!(seen.insert(id.to_string()) && seen.insert(get(&server, "/hex?bytes=16").await.to_string()));
    }
    assert_eq!(get(&server, "/hex?bytes=3").await.as_str().unwrap().len(), 6);
    assert_eq!(get(&server, "/hex?bytes=1000000").await.as_str().unwrap().len(), 128);
    assert_eq!(get(&server, "/hex?bytes=0").await, json!(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_signs_and_verifies_without_being_seen() {
    let (server, _files) = hands().await;
    let client = server.anonymous();
    let sign = async |text: &str| client.post("/api/v1/hands/sign", &json!(text)).await.expect(200).text("");
    let verify = async |text: String| client.post("/api/v1/hands/verify", &json!(text)).await.expect(200).json;
    let signature = sign("ein Wort").await;
    assert_eq!(signature.len(), 64);
    assert_eq!(verify(format!("ein Wort\n{signature}")).await, json!(true));
    assert_eq!(verify(format!("ein wort\n{signature}")).await, json!(false));
    assert_eq!(verify("ein Wort\nabc".to_owned()).await, json!(false));
    assert_eq!(verify("ein Wort".to_owned()).await, json!(false));
    // Another secret of the same plugin is another key.
    let word = get(&server, "/word").await;
    assert!(word.as_str().unwrap().len() >= 32);
    assert_ne!(sign("ein Wort").await, word.as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_whole_and_refused_by_their_size_and_encoding() {
    let (server, _files) = hands().await;
    assert_eq!(get(&server, "/shelf?path=greeting.txt").await, json!("Guten Tag, {name}!\n"));
    for (path, code) in [("large.txt", "too_large"), ("binary.bin", "not_text"), ("none.txt", "missing")] {
        server.anonymous().get(&format!("/api/v1/hands/shelf?path={path}")).await.refused(409, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_never_holds_more_than_its_quota() {
    let (server, directory) = hands().await;
    let client = server.anonymous();
    let write = async |path: &str, bytes: usize| {
        client.post(&format!("/api/v1/hands/reports?path={path}"), &json!("x".repeat(bytes))).await
    };
    for name in ["a.txt", "b.txt"] {
        assert_eq!(write(name, 1_000).await.status, 204);
    }
    write("c.txt", 501).await.refused(409, "too_large");
    write("d.txt", 1_001).await.refused(409, "too_large");
    assert_eq!(write("c.txt", 500).await.status, 204);
    // What is replaced makes room for what replaces it.
    assert_eq!(write("a.txt", 1_000).await.status, 204);
    write("e.txt", 1).await.refused(409, "too_large");
    assert_eq!(get(&server, "/reports?path=b.txt").await, json!("x".repeat(1_000)));
    let mut names: Vec<_> = fs::read_dir(directory.path().join("hands/files/reports"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a.txt", "b.txt", "c.txt"], "nothing half-written is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_directory_that_is_not_there_stops_the_start_with_the_command_that_makes_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = patient();
    config.plugins.files_directory = directory.path().to_owned();
    let fault = Server::try_with(guests(&["hands"]).await, &config).await.unwrap_err().to_string();
    assert!(fault.contains("hands/files/reports") && fault.contains("fix: mkdir -p "), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_route_gives_the_bytes_as_they_came_and_no_credential() {
    let (server, _files) = hands().await;
    let client = server.anonymous();
    let body = "{ \"amount\" : 5.0,\n\"amount\": 6 }";
    let signature = client.post("/api/v1/hands/sign", &json!(body)).await.expect(200).text("");
    let send = async |headers: &[(&str, &str)], body: &[u8]| {
        client.send("POST", "/api/v1/hands/webhook", headers, bytes::Bytes::copy_from_slice(body)).await
    };
    let answer = send(&[("X-Signature", &signature), ("cookie", "a=b"), ("x-event", "paid")], body.as_bytes()).await;
    assert_eq!(answer.json[0], json!(true), "{answer:?}");
    let names: Vec<&str> = answer.json[1].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.contains(&"x-event") && !names.contains(&"cookie"), "{names:?}");
    // One byte more, twice the header, none, another one: not signed.
    let other = [body, " "].concat();
    assert_eq!(send(&[("x-signature", &signature)], other.as_bytes()).await.json[0], json!(false));
    let twice = [("x-signature", signature.as_str()), ("x-signature", &signature)];
    assert_eq!(send(&twice, body.as_bytes()).await.json[0], json!(false));
    assert_eq!(send(&[], body.as_bytes()).await.json[0], json!(false));
    send(&[("x-signature", &signature)], b"\xff").await.refused(400, "malformed");
    // With a token, the guest still sees none.
    let person = server.person("USER").await.client;
    let answer = person.send("POST", "/api/v1/hands/webhook", &[], bytes::Bytes::new()).await.expect(200);
    assert!(!answer.json[1].as_array().unwrap().contains(&json!("authorization")), "{answer:?}");
}
