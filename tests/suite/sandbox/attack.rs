//! What each guest does, and what must come of it.

use harness::server::{Server, features, guests};
use serde_json::json;
use uuid::Uuid;

pub(super) use crate::wasi::{wasi_greedy, wasi_sockets, wasi_std, wasi_ungranted};

use super::{act, beside, beside_all, faulted, holds_nothing, is_well, limited, stopped, withstands, withstands_many};

pub(super) async fn spin() {
    let server = beside("spin").await;
    withstands(&server, "spin", &[stopped("POST", "/api/v1/spin/spin", "cpu_ms")]).await;
}

pub(super) async fn late() {
    let server = beside("late").await;
    // They take wall time and yield: many at once take no longer than a few.
    withstands_many(&server, "late", &[stopped("POST", "/api/v1/late/spin", "deadline_ms")], 32).await;
}

pub(super) async fn start_spin() {
    let server = beside("start_spin").await;
    withstands(&server, "start_spin", &[stopped("GET", "/api/v1/start_spin/answer", "cpu_ms")]).await;
}

pub(super) async fn memory_bomb() {
    let server = beside("memory_bomb").await;
    let client = server.anonymous();
    // Asked politely, memory.grow says no at the guest's 8 MiB, and the guest lives.
    let grown = act(&client, "/api/v1/memory_bomb/grow").await.expect(200);
    assert!((64..128).contains(&grown.json.as_u64().unwrap()), "{grown:?}");
    let small = client.get("/api/v1/memory_bomb/text?size_bytes=1000").await.expect(200);
    assert_eq!(small.json.as_str().unwrap().len(), 1_000);
    let few = client.get("/api/v1/memory_bomb/aliased?times=2").await.expect(200);
    assert_eq!(few.json.as_array().unwrap().len(), 2);
    let attacks = [
        stopped("POST", "/api/v1/memory_bomb/fill", "memory_bytes"),
        stopped("GET", "/api/v1/memory_bomb/text?size_bytes=7000000", "hostcall_bytes"),
        // 1,600 texts of 64 KiB, all of them the same bytes: 100 MiB for the host if it copied them.
        stopped("GET", "/api/v1/memory_bomb/aliased?times=1600", "hostcall_bytes"),
        faulted("GET", "/api/v1/memory_bomb/claim?size_bytes=104857600"),
        stopped("POST", "/api/v1/memory_bomb/bulk", "cpu_ms"),
    ];
    withstands(&server, "memory_bomb", &attacks).await;
}

pub(super) async fn recursion() {
    let server = beside("recursion").await;
    let client = server.anonymous();
    assert_eq!(client.get("/api/v1/recursion/deep?depth=100").await.expect(200).json, json!(100));
    assert_eq!(client.get("/api/v1/recursion/sink?depth=1000").await.expect(200).status, 200);
    let attacks = [
        // Its own stack is in its memory, and is the smaller one.
        faulted("GET", "/api/v1/recursion/deep?depth=100000000"),
        stopped("GET", "/api/v1/recursion/sink?depth=100000000", "stack"),
    ];
    withstands(&server, "recursion", &attacks).await;
}

pub(super) async fn handles() {
    let server = beside("handles").await;
    assert_eq!(act(&server.anonymous(), "/api/v1/handles/hoard?count=90").await.expect(200).json, json!(90));
    let attacks = [
        stopped("POST", "/api/v1/handles/hoard?count=1000000", "handles_max"),
        stopped("POST", "/api/v1/handles/drop-spin", "cpu_ms"),
        faulted("POST", "/api/v1/handles/drop-trap"),
        faulted("POST", "/api/v1/handles/stale"),
        // Of the greatest number there is, its own side makes nothing: it stands for a handle that was moved away.
        faulted("POST", "/api/v1/handles/guess?handle=1"),
        faulted("POST", "/api/v1/handles/guess?handle=4660"),
        faulted("POST", "/api/v1/handles/guess?handle=4294967294"),
        faulted("POST", "/api/v1/handles/peek?handle=1"),
        faulted("POST", "/api/v1/handles/peek?handle=4294967294"),
    ];
    withstands(&server, "handles", &attacks).await;
}

/// `take` of a text of so many bytes, as a path.
fn taking(bytes: usize) -> &'static str {
    format!("/api/v1/liar/take?text={}", "x".repeat(bytes)).leak()
}

pub(super) async fn liar() {
    let server = beside("liar").await;
    let client = server.anonymous();
    // The sizes around those that it lies about.
    for bytes in [600, 608, 700, 704] {
        assert_eq!(act(&client, taking(bytes)).await.expect(200).json, json!(bytes));
        let given = act(&client, &format!("/api/v1/liar/give?bytes={bytes}")).await.expect(200);
        assert_eq!(given.json.as_str().unwrap().len(), bytes);
    }
    // Two arguments at one place: it fools itself and nobody else.
    let (first, second) = ("a".repeat(603), "b".repeat(603));
    let fooled = act(&client, &format!("/api/v1/liar/both?first={first}&second={second}")).await.expect(200);
    assert_eq!(fooled.json, json!("bb"));
    let crooked = "/api/v1/liar/crooked?a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=10&k=11&l=12";
    let attacks = [
        faulted("POST", taking(601)),
        faulted("POST", taking(602)),
        stopped("POST", taking(604), "cpu_ms"),
        faulted("POST", taking(605)),
        faulted("POST", taking(606)),
        stopped("POST", taking(607), "memory_bytes"),
        faulted("POST", crooked),
        stopped("POST", "/api/v1/liar/give?bytes=701", "cpu_ms"),
        faulted("POST", "/api/v1/liar/give?bytes=702"),
        faulted("POST", "/api/v1/liar/give?bytes=703"),
    ];
    withstands(&server, "liar", &attacks).await;
}

