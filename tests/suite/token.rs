//! Tokens under attack: every mutation of a good token is refused, and the good one next to it is not.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use dinehub::{
    error::Unproven,
    id::{AccountId, SessionId},
    identity::{
        Policy,
        clock::Clock,
        login::Pass,
        token::{Assurance, Holder, Kind, LIFETIME_S_MAX, PENDING_S_MAX, Tokens},
    },
    secret::ring::{Key, Ring},
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::node::{Ground, actor, anna_at, bearer, login, role};

const NOW_S: u64 = 1_800_000_000;

/// Knows the key, as an attacker never should: signs whatever it is given.
struct Forge {
    ring: Ring,
    tokens: Tokens,
}

impl Forge {
    fn new() -> Self {
        let ring = Ring::of(Key::generate("2026-11").unwrap());
        let tokens = Tokens::new(&ring, "dinehub", "dinehub-api", 3600).unwrap();
        Self { ring, tokens }
    }

    fn good(&self) -> String {
        let issued = self.tokens.issue(Kind::Access, &holder(), NOW_S).unwrap();
        issued.text.expose_secret().to_owned()
    }

    fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.ring.current.expose_secret());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
    }

    fn verify(&self, token: &str) -> Result<(), Unproven> {
        self.tokens.verify(token, Kind::Access, NOW_S).map(|_| ())
    }

    #[track_caller]
    fn refuses(&self, what: &str, token: &str) {
        let answer = self.verify(token);
        assert!(answer.is_err(), "{what} was accepted");
    }
}

fn holder() -> Holder {
    Holder {
        account: AccountId::fresh(),
        session: SessionId::fresh(),
        epoch: 3,
        roles: [role("USER")].into(),
        assurance: Assurance::Pwd,
        proved_s: NOW_S,
    }
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT", "kid": "2026-11"})
}

fn claims() -> Value {
    json!({
        "iss": "dinehub", "aud": "dinehub-api", "sub": AccountId::fresh(), "jti": AccountId::fresh(), "typ": "access",
        "sid": SessionId::fresh(), "acr": "pwd", "auth_time": NOW_S,
        "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 3600, "epoch": 0, "roles": ["USER"],
    })
}

fn with(mut object: Value, name: &str, value: Value) -> String {
    object[name] = value;
    object.to_string()
}

fn without(mut object: Value, name: &str) -> String {
    object.as_object_mut().unwrap().remove(name);
    object.to_string()
}

#[test]
fn the_forge_can_make_a_good_token() {
    let forge = Forge::new();
    assert_eq!(forge.verify(&forge.good()), Ok(()));
    assert_eq!(forge.verify(&forge.sign(&header().to_string(), &claims().to_string())), Ok(()));
}

#[test]
fn other_algorithms_are_refused_even_when_validly_signed() {
    let forge = Forge::new();
    for alg in ["none", "None", "NONE", "nOnE", "", "hs256", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA"] {
        let header = with(header(), "alg", json!(alg));
        forge.refuses(alg, &forge.sign(&header, &claims().to_string()));
        let unsigned = forge.sign(&header, &claims().to_string());
        let (message, _) = unsigned.rsplit_once('.').unwrap();
        forge.refuses(alg, &format!("{message}."));
        forge.refuses(alg, message);
    }
    for alg in [json!(null), json!(256), json!(["HS256"]), json!({"HS256": null})] {
        forge.refuses("alg of another type", &forge.sign(&with(header(), "alg", alg), &claims().to_string()));
    }
}

#[test]
fn a_key_that_everybody_knows_signs_nothing() {
    let forge = Forge::new();
    let good = forge.good();
    let (message, _) = good.rsplit_once('.').unwrap();
    let public = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";
    for secret in [&public[..], b"", b"secret", b"2026-11", &[0; 32], forge.ring.current.id().as_bytes()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        forge.refuses("a guessed key", &format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)));
    }
    let other = Forge::new();
    forge.refuses("the same kid, another key", &other.good());
}

