//! The filter behind the socket: what looks like an attack is refused before anything else, and nobody honest is (S35).

use std::fs;

use bytes::Bytes;
use dinehub::{
    command::seed,
    config::{Config, Filter},
};
use harness::{
    server::{Server, root},
    wire::Wire,
};
use serde_json::json;

use crate::{
    audit::events,
    order::{Kitchen, ORDERS, place},
};

const RULES: &str = "host/src/http/filter/rules.toml";

fn with(mode: &str, rules: Option<&std::path::Path>) -> Config {
    let filter = Filter { mode: mode.to_owned(), rules_file: rules.map(Into::into).unwrap_or_default() };
    Config { filter, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_is_refused_before_it_is_anybodys_and_says_no_rule() {
    let server = Server::start().await;
    let forger = server.anonymous().with_token("guess");
    for target in [
        "/api/v1/restaurants?text=1'%20or%20'1'='1",
        "/api/v1/restaurants?text=%3Cscript%3Ealert(1)%3C/script%3E",
        "/docs/..%2f..%2fetc/passwd",
        "/.git/config",
        "/wp-login.php",
        "/nowhere?x=../../etc/passwd",
    ] {
        let refused = forger.get(target).await;
        refused.refused(403, "filtered");
        assert!(!String::from_utf8_lossy(&refused.bytes).contains("rule"), "what was noticed is not told");
        assert!(refused.header("content-security-policy").is_some());
    }
    let agent = [("user-agent", "sqlmap/1.7.2#stable (https://sqlmap.org)")];
    forger.send("GET", "/api/v1/restaurants", &agent, Bytes::new()).await.refused(403, "filtered");
    let mut wire = Wire::open(server.address).await;
    assert!(wire.send("GET /a/../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await);
    assert_eq!(wire.answer().await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_lets_it_pass_and_off_is_off_and_each_hit_is_an_event() {
    let attack = "/api/v1/restaurants?text=1'%20or%20'1'='1";
    for (mode, status, told) in [("on", 403, &["block"][..]), ("report", 200, &["report"]), ("off", 200, &[])] {
        let server = Server::configured(&with(mode, None)).await;
        let _ = server.anonymous().get(attack).await.expect(status);
        let mut events = events(&server).await;
        events.retain(|event| event["kind"] == "request.filtered");
        let modes: Vec<&str> = events.iter().filter_map(|event| event["mode"].as_str()).collect();
        assert_eq!(modes, told, "{mode}");
        assert!(
            events.iter().all(|event| event["rule"] == "sql-injection" && event["source"] == "127.0.0.1"),
            "{events:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_rules_take_the_place_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.toml");
    fs::write(
        &rules,
        "[[rule]]\nid = \"no-swearing\"\nwhat = \"Somebody swears.\"\nmode = \"block\"\nlook = [\"body\"]\npatterns = ['(?i)blast']\n\
         [[rule]]\nid = \"closed\"\nwhat = \"This part is closed.\"\nmode = \"block\"\nlook = [\"path\"]\nbelow = \"/api/v1/admin\"\n",
    )
    .unwrap();
    let server = Server::configured(&with("on", Some(&rules))).await;
    let client = server.anonymous();
    let login = |password: &str| json!({"email": "a@example.com", "password": password});
    client.post("/api/v1/auth/login", &login("Blast and bother")).await.refused(403, "filtered");
    client.post("/api/v1/auth/login", &login("bless and bother")).await.refused(401, "wrong_credentials");
    client.get("/api/v1/admin/users/x/roles").await.refused(403, "filtered");
    let _ = client.get("/api/v1/restaurants?text=1'%20or%20'1'='1").await.expect(200);
    fs::write(&rules, "[[rule]]\nid = \"x\"\n").unwrap();
    let fault = Server::try_with(vec![], &with("on", Some(&rules))).await.map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains("rules.toml") && fault.contains("what"), "{fault}");
    let fault = Server::try_with(vec![], &with("maybe", None)).await.map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains("filter.mode"), "{fault}");
}

/// The demo city, browsed and ordered from, with every rule blocking that would only report.
#[tokio::test(flavor = "multi_thread")]
async fn honest_traffic_passes_every_rule() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.toml");
    let text = fs::read_to_string(root().join(RULES)).unwrap();
    assert!(text.contains("mode = \"report\""));
    fs::write(&rules, text.replace("mode = \"report\"", "mode = \"block\"")).unwrap();
    let server = Server::configured(&with("on", Some(&rules))).await;
    let mark = directory.path().join("seeded");
    let address = server.address.to_string();
    let seeded = seed::run(&root().join("plugins/seed.json"), &address, &server.app().identity, &mark).await;
    let logins = seeded.unwrap_or_else(|fault| panic!("{fault}"));
    let somebody = server.login(&logins[0].email, &logins[0].password).await;
    for text in [
        "O'Brien & Sons",
        "fish and chips",
        "50% off",
        "a \"good\" one; or two",
        "x<3",
        "汉字 🍕",
        "select a table",
        "C++ #1",
    ] {
        let encoded: String = form(text);
        let _ = somebody.get(&format!("/api/v1/restaurants?text={encoded}&limit=3")).await.expect(200);
    }
    let page = somebody.get("/api/v1/restaurants?limit=1").await.expect(200);
    let cursor = page.text("/next_cursor");
    let _ = somebody.get(&format!("/api/v1/restaurants?limit=1&cursor={cursor}")).await.expect(200);
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let order = place(&customer, &kitchen).await;
    let mut body = kitchen.order(1, 1);
    body["note"] = json!("no onions; the bell's broken -- knock! <3 (select the big table)");
    let _ = customer.post(ORDERS, &body).await.expect(201);
    let _ = kitchen.owner.client.act(&format!("{ORDERS}/{order}/accept")).await.expect(200);
    let _ = customer.get(&format!("{ORDERS}?from=2026-11-23T20:30:00%2B02:00&limit=5")).await.expect(200);
    for path in ["/docs/index.html", "/docs/swagger-ui.css", "/openapi.json"] {
        let _ = customer.get(path).await.expect(200);
    }
}

/// As a browser's form sends it.
fn form(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
