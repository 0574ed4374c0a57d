//! What a person does about their own account is an event: by letter, with a second factor, with a password that is wrong.
//! No ticket, code or address is in any.

use harness::server::{PASSWORD, Person, Server, patient};
use serde_json::{Value, json};

use super::{during, one};
use crate::{factor::with_factor, node::eventually};

const OTHER: &str = "walnut-signal-orbit-77";

/// A host that spools letters, as `dev` does.
struct Desk {
    server: Server,
    spool: tempfile::TempDir,
}

impl Desk {
    async fn open() -> Self {
        let spool = tempfile::tempdir().unwrap();
        let mut config = patient();
        config.mail.spool = spool.path().to_owned();
        config.mail.link = "https://dine.example/account".to_owned();
        Self { server: Server::try_with(Vec::new(), &config).await.unwrap(), spool }
    }

    fn letters(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.spool.path()).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    /// The ticket in the letter for `word`.
    async fn ticket(&self, word: &str) -> String {
        let mark = format!("#{word}=");
        let found = || self.letters().into_iter().find(|letter| letter.contains(&mark) && letter.ends_with('\n'));
        eventually("a letter", || found().is_some()).await;
        let letter = found().unwrap();
        letter.split(&mark).nth(1).unwrap().split('\n').next().unwrap().to_owned()
    }
}

/// Nobody is named but by id, and nothing that opens anything is there.
fn tells_nothing(event: &Value, secrets: &[&str]) {
    let text = event.to_string();
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_by_letter_is_an_event_of_whom_it_was_done_to() {
    let desk = Desk::open().await;
    let server = &desk.server;
    let (anna, nobody) = (server.person("USER").await, server.anonymous());
    let email = anna.account.email.clone();
    // Asking says nothing, whoever asks: anybody can.
    let asked = during(server, async {
        for address in [email.as_str(), "nobody@example.org"] {
            let _ = nobody.post("/api/v1/auth/password/forgot", &json!({"email": address})).await.expect(202);
        }
    });
    assert_eq!(asked.await, Vec::<Value>::new());
    let ticket = desk.ticket("reset").await;
    let body = json!({"token": ticket, "password": OTHER});
    let reset = async { assert_eq!(nobody.post("/api/v1/auth/password/reset", &body).await.status, 204) };
    let reset = one(server, "authentication.ended", reset).await;
    assert_eq!((&reset["actor"], &reset["scope"]), (&json!(anna.id()), &json!("account")));
    // A ticket that was used is a mistake of its client's: no event, and no more than one password.
    let again = async { assert_eq!(nobody.post("/api/v1/auth/password/reset", &body).await.status, 422) };
    assert_eq!(during(server, again).await, Vec::<Value>::new());
    let client = server.login(&email, OTHER).await;
    let move_to = json!({"email": "elsewhere@example.org"});
    let asked = async { assert_eq!(client.post("/api/v1/auth/email", &move_to).await.status, 202) };
    assert_eq!(during(server, asked).await, Vec::<Value>::new());
    let moving = desk.ticket("email").await;
    let confirm = json!({"token": moving});
    let moved = async { assert_eq!(nobody.post("/api/v1/auth/email/confirm", &confirm).await.status, 204) };
    let moved = one(server, "account.moved", moved).await;
    assert_eq!(moved["actor"], json!(anna.id()));
    for event in [&reset, &moved] {
        tells_nothing(event, &[&ticket, &moving, &email, "elsewhere@example.org", OTHER]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_is_an_event_wherever_it_is_asked_for() {
    let server = Server::try_with(Vec::new(), &patient()).await.unwrap();
    let Person { account, client } = server.person("USER").await;
    let wrong = json!({"current_password": "not it", "password": OTHER});
    let tried = async { client.put("/api/v1/auth/password", &wrong).await.refused(401, "wrong_credentials") };
    let tried = one(&server, "authentication.failed", tried).await;
    let told = (&tried["actor"], &tried["why"], &tried["outcome"]);
    assert_eq!(told, (&json!(account.id), &json!("password"), &json!("refused")));
    let stepped = async {
        client.post("/api/v1/auth/step-up", &json!({"password": "not it"})).await.refused(401, "wrong_credentials")
    };
    let stepped = one(&server, "authentication.failed", stepped).await;
    assert_eq!(stepped["why"], "password");
    let right = json!({"current_password": PASSWORD, "password": OTHER});
    let changed = async { assert_eq!(client.put("/api/v1/auth/password", &right).await.status, 200) };
    let changed = one(&server, "authentication.ended", changed).await;
    assert_eq!(changed["scope"], "account");
    tells_nothing(&changed, &[PASSWORD, OTHER]);
    let client = server.login(&account.email, OTHER).await;
    let off = async { assert_eq!(client.act("/api/v1/auth/deactivate").await.status, 204) };
    assert_eq!(one(&server, "authentication.ended", off).await["actor"], json!(account.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_second_factor_is_an_event() {
    let server = Server::try_with(Vec::new(), &patient()).await.unwrap();
    let anna = server.person("USER").await;
    let mut pass = None;
    let found = during(&server, async { pass = Some(with_factor(&server, &anna).await) }).await;
    let told: Vec<(&str, &str)> =
        found.iter().map(|event| (event["kind"].as_str().unwrap(), event["outcome"].as_str().unwrap())).collect();
    // Turned on; half a login is none; the whole one; the same recovery code once more.
    assert_eq!(
        told,
        [("authentication.ended", "done"), ("authentication.passed", "done"), ("authentication.failed", "refused")]
    );
    assert_eq!(found[1]["actor"], json!(anna.id()));
    assert_eq!(found[2]["why"], "code");
    let (half, client) = pass.unwrap();
    let whole = client.token.clone().unwrap();
    for event in &found {
        tells_nothing(event, &[&half, &whole, &anna.account.email]);
    }
    let weak = async {
        client.post("/api/v1/auth/step-up", &json!({"password": PASSWORD})).await.refused(403, "factor_is_needed");
    };
    assert_eq!(one(&server, "request.denied", weak).await["route"], "POST /api/v1/auth/step-up");
    let guessed = async {
        client
            .post("/api/v1/auth/step-up", &json!({"recovery_code": "aaaa-bbbb-cccc-dddd"}))
            .await
            .refused(401, "wrong_code");
    };
    assert_eq!(one(&server, "authentication.failed", guessed).await["why"], "code");
    let opened = async { client.with_token(&half).get("/api/v1/auth/me").await.refused(401, "unauthenticated") };
    assert_eq!(one(&server, "authentication.failed", opened).await["outcome"], "refused");
    let guessing = during(&server, async {
        let login = json!({"email": anna.account.email, "password": PASSWORD});
        let half = server.anonymous().post("/api/v1/auth/login", &login).await.expect(200).text("/mfa_token");
        let guess = json!({"mfa_token": half, "code": "000000"});
        while server.anonymous().post("/api/v1/auth/login/mfa", &guess).await.status != 429 {}
    })
    .await;
    let last = guessing.last().unwrap();
    assert_eq!((&last["kind"], &last["limit"]), (&json!("request.throttled"), &json!("factor")));
    let off = async { assert_eq!(client.delete("/api/v1/auth/mfa/totp").await.status, 200) };
    assert_eq!(one(&server, "authentication.ended", off).await["actor"], json!(anna.id()));
}