#[test]
fn headers_that_point_to_keys_or_rules_are_refused() {
    let forge = Forge::new();
    for (name, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A128GCM")),
        ("anything", json!(null)),
        ("typ", json!("at+jwt")),
        ("typ", json!("jwt")),
        ("typ", json!(null)),
    ] {
        forge.refuses(name, &forge.sign(&with(header(), name, value), &claims().to_string()));
    }
    for name in ["alg", "typ", "kid"] {
        forge.refuses("a header with too little", &forge.sign(&without(header(), name), &claims().to_string()));
    }
    let twice = r#"{"alg":"HS256","typ":"JWT","kid":"2026-11","alg":"HS256"}"#;
    forge.refuses("alg twice", &forge.sign(twice, &claims().to_string()));
    forge.refuses("an array", &forge.sign(r#"["HS256","JWT","2026-11"]"#, &claims().to_string()));
}

#[test]
fn kid_is_only_ever_looked_up() {
    let forge = Forge::new();
    let long = "k".repeat(5000);
    for kid in ["", "2026-1", "2026-111", "2026-11\0", "../../dev/null", "' or 1=1 --", "/etc/passwd", "*", &long] {
        forge.refuses(kid, &forge.sign(&with(header(), "kid", json!(kid)), &claims().to_string()));
    }
}

#[test]
fn every_claim_is_required_once_and_of_its_type() {
    let forge = Forge::new();
    for name in claims().as_object().unwrap().keys() {
        forge.refuses(name, &forge.sign(&header().to_string(), &without(claims(), name)));
        for value in [json!(null), json!(true), json!({}), json!([[]]), json!(-1), json!(1.5), json!("1e9"), json!("")]
        {
            forge.refuses(name, &forge.sign(&header().to_string(), &with(claims(), name, value)));
        }
        let all = claims();
        let twice = all.to_string().replacen('{', &format!("{{{}:{},", json!(name), all[name]), 1);
        forge.refuses(name, &forge.sign(&header().to_string(), &twice));
    }
    forge.refuses("another claim", &forge.sign(&header().to_string(), &with(claims(), "admin", json!(true))));
    let array = Value::Array(claims().as_object().unwrap().values().cloned().collect()).to_string();
    for payload in ["", "{}", "[]", "null", "\"access\"", "{", &array] {
        forge.refuses(payload, &forge.sign(&header().to_string(), payload));
    }
}

#[test]
fn claims_out_of_range_are_refused() {
    let forge = Forge::new();
    let many: Vec<String> = (0..17).map(|i| format!("R_{}", char::from(b'A' + i))).collect();
    for (name, value) in [
        ("exp", json!(NOW_S)),
        ("exp", json!(NOW_S - 1)),
        ("exp", json!(0)),
        ("exp", json!(NOW_S + LIFETIME_S_MAX + 1)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("nbf", json!(NOW_S + 6)),
        ("nbf", json!(u64::MAX)),
        ("iat", json!(NOW_S + 6)),
        ("iat", json!(NOW_S + 7200)),
        ("iat", json!(NOW_S - LIFETIME_S_MAX)),
        ("iss", json!("dinehub-staging")),
        ("iss", json!(["dinehub"])),
        ("aud", json!("another-api")),
        ("aud", json!(["dinehub-api"])),
        ("sub", json!("anna")),
        ("jti", json!("1")),
        ("sid", json!("1")),
        ("acr", json!("none")),
        ("acr", json!(["mfa"])),
        ("auth_time", json!(NOW_S + 1)),
        ("epoch", json!(-1)),
        ("roles", json!(["admin"])),
        ("roles", json!("ADMIN")),
        ("roles", json!(many)),
    ] {
        forge.refuses(&format!("{name} = {value}"), &forge.sign(&header().to_string(), &with(claims(), name, value)));
    }
}

#[test]
fn another_nodes_clock_may_be_five_seconds_ahead() {
    let forge = Forge::new();
    for name in ["iat", "nbf"] {
        let token = forge.sign(&header().to_string(), &with(claims(), name, json!(NOW_S + 5)));
        assert_eq!(forge.verify(&token), Ok(()), "{name}");
    }
    let token = forge.good();
    assert!(forge.tokens.verify(&token, Kind::Access, NOW_S + 3599).is_ok());
    assert_eq!(forge.tokens.verify(&token, Kind::Access, NOW_S + 3600).unwrap_err(), Unproven::Expired);
    assert_eq!(forge.tokens.verify(&token, Kind::Access, NOW_S - 3600).unwrap_err(), Unproven::Expired);
}

#[test]
fn one_kind_of_token_is_never_another() {
    let forge = Forge::new();
    let kinds = [Kind::Access, Kind::MfaPending];
    for made in kinds {
        let issued = forge.tokens.issue(made, &holder(), NOW_S).unwrap();
        for asked in kinds {
            let answer = forge.tokens.verify(issued.text.expose_secret(), asked, NOW_S);
            assert_eq!(answer.is_ok(), made == asked, "{made:?} as {asked:?}");
        }
    }
}

#[test]
fn the_second_step_of_a_login_is_not_waited_for_long() {
    let forge = Forge::new();
    let pending = forge.tokens.issue(Kind::MfaPending, &holder(), NOW_S).unwrap();
    let at = |now_s| forge.tokens.verify(pending.text.expose_secret(), Kind::MfaPending, now_s).map(drop);
    assert_eq!(at(NOW_S + PENDING_S_MAX - 1), Ok(()));
    assert_eq!(at(NOW_S + PENDING_S_MAX), Err(Unproven::Expired));
}

#[test]
fn a_lifetime_of_more_than_a_day_is_refused_at_the_start() {
    let ring = Ring::of(Key::generate("a").unwrap());
    assert!(Tokens::new(&ring, "i", "a", LIFETIME_S_MAX + 1).is_err());
    assert!(Tokens::new(&ring, "i", "a", 0).is_err());
    assert!(Tokens::new(&ring, "i", "a", LIFETIME_S_MAX).is_ok());
}

#[test]
fn one_changed_bit_anywhere_is_one_too_many() {
    let forge = Forge::new();
    let good = forge.good();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                forge.refuses(&format!("bit {bit} of byte {at}"), &text);
            }
        }
        forge.refuses(&format!("cut at {at}"), &good[..at]);
        forge.refuses(&format!("begun at {}", at + 1), &good[at + 1..]);
    }
}