pub(super) async fn glutton() {
    let server = beside("glutton").await;
    let client = server.anonymous();
    let path = |rest: &str| format!("/api/v1/glutton/{rest}");
    assert_eq!(act(&client, &path("scatter")).await.expect(200).json, json!(10));
    // As much as each limit allows …
    assert_eq!(client.get(&path("statements?times=5")).await.expect(200).json, json!(10));
    assert_eq!(client.get(&path("rows?times=2")).await.expect(200).json, json!(20));
    assert_eq!(act(&client, &path("word?bytes=60000")).await.status, 204);
    assert_eq!(act(&client, &path("lines?times=3")).await.status, 204);
    // … and more.
    stopped("POST", "/api/v1/glutton/linger", "deadline_ms").once(&server, "glutton").await;
    stopped("GET", "/api/v1/glutton/ponder", "database_ms").once(&server, "glutton").await;
    let attacks = [
        stopped("GET", "/api/v1/glutton/statements?times=6", "statements_max"),
        stopped("GET", "/api/v1/glutton/rows?times=3", "rows_max"),
        stopped("POST", "/api/v1/glutton/word?bytes=70000", "hostcall_bytes"),
        limited("GET", "/api/v1/glutton/words", 503, "row_bytes_max"),
        limited("POST", "/api/v1/glutton/lines?times=20", 204, "log_lines_max"),
    ];
    withstands(&server, "glutton", &attacks).await;
}

pub(super) async fn ping() {
    let server = beside_all(&["ping", "pong"]).await;
    let client = server.anonymous();
    assert_eq!(client.get("/api/v1/ping/flood?times=8").await.expect(200).json, json!(8));
    let attacks =
        [faulted("GET", "/api/v1/ping/circle"), stopped("GET", "/api/v1/ping/flood?times=1000", "nested_calls_max")];
    withstands(&server, "ping", &attacks).await;
}

/// What it calls is not installed: nothing runs of it.
pub(super) async fn pong() {
    let refused = Server::try_with(guests(&["pong"]).await, &Default::default()).await.unwrap_err().to_string();
    assert!(refused.contains("pong: import `dinehub:ping/court@1.0.0`"), "{refused}");
    is_well(&beside_all(&["ping", "pong"]).await, "pong").await;
}

pub(super) async fn trap() {
    let server = beside("trap").await;
    let client = server.anonymous();
    let tally = async || client.get("/api/v1/trap/tally").await.expect(200).json;
    assert_eq!(act(&client, "/api/v1/trap/add?name=kept").await.expect(200).json, json!(1));
    assert_eq!(tally().await, json!(1));
    act(&client, "/api/v1/trap/add-then-refuse?name=b").await.refused(409, "changed_its_mind");
    let attacks = [
        faulted("POST", "/api/v1/trap/add-then-trap?name=a"),
        stopped("POST", "/api/v1/trap/add-then-spin?name=c", "cpu_ms"),
        // `ok` after a failed statement: PostgreSQL would acknowledge a COMMIT that wrote nothing.
        faulted("POST", "/api/v1/trap/fail-then-succeed?name=d"),
    ];
    withstands(&server, "trap", &attacks).await;
    assert_eq!(tally().await, json!(1), "nothing but the first mark was ever committed");
}

pub(super) async fn state() {
    let server = beside("state").await;
    let client = server.anonymous();
    for _ in 0..100 {
        assert_eq!(act(&client, "/api/v1/state/count").await.expect(200).json, json!(1));
        assert_eq!(act(&client, "/api/v1/state/stain").await.expect(200).json, json!(0));
    }
    holds_nothing(&server).await;
}

