//! The second factor: half a login opens nothing, a code is taken once by whoever is first, and what lies in the database
//! is of no use to whoever reads it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dinehub::{
    error::{Error, Unassured, Unproven},
    identity::{
        Identity, Policy,
        clock::Clock,
        factor::Proof,
        login::{Login, Pass},
        session::Origin,
        throttle::{Doors, Waits},
    },
};
use harness::{
    client::Client,
    database::connect,
    server::{PASSWORD as HARNESS_PASSWORD, Person, Server},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use totp_rs::{Builder, Secret, Totp};

use crate::node::{Ground, HOME, PASSWORD, actor, anna_at, is_revoked, role};

const NOW_S: u64 = 1_800_000_000;

fn patient() -> Waits {
    Waits { source_free: 900, pair_free: 900, account_free: 900, ..Waits::default() }
}

/// A node whose clock is turned by hand.
async fn node(ground: &Ground, factor: Waits) -> (Identity, Arc<AtomicU64>) {
    let now_s = Arc::new(AtomicU64::new(NOW_S));
    let doors = Doors { password: patient(), factor, mail: patient() };
    let policy = Policy { newcomer: vec![role("USER")], clock: Clock::hand(now_s.clone()), doors, ..Policy::default() };
    (ground.node_with(&ground.ring, policy).await, now_s)
}

fn home() -> Origin {
    HOME.into()
}

fn authenticator(base32: &str) -> Totp {
    Builder::new().with_secret(Secret::try_from_base32(base32).unwrap()).build().unwrap()
}

fn code(authenticator: &Totp, at_s: u64) -> SecretString {
    authenticator.generate(at_s).to_string().into()
}

/// Turns the factor on. The code of the present step is burnt by it.
async fn enrol(node: &Identity, pass: &Pass, now_s: u64) -> (Totp, Pass, Vec<SecretString>) {
    let who = actor(node, pass).unwrap();
    let totp = authenticator(node.enrol_totp(&who).await.unwrap().secret.expose_secret());
    let (pass, codes) = node.confirm_totp(&who, &code(&totp, now_s), &home()).await.unwrap();
    (totp, pass, codes)
}

async fn half(node: &Identity) -> SecretString {
    match node.login("anna@example.org", PASSWORD.into(), HOME).await.unwrap() {
        Login::Pending(pending) => pending.token.text,
        Login::Done(pass) => panic!("no factor was asked for: {pass:?}"),
    }
}

fn is_wrong<T: std::fmt::Debug>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unauthenticated(Unproven::Code)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_code_lets_one_of_sixty_four_in() {
    let ground = Ground::fresh().await;
    let (node, now_s) = node(&ground, patient()).await;
    let other = ground.node_with(
        &ground.ring,
        Policy {
            clock: Clock::hand(now_s.clone()),
            doors: Doors { password: patient(), factor: patient(), mail: patient() },
            ..Policy::default()
        },
    );
    let other = other.await;
    let pass = anna_at(&node).await;
    let (totp, _, _) = enrol(&node, &pass, NOW_S).await;
    now_s.store(NOW_S + 30, Ordering::Release);
    let mut pending = Vec::new();
    for _ in 0..4 {
        pending.push(half(&node).await);
    }
    let proof = Proof::Totp(code(&totp, NOW_S + 30));
    let tries = (0..64).map(|at| {
        let (node, pending, proof) = (if at % 2 == 0 { &node } else { &other }, &pending[at % 4], proof.clone());
        async move { node.finish_login(pending, &proof, &home()).await }
    });
    let answers = futures::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(answers.iter().filter(|answer| answer.is_err()).all(is_wrong), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pending_token_is_finished_once_whatever_proves_it() {
    let ground = Ground::fresh().await;
    let (node, _) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    let (_, _, codes) = enrol(&node, &pass, NOW_S).await;
    let pending = half(&node).await;
    let tries = codes.iter().map(|code| {
        let (node, pending, proof) = (&node, &pending, Proof::Recovery(code.clone()));
        async move { node.finish_login(pending, &proof, &home()).await }
    });
    let answers = futures::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn no_code_of_a_burnt_step_or_of_one_before_is_taken() {
    let ground = Ground::fresh().await;
    let (node, now_s) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    let (totp, _, _) = enrol(&node, &pass, NOW_S).await;
    let pending = half(&node).await;
    let try_code = async |at_s| node.finish_login(&pending, &Proof::Totp(code(&totp, at_s)), &home()).await;
    assert!(is_wrong(&try_code(NOW_S).await), "burnt by turning the factor on");
    now_s.store(NOW_S + 60, Ordering::Release);
    assert!(is_wrong(&try_code(NOW_S + 120).await), "two steps ahead");
    assert!(is_wrong(&try_code(NOW_S).await), "two steps behind");
    try_code(NOW_S + 90).await.unwrap();
    let pending = half(&node).await;
    for at_s in [NOW_S + 30, NOW_S + 60, NOW_S + 90] {
        let answer = node.finish_login(&pending, &Proof::Totp(code(&totp, at_s)), &home()).await;
        assert!(is_wrong(&answer), "in the window, and not after the burnt one: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_kind_of_token_does_not_finish_as_another() {
    let ground = Ground::fresh().await;
    let (node, now_s) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    let (totp, pass, _) = enrol(&node, &pass, NOW_S).await;
    now_s.store(NOW_S + 30, Ordering::Release);
    let right = Proof::Totp(code(&totp, NOW_S + 30));
    let answer = node.finish_login(&pass.access.text, &right, &home()).await;
    assert!(matches!(answer, Err(Error::Unauthenticated(Unproven::Forged))), "{answer:?}");
    let pending = half(&node).await;
    now_s.store(NOW_S + 331, Ordering::Release);
    let late = Proof::Totp(code(&totp, NOW_S + 331));
    let answer = node.finish_login(&pending, &late, &home()).await;
    assert!(matches!(answer, Err(Error::Unauthenticated(Unproven::Expired))), "{answer:?}");
    let pending = half(&node).await;
    node.logout_all(&actor(&node, &pass).unwrap()).await.unwrap();
    let answer = node.finish_login(&pending, &late, &home()).await;
    assert!(matches!(answer, Err(Error::Unauthenticated(Unproven::Revoked))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn turning_the_factor_on_or_off_ends_every_other_token() {
    let ground = Ground::fresh().await;
    let (node, _) = node(&ground, patient()).await;
    let (one, two) = (anna_at(&node).await, crate::node::login(&node).await);
    let (_, on, _) = enrol(&node, &one, NOW_S).await;
    assert!(is_revoked(&node, &one) && is_revoked(&node, &two));
    assert_eq!(on.session, one.session, "the session goes on");
    let off = node.remove_totp(&actor(&node, &on).unwrap()).await.unwrap();
    assert!(is_revoked(&node, &on));
    assert_eq!(node.factors(&actor(&node, &off).unwrap()).await.unwrap().recovery_codes_left, 0);
    let again = node.remove_totp(&actor(&node, &off).unwrap()).await;
    assert!(matches!(again, Err(Error::NotFound)), "{again:?}");
    assert!(actor(&node, &crate::node::login(&node).await).is_ok(), "by the password alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_secret_asks_for_nothing_until_it_is_confirmed_and_is_not_replaced_afterwards() {
    let ground = Ground::fresh().await;
    let (node, _) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    let who = actor(&node, &pass).unwrap();
    let first = node.enrol_totp(&who).await.unwrap();
    assert!(first.uri.expose_secret().starts_with("otpauth://totp/DineHub:anna%40example.org?secret="));
    assert!(
        first.qr_svg.expose_secret().contains("<svg") && !format!("{first:?}").contains(first.secret.expose_secret())
    );
    crate::node::login(&node).await;
    let second = node.enrol_totp(&who).await.unwrap();
    let stale = code(&authenticator(first.secret.expose_secret()), NOW_S);
    assert!(is_wrong(&node.confirm_totp(&who, &stale, &home()).await.map(|_| ())), "of the secret before");
    let totp = authenticator(second.secret.expose_secret());
    let (on, codes) = node.confirm_totp(&who, &code(&totp, NOW_S), &home()).await.unwrap();
    assert_eq!(codes.len(), 10);
    let who = actor(&node, &on).unwrap();
    assert_eq!(node.enrol_totp(&who).await.unwrap_err().code(), "totp_is_on");
    let again = node.confirm_totp(&who, &code(&totp, NOW_S + 30), &home()).await;
    assert!(matches!(again, Err(Error::NotFound)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_recovery_code_works_once_and_for_its_owner_alone() {
    let ground = Ground::fresh().await;
    let (node, _) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    let (_, pass, codes) = enrol(&node, &pass, NOW_S).await;
    let try_code = async |code: &SecretString| {
        node.finish_login(&half(&node).await, &Proof::Recovery(code.clone()), &home()).await
    };
    for none in ["", "aaaa-aaaa-aaaa-aaaa", &"a".repeat(5000)] {
        assert!(is_wrong(&try_code(&none.to_owned().into()).await), "{none:?}");
    }
    try_code(&codes[0]).await.unwrap();
    assert!(is_wrong(&try_code(&codes[0]).await), "used");
    let left = node.factors(&actor(&node, &pass).unwrap()).await.unwrap();
    assert_eq!((left.has_totp, left.recovery_codes_left), (true, 9));
    ground
        .sql(
            "insert into dinehub.account (id, email, name, password_hash, roles)
              select gen_random_uuid(), 'ben@example.org', 'Ben', password_hash, roles from dinehub.account;
              insert into dinehub.recovery_code (account_id, code_hash)
              select a.id, c.code_hash from dinehub.account a, dinehub.recovery_code c where a.name = 'Ben';
              insert into dinehub.totp (account_id, secret, confirmed_at, last_step)
              select a.id, t.secret, now(), 0 from dinehub.account a, dinehub.totp t where a.name = 'Ben'",
        )
        .await;
    let Login::Pending(bens) = node.login("ben@example.org", PASSWORD.into(), HOME).await.unwrap() else { panic!() };
    let stolen = node.finish_login(&bens.token.text, &Proof::Recovery(codes[1].clone()), &home()).await;
    assert!(is_wrong(&stolen), "a hash moved to another account is of another code: {stolen:?}");
    let fresh = node.replace_recovery_codes(&actor(&node, &pass).unwrap()).await.unwrap();
    assert!(is_wrong(&try_code(&codes[1]).await), "replaced");
    try_code(&fresh[0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_lies_in_the_database_proves_nobody() {
    let ground = Ground::fresh().await;
    let (node, now_s) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    let who = actor(&node, &pass).unwrap();
    let enrolment = node.enrol_totp(&who).await.unwrap();
    let totp = authenticator(enrolment.secret.expose_secret());
    let (_, codes) = node.confirm_totp(&who, &code(&totp, NOW_S), &home()).await.unwrap();
    let admin = connect(&ground.database.admin()).await;
    let sealed: Vec<u8> = admin.query_one("select secret from dinehub.totp", &[]).await.unwrap().get(0);
    let plain = Secret::try_from_base32(enrolment.secret.expose_secret()).unwrap();
    assert!(!sealed.windows(8).any(|window| plain.as_ref().windows(8).any(|part| part == window)));
    for row in admin.query("select code_hash from dinehub.recovery_code", &[]).await.unwrap() {
        let hash: Vec<u8> = row.get(0);
        for code in &codes {
            let unkeyed = <sha2::Sha256 as sha2::Digest>::digest(code.expose_secret().replace('-', ""));
            assert_ne!(hash, unkeyed.to_vec(), "not a hash that anybody can compute");
        }
    }
    ground.sql("update dinehub.totp set secret = set_byte(secret, 40, get_byte(secret, 40) # 1)").await;
    now_s.store(NOW_S + 30, Ordering::Release);
    let answer = node.finish_login(&half(&node).await, &Proof::Totp(code(&totp, NOW_S + 30)), &home()).await;
    assert!(matches!(answer, Err(Error::Internal(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn guessing_codes_is_slowed_down_on_every_node_and_locks_no_owner_out() {
    let ground = Ground::fresh().await;
    let strict = Waits { pair_free: 1, account_free: 2, base_ms: 60_000, cap_ms: 60_000, ..Waits::default() };
    let (node, now_s) = node(&ground, strict).await;
    let pass = anna_at(&node).await;
    let (totp, _, _) = enrol(&node, &pass, NOW_S).await;
    let pending = half(&node).await;
    let from = |last: u8| Origin::from(std::net::IpAddr::from([198, 51, 100, last]));
    let guess = async |from: Origin| {
        node.finish_login(&pending, &Proof::Totp("000000".to_owned().into()), &from).await.unwrap_err().status()
    };
    assert_eq!(guess(from(1)).await, 401);
    assert_eq!(guess(from(1)).await, 401, "the second costs a wait");
    assert_eq!(guess(from(1)).await, 429);
    assert_eq!(guess(from(2)).await, 401, "the third attempt on the account costs a wait");
    now_s.store(NOW_S + 30, Ordering::Release);
    let right = Proof::Totp(code(&totp, NOW_S + 30));
    let answer = node.finish_login(&pending, &right, &from(3)).await;
    assert!(matches!(answer, Err(Error::Throttled { .. })), "the right code is not looked at: {answer:?}");
    node.finish_login(&pending, &right, &home()).await.expect("from where she turned it on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_matters_most_wants_a_recent_proof_of_the_strongest_kind() {
    let ground = Ground::fresh().await;
    let (node, now_s) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    now_s.store(NOW_S + 900, Ordering::Release);
    let who = actor(&node, &pass).unwrap();
    let old = node.enrol_totp(&who).await.unwrap_err();
    assert!(matches!(old, Error::Unassured(Unassured::Recent)), "{old:?}");
    let wrong = node.step_up(&who, Proof::Password("wrong".to_owned().into()), &home()).await.unwrap_err();
    assert!(matches!(wrong, Error::Unauthenticated(Unproven::Password)), "{wrong:?}");
    let again = node.step_up(&who, Proof::Password(PASSWORD.into()), &home()).await.unwrap();
    assert_eq!(again.session, pass.session);
    assert!(actor(&node, &pass).is_ok(), "the token before goes on");
    let (totp, on, _) = enrol(&node, &again, NOW_S + 900).await;
    now_s.store(NOW_S + 1800, Ordering::Release);
    let who = actor(&node, &on).unwrap();
    for answer in [node.remove_totp(&who).await.map(drop), node.replace_recovery_codes(&who).await.map(drop)] {
        assert!(matches!(answer, Err(Error::Unassured(Unassured::Recent))), "{answer:?}");
    }
    let weaker = node.step_up(&who, Proof::Password(PASSWORD.into()), &home()).await.unwrap_err();
    assert!(matches!(weaker, Error::Unassured(Unassured::Factor)), "{weaker:?}");
    let right = Proof::Totp(code(&totp, NOW_S + 1800));
    let again = node.step_up(&who, right.clone(), &home()).await.unwrap();
    assert!(is_wrong(&node.step_up(&who, right, &home()).await), "burnt");
    node.remove_totp(&actor(&node, &again).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_ended_session_proves_nothing_more() {
    let ground = Ground::fresh().await;
    let (node, _) = node(&ground, patient()).await;
    let pass = anna_at(&node).await;
    let who = actor(&node, &pass).unwrap();
    node.logout(&who).await.unwrap();
    let answer = node.step_up(&who, Proof::Password(PASSWORD.into()), &home()).await;
    assert!(matches!(answer, Err(Error::Unauthenticated(Unproven::Revoked))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_login_opens_no_route() {
    let server = Server::start().await;
    let person = server.person("ADMIN").await;
    let (half, _) = with_factor(&server, &person).await;
    let client = server.anonymous().with_token(&half);
    for route in server.app().edition().router.iter() {
        let path = route.pattern.replace("{id}", "0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f");
        let answer = client.json(route.method.as_str(), &path, &[], &json!({})).await;
        assert_eq!(answer.status, 401, "{} {path}: {answer:?}", route.method.as_str());
    }
}

/// Turns a person's factor on, over HTTP; half a login and a client with the whole one.
pub(crate) async fn with_factor(server: &Server, person: &Person) -> (String, Client) {
    let made = person.client.act("/api/v1/auth/mfa/totp").await.expect(200);
    let totp = authenticator(&made.text("/secret"));
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let confirm = json!({"code": totp.generate(now_s).to_string()});
    let on = person.client.post("/api/v1/auth/mfa/totp/confirm", &confirm).await.expect(200);
    let login = json!({"email": person.account.email, "password": HARNESS_PASSWORD});
    let half = server.anonymous().post("/api/v1/auth/login", &login).await.expect(200);
    assert!(half.json.get("access_token").is_none(), "{half:?}");
    let finish = json!({"mfa_token": half.text("/mfa_token"), "recovery_code": on.text("/recovery_codes/0")});
    let done = server.anonymous().post("/api/v1/auth/login/mfa", &finish).await.expect(200);
    server.anonymous().post("/api/v1/auth/login/mfa", &finish).await.refused(401, "wrong_code");
    (half.text("/mfa_token"), server.anonymous().with_token(&done.text("/access_token")))
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_the_factor_is_turned_on_used_and_turned_off() {
    let server = Server::start().await;
    let person = server.person("USER").await;
    let (_, client) = with_factor(&server, &person).await;
    person.client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let shown = client.get("/api/v1/auth/mfa").await.expect(200);
    assert_eq!(shown.json, json!({"totp": true, "recovery_codes_left": 9}));
    client.act("/api/v1/auth/mfa/totp").await.refused(409, "totp_is_on");
    let both = json!({"code": "123456", "recovery_code": "a"});
    assert_eq!(client.post("/api/v1/auth/step-up", &both).await.expect(422).pointers(), ["/code"]);
    client.post("/api/v1/auth/step-up", &json!({"password": HARNESS_PASSWORD})).await.refused(403, "factor_is_needed");
    let codes = client.act("/api/v1/auth/mfa/recovery-codes").await.expect(200);
    let stepped = client.post("/api/v1/auth/step-up", &json!({"recovery_code": codes.text("/recovery_codes/3")})).await;
    let client = client.with_token(&stepped.expect(200).text("/access_token"));
    let off = client.delete("/api/v1/auth/mfa/totp").await.expect(200);
    client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let _ = client.with_token(&off.text("/access_token")).get("/api/v1/auth/me").await.expect(200);
    server.login(&person.account.email, HARNESS_PASSWORD).await;
}