#[test]
fn only_the_strict_compact_form_is_read() {
    let forge = Forge::new();
    let good = forge.good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let padded = format!("{header}=.{payload}.{signature}");
    let standard = format!("{message}.{}", signature.replace(['-', '_'], "+"));
    for (what, token) in [
        ("nothing", String::new()),
        ("dots", "..".into()),
        ("a fourth part", format!("{good}.e30")),
        ("an empty fourth part", format!("{good}.")),
        ("a leading dot", format!(".{good}")),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("no signature", format!("{message}.")),
        ("two parts", message.into()),
        ("padding", padded),
        ("more padding", format!("{good}=")),
        ("the standard alphabet", format!("{standard}+")),
        ("a space before", format!(" {good}")),
        ("a space after", format!("{good} ")),
        ("a newline after", format!("{good}\n")),
        ("a newline inside", format!("{header}.\n{payload}.{signature}")),
        ("a NUL", format!("{good}\0")),
        ("a letter like another", good.replace('e', "\u{435}")),
        ("a zero-width space", format!("{good}\u{200b}")),
        ("JSON serialization", json!({"payload": payload, "protected": header, "signature": signature}).to_string()),
        ("two tokens", format!("{good},{good}")),
        ("a long signature", format!("{good}{}", "A".repeat(43))),
        ("more than 8 KiB", format!("{header}.{}.{signature}", "A".repeat(8 << 10))),
    ] {
        forge.refuses(what, &token);
    }
    let bulky = with(claims(), "roles", json!(vec!["A".repeat(32); 400]));
    forge.refuses("a valid signature over more than 8 KiB", &forge.sign(&self::header().to_string(), &bulky));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_bad_credential_is_never_the_same_as_none() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let session = anna_at(&node).await;
    let token = session.access.text.expose_secret();
    for credential in [
        "",
        "Bearer",
        "Bearer ",
        "bearer",
        token,
        &format!("Bearer  {token}"),
        &format!("Bearer {token} "),
        &format!("Bearer {token}, Bearer {token}"),
        &format!("Basic {token}"),
        &format!("Bearer\t{token}"),
        &format!("Token {token}"),
        "Basic YW5uYTpwYXNz",
        "Bearer null",
    ] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(credential).unwrap())]);
        let answer = node.actor(&headers);
        assert_eq!(answer.unwrap_err().status(), 401, "{:?}", credential.replace(token, "…"));
    }
    let bytes = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap())]);
    assert_eq!(node.actor(&bytes).unwrap_err().status(), 401);
    let mut two = bearer(&session.access.text);
    two.append(AUTHORIZATION, two[AUTHORIZATION].clone());
    assert_eq!(node.actor(&two).unwrap_err().status(), 401, "two credentials, even if they are the same");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = HeaderValue::from_str(&format!("{scheme} {token}")).unwrap();
        let actor = node.actor(&HeaderMap::from_iter([(AUTHORIZATION, value)])).unwrap();
        assert_eq!(actor.account(), Some(session.account.id));
    }
    assert!(node.actor(&HeaderMap::new()).unwrap().is_anonymous());
}