pub(super) async fn hands() {
    let (_directory, config) = crate::handle::directories();
    let mut packages = features().await;
    packages.extend(guests(&["hands"]).await);
    let server = Server::try_with(packages, &config).await.unwrap();
    let client = server.anonymous();
    // Every way out of a granted directory is a file that is not there.
    for path in
        ["../../plugin.toml", "/etc/passwd", "escape.txt", "..", ".", "", "a/../../reports/x", "%2e%2e/x", "nul"]
    {
        for handle in ["shelf", "reports"] {
            let answer = client.get(&format!("/api/v1/hands/{handle}?path={path}")).await;
            assert_eq!((answer.status, answer.code()), (409, "missing"), "{handle} {path:?}: {answer:?}");
        }
        let answer = client.post(&format!("/api/v1/hands/reports?path={path}"), &json!("mine")).await;
        let is_a_name = ["escape.txt", "nul"].contains(&path);
        assert_eq!(answer.status, if is_a_name { 204 } else { 409 }, "{path:?}: {answer:?}");
    }
    // More than the quota is one event; a secret that is used is one, and its value is in none.
    let found = crate::audit::during(&server, async {
        for name in ["a", "b", "c"] {
            let text = json!("x".repeat(1_000));
            let _ = client.post(&format!("/api/v1/hands/reports?path={name}.txt"), &text).await;
        }
        let _ = client.post("/api/v1/hands/sign", &json!("a word")).await.expect(200);
    });
    let found = found.await;
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!((&found[0]["kind"], &found[0]["limit"]), (&json!("plugin.limited"), &json!("quota_bytes")));
    let (kind, secret, how) = (&found[1]["kind"], &found[1]["secret"], &found[1]["how"]);
    assert_eq!((kind, secret, how), (&json!("secret.used"), &json!("seal"), &json!("sign")));
    let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
    let _ = client.get("/api/v1/hands/shelf?path=greeting.txt").await.expect(200);
    holds_nothing(&server).await;
}

pub(super) async fn deaf() {
    crate::event::a_deaf_subscriber_troubles_nobody().await;
}

/// Neither breaks a promise; served together they must keep theirs.
pub(super) async fn elder() {
    crate::versions::served_side_by_side().await;
}

pub(super) async fn elder_v2() {
    let server = beside("elder_v2").await;
    let count = server.anonymous().get("/api/v2/elder/notes/count?kind=plain").await.expect(200);
    assert_eq!(count.json, json!(0), "the second serves without the first as well");
}

pub(super) async fn herald() {
    crate::event::a_flood_publishes_nothing().await;
}

pub(super) async fn listener() {
    crate::event::effect_and_mark_are_one().await;
}

pub(super) async fn parrot() {
    crate::event::a_chain_of_events_ends().await;
}

pub(super) async fn ticker() {
    crate::schedule::a_failed_run_leaves_nothing().await;
}

pub(super) async fn ungranted() {
    let refused = Server::try_with(guests(&["ungranted"]).await, &Default::default()).await.unwrap_err().to_string();
    assert!(refused.contains("import `wasi:random/random@"), "{refused}");
    assert!(refused.contains("is not granted") && refused.contains("fix:"), "{refused}");
}

pub(super) async fn thief() {
    let mut packages = features().await;
    packages.extend(guests(&["thief"]).await);
    let refused = Server::try_with(packages, &Default::default()).await.unwrap_err().to_string();
    assert!(refused.contains("thief: import `dinehub:ordering-data/orders`"), "{refused}");
    assert!(refused.contains("is not granted"), "{refused}");
}

pub(super) async fn forger() {
    let server = beside("forger").await;
    let (ann, bob) = (server.person("USER").await, server.person("USER").await);
    let secret = json!({"words": "ann's alone"});
    let kept = ann.client.post("/api/v1/forger/secrets", &secret).await.expect(200);
    assert_eq!(kept.json, json!(ann.id()));
    // A parameter that is called like the caller is a parameter.
    let claim = json!({"caller_id": ann.id(), "words": "planted"});
    let planted = bob.client.post("/api/v1/forger/secrets-for", &claim).await;
    assert!(planted.status >= 400, "bob writes as ann: {planted:?}");
    let of_ann = format!("/api/v1/forger/secrets-of?caller_id={}", ann.id());
    assert_eq!(bob.client.get(&of_ann).await.expect(200).json, json!([]));
    assert_eq!(ann.client.get(&of_ann).await.expect(200).json, json!(["ann's alone"]));
    assert_eq!(act(&bob.client, "/api/v1/forger/inject").await.expect(200).json, json!(0));
    let known = bob.client.get("/api/v1/forger/whoami").await.expect(200);
    for way in ["claimed", "bound", "known"] {
        assert_eq!(known.json[way], json!(bob.id()), "{way}");
    }
    let nobody = server.anonymous().get("/api/v1/forger/whoami").await.expect(200);
    assert_eq!(nobody.json["kind"], "anonymous");
    assert_eq!(nobody.json["known"], json!(Uuid::nil().to_string()));
    holds_nothing(&server).await;
}

pub(super) async fn echo() {
    let server = beside("echo").await;
    let client = server.anonymous();
    for (path, value) in [
        ("bool", json!(true)),
        ("s8", json!(-128)),
        ("u16", json!(65_535)),
        ("s64", json!(9_007_199_254_740_991_i64)),
        ("string", json!("tabs\tand \"quotes\" and <angles> and 日本")),
    ] {
        assert_eq!(client.post(&format!("/api/v1/echo/{path}"), &value).await.expect(200).json, value, "{path}");
    }
    for (path, value) in [("bool", json!(1)), ("s8", json!(128)), ("s64", json!(9_007_199_254_740_992_i64))] {
        client.post(&format!("/api/v1/echo/{path}"), &value).await.refused(422, "invalid");
    }
    holds_nothing(&server).await;
}