/// The id of the key that signed a token.
fn kid(pass: &Pass) -> Value {
    let header = pass.access.text.expose_secret().split('.').next().unwrap().to_owned();
    serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()["kid"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_old_key_verifies_never_signs_and_dies_at_the_end_of_the_overlap() {
    let ground = Ground::fresh().await;
    let now_s = Arc::new(AtomicU64::new(NOW_S));
    let policy = Policy { clock: Clock::hand(now_s.clone()), newcomer: vec![role("USER")], ..Policy::default() };
    let node = ground.node_with(&ground.ring, policy).await;
    let old = anna_at(&node).await;
    let rotated = ground.ring.rotate(Key::generate("2027-02").unwrap(), NOW_S + 600);
    node.rotate(&rotated).unwrap();
    let new = login(&node).await;
    assert_eq!((kid(&old), kid(&new)), (json!("2026-11"), json!("2027-02")));
    assert!(actor(&node, &old).is_ok() && actor(&node, &new).is_ok());
    now_s.store(NOW_S + 599, Ordering::Release);
    assert!(actor(&node, &old).is_ok(), "to the last second");
    now_s.store(NOW_S + 600, Ordering::Release);
    assert_eq!(actor(&node, &old).unwrap_err().status(), 401, "the overlap has ended, and nobody did anything");
    assert!(actor(&node, &new).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_key_taken_out_of_the_ring_is_dead_at_once() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let old = anna_at(&node).await;
    let rotated = ground.ring.rotate(Key::generate("2027-02").unwrap(), u64::MAX);
    node.rotate(&rotated).unwrap();
    let new = login(&node).await;
    node.rotate(&Ring::of(rotated.current.clone())).unwrap();
    assert_eq!(actor(&node, &old).unwrap_err().status(), 401, "its key is gone");
    assert!(actor(&node, &new).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_environments_token_is_worth_nothing_here() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let staging = ground.node_with(&ground.ring, Policy { issuer: "staging".into(), ..Policy::default() }).await;
    let session = anna_at(&staging).await;
    assert!(actor(&staging, &session).is_ok());
    assert_eq!(actor(&node, &session).unwrap_err().status(), 401, "even with the same key");
}
