//! Letters and tickets: nobody learns who has an account, a ticket works once and for one thing, and what lies in the
//! database opens nothing.

use std::sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering};

use dinehub::{
    config::Config,
    error::{Error, Unproven},
    identity::{
        Identity, Policy,
        account::NewAccount,
        login::Pass,
        mail::{Letter, Post},
        throttle::{Doors, Waits},
    },
};
use futures::future::BoxFuture;
use harness::{client::Client, database::connect, server::Server};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::node::{Ground, HOME, PASSWORD, actor, anna, eventually, is_revoked, role};

const OTHER: &str = "walnut-signal-orbit-77";

/// Keeps what is sent; or refuses it.
#[derive(Debug, Default)]
struct Captured {
    letters: Mutex<Vec<Letter>>,
    is_down: AtomicBool,
}

impl Post for Captured {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if self.is_down.load(Ordering::Acquire) {
                return Err(Error::Unavailable("down".into()));
            }
            self.letters.lock().unwrap().push(letter.clone());
            Ok(())
        })
    }
}

impl Captured {
    /// The ticket in the newest letter with this subject to `to`, once it is there.
    async fn ticket(&self, to: &str, subject: &str) -> SecretString {
        let found = || {
            let letters = self.letters.lock().unwrap();
            let letter = letters.iter().rev().find(|letter| letter.to == to && letter.subject == subject)?;
            let text = letter.text.expose_secret().split("#").nth(1)?.split(char::is_whitespace).next()?.to_owned();
            Some(text.split_once('=')?.1.to_owned())
        };
        eventually(subject, || found().is_some()).await;
        found().unwrap().into()
    }

    async fn is_told(&self, to: &str, subject: &str) {
        let told = || self.letters.lock().unwrap().iter().any(|letter| letter.to == to && letter.subject == subject);
        eventually(subject, told).await;
    }

    fn forget(&self) {
        self.letters.lock().unwrap().clear();
    }
}

const VERIFY: &str = "Confirm your e-mail address";
const RESET: &str = "Set a new password";
const MOVE: &str = "Confirm your new e-mail address";

fn patient() -> Waits {
    Waits { source_free: 900, pair_free: 900, account_free: 900, ..Waits::default() }
}

/// A node that writes letters, and asks for verified addresses if `is_strict`.
async fn node(ground: &Ground, is_strict: bool) -> (Identity, Arc<Captured>) {
    let post = Arc::new(Captured::default());
    let doors = Doors { password: patient(), factor: patient(), mail: patient() };
    let policy = Policy {
        newcomer: vec![role("USER")],
        verifies: is_strict,
        link: "https://dine.example/account".into(),
        post: Some(post.clone()),
        doors,
        ..Policy::default()
    };
    (ground.node_with(&ground.ring, policy).await, post)
}

async fn log_in(node: &Identity, email: &str, password: &str) -> Result<Pass, Error> {
    node.login(email, password.to_owned().into(), HOME).await.map(|login| login.done().unwrap())
}

async fn reset(node: &Identity, post: &Captured) -> SecretString {
    post.forget();
    node.ask_to_reset("anna@example.org", &HOME.into()).await.unwrap();
    post.ticket("anna@example.org", RESET).await
}

async fn count(ground: &Ground, table: &str) -> i64 {
    let sql = format!("select count(*) from dinehub.{table}");
    connect(&ground.database.admin()).await.query_one(&sql, &[]).await.unwrap().get(0)
}

fn is_no_good<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Invalid(violations)) if violations[0].pointer == "/token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn where_addresses_are_verified_registering_tells_nothing_nor_does_logging_in_afterwards() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, true).await;
    node.register(anna(), HOME).await.unwrap();
    assert!(matches!(
        log_in(&node, "anna@example.org", PASSWORD).await,
        Err(Error::Unauthenticated(Unproven::Password))
    ));
    let ticket = post.ticket("anna@example.org", VERIFY).await;
    node.verify(&ticket).await.unwrap();
    log_in(&node, "anna@example.org", PASSWORD).await.unwrap();
    // A stranger with a password of their own: for Anna's address, and for a new one.
    for email in ["Anna@example.org", "new@example.org"] {
        let stranger = NewAccount { email: email.into(), name: "Mallory".into(), password: OTHER.into() };
        let account = node.register(stranger, HOME).await.unwrap();
        assert_eq!(
            (account.email.as_str(), account.name.as_str(), account.roles),
            (email, "Mallory", vec![role("USER")])
        );
        let answer = log_in(&node, email, OTHER).await;
        assert!(matches!(answer, Err(Error::Unauthenticated(Unproven::Password))), "{email}: {answer:?}");
    }
    post.is_told("Anna@example.org", "Somebody tried to open an account with your address").await;
    assert_eq!(count(&ground, "account").await, 2);
    let name = node.find_by_email("anna@example.org").await.unwrap().unwrap().name;
    assert_eq!(name, "Anna", "hers is as it was");
    assert!(is_no_good(&node.verify(&ticket).await), "used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn asking_for_a_letter_tells_nothing() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, false).await;
    for email in ["nobody@example.org", "' or 1=1 --@example.org"] {
        let _ = node.ask_to_reset(email, &HOME.into()).await;
        let _ = node.ask_to_verify(email, &HOME.into()).await;
    }
    node.ask_to_reset("nobody@example.org", &HOME.into()).await.unwrap();
    assert_eq!((count(&ground, "ticket").await, count(&ground, "letter").await), (0, 0));
    assert!(post.letters.lock().unwrap().is_empty());
    assert!(matches!(node.ask_to_reset("anna", &HOME.into()).await, Err(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_ticket_sets_one_of_sixty_four_passwords() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, false).await;
    node.register(anna(), HOME).await.unwrap();
    let ticket = reset(&node, &post).await;
    let begun = std::time::Instant::now();
    let tries = (0..64).map(|at| {
        let (node, ticket) = (&node, &ticket);
        async move {
            loop {
                match node.reset_password(ticket, format!("{OTHER}-{at}").into()).await {
                    // No core was free: as any client would, again.
                    Err(Error::Unavailable(_)) if begun.elapsed().as_secs() < 60 => {}
                    answer => return answer.map(|_| at),
                }
            }
        }
    });
    let answers = futures::future::join_all(tries).await;
    let won: Vec<i32> = answers.iter().filter_map(|answer| answer.as_ref().ok().copied()).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(
        answers.into_iter().map(|answer| answer.map(drop)).filter(Result::is_err).all(|answer| is_no_good(&answer))
    );
    log_in(&node, "anna@example.org", &format!("{OTHER}-{}", won[0])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_ticket_is_good_for_its_purpose_in_its_time_and_until_the_next() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, true).await;
    node.register(anna(), HOME).await.unwrap();
    let verify = post.ticket("anna@example.org", VERIFY).await;
    let first = reset(&node, &post).await;
    let second = reset(&node, &post).await;
    assert!(is_no_good(&node.reset_password(&first, OTHER.into()).await), "the next one is on its way");
    assert!(is_no_good(&node.reset_password(&verify, OTHER.into()).await));
    assert!(is_no_good(&node.move_address(&second).await));
    assert!(is_no_good(&node.verify(&second).await));
    for guess in ["", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &"A".repeat(100_000)] {
        assert!(is_no_good(&node.reset_password(&guess.to_owned().into(), OTHER.into()).await));
    }
    let weak = node.reset_password(&second, "password".to_owned().into()).await.unwrap_err();
    assert!(matches!(&weak, Error::Invalid(violations) if violations[0].pointer == "/password"), "{weak:?}");
    ground.sql("update dinehub.ticket set expires_at = now()").await;
    assert!(is_no_good(&node.reset_password(&second, OTHER.into()).await), "over");
    ground.sql("update dinehub.ticket set expires_at = now() + interval '1 minute'").await;
    node.reset_password(&second, OTHER.into()).await.expect("the weak password did not use it up");
    log_in(&node, "anna@example.org", OTHER).await.expect("whoever reads the letter has the address");
    assert!(is_no_good(&node.verify(&verify).await), "void since the password is another one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_password_ends_every_token_but_the_one_that_set_it() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, false).await;
    node.register(anna(), HOME).await.unwrap();
    let (one, two) = (
        log_in(&node, "anna@example.org", PASSWORD).await.unwrap(),
        log_in(&node, "anna@example.org", PASSWORD).await.unwrap(),
    );
    let who = actor(&node, &one).unwrap();
    let ticket = reset(&node, &post).await;
    let wrong = node.change_password(&who, "wrong".to_owned().into(), OTHER.into(), &HOME.into()).await.unwrap_err();
    assert!(matches!(wrong, Error::Unauthenticated(Unproven::Password)), "{wrong:?}");
    let weak = node.change_password(&who, PASSWORD.into(), "anna@example.org".to_owned().into(), &HOME.into()).await;
    assert!(matches!(weak, Err(Error::Invalid(_))), "{weak:?}");
    assert!(actor(&node, &two).is_ok(), "nothing has happened");
    let next = node.change_password(&who, PASSWORD.into(), OTHER.into(), &HOME.into()).await.unwrap();
    assert!(is_revoked(&node, &one) && is_revoked(&node, &two));
    assert_eq!((actor(&node, &next).unwrap().session(), next.session), (Some(one.session), one.session));
    assert!(log_in(&node, "anna@example.org", PASSWORD).await.is_err());
    assert!(is_no_good(&node.reset_password(&ticket, PASSWORD.into()).await), "a ticket from before is void");
    post.is_told("anna@example.org", "Your password was changed").await;
    let ticket = reset(&node, &post).await;
    node.reset_password(&ticket, PASSWORD.into()).await.unwrap();
    assert!(is_revoked(&node, &next));
    assert_eq!(
        node.sessions(&actor(&node, &log_in(&node, "anna@example.org", PASSWORD).await.unwrap()).unwrap())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_account_moves_to_an_address_that_was_read_and_to_no_taken_one() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, false).await;
    node.register(anna(), HOME).await.unwrap();
    let pass = log_in(&node, "anna@example.org", PASSWORD).await.unwrap();
    let who = actor(&node, &pass).unwrap();
    node.ask_to_move(&who, "anna@new.example", &HOME.into()).await.unwrap();
    let ticket = post.ticket("anna@new.example", MOVE).await;
    let old = reset(&node, &post).await;
    node.register(NewAccount { email: "ANNA@new.example".into(), ..anna() }, HOME).await.unwrap();
    assert!(is_no_good(&node.move_address(&ticket).await), "somebody has it by now");
    ground.sql("update dinehub.account set email = 'ben@example.org' where email = 'ANNA@new.example'").await;
    node.move_address(&ticket).await.expect("the refusal did not use it up");
    post.is_told("anna@example.org", "Your e-mail address was changed").await;
    assert!(is_no_good(&node.move_address(&ticket).await));
    assert!(is_no_good(&node.reset_password(&old, OTHER.into()).await), "sent to the address before");
    assert!(log_in(&node, "anna@example.org", PASSWORD).await.is_err());
    log_in(&node, "anna@new.example", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_logs_in_to_an_account_that_is_off() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, false).await;
    node.register(anna(), HOME).await.unwrap();
    let pass = log_in(&node, "anna@example.org", PASSWORD).await.unwrap();
    let ticket = reset(&node, &post).await;
    node.deactivate(&actor(&node, &pass).unwrap()).await.unwrap();
    assert!(is_revoked(&node, &pass));
    let answer = log_in(&node, "anna@example.org", PASSWORD).await;
    assert!(matches!(answer, Err(Error::Unauthenticated(Unproven::Password))), "as for an unknown address: {answer:?}");
    assert!(is_no_good(&node.reset_password(&ticket, OTHER.into()).await));
    node.ask_to_reset("anna@example.org", &HOME.into()).await.unwrap();
    assert_eq!(count(&ground, "ticket").await, 0);
    node.set_active(pass.account.id, true).await.unwrap();
    assert!(is_revoked(&node, &pass), "what ended stays ended");
    log_in(&node, "anna@example.org", PASSWORD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn letters_and_tickets_are_unreadable_at_rest_and_leave_when_the_post_is_back() {
    let ground = Ground::fresh().await;
    let (node, post) = node(&ground, false).await;
    post.is_down.store(true, Ordering::Release);
    node.register(anna(), HOME).await.unwrap();
    assert_eq!(count(&ground, "letter").await, 1);
    let admin = connect(&ground.database.admin()).await;
    let row = admin.query_one("select sealed, (select token_hash from dinehub.ticket) from dinehub.letter", &[]);
    let (sealed, hash): (Vec<u8>, Vec<u8>) = {
        let row = row.await.unwrap();
        (row.get(0), row.get(1))
    };
    let shown = String::from_utf8_lossy(&sealed);
    assert!(!shown.contains("anna") && !shown.contains("verify"), "{shown}");
    let tried = || async {
        admin.query_one("select min(tries) from dinehub.letter", &[]).await.unwrap().get::<_, Option<i32>>(0)
    };
    let begun = std::time::Instant::now();
    while tried().await < Some(1) {
        assert!(begun.elapsed().as_secs() < 10, "the letter is tried");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    post.is_down.store(false, Ordering::Release);
    ground.sql("update dinehub.letter set next_at = now(); notify dinehub_letter").await;
    let ticket = post.ticket("anna@example.org", VERIFY).await;
    assert_eq!(hash, <sha2::Sha256 as sha2::Digest>::digest(ticket.expose_secret()).to_vec());
    let begun = std::time::Instant::now();
    while count(&ground, "letter").await > 0 {
        assert!(begun.elapsed().as_secs() < 10, "what was sent is gone");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nobody_is_flooded_with_letters() {
    let ground = Ground::fresh().await;
    let strict = Waits { pair_free: 1, account_free: 2, base_ms: 60_000, cap_ms: 60_000, ..Waits::default() };
    let policy = Policy { doors: Doors { mail: strict, ..Doors::default() }, ..Policy::default() };
    let node = ground.node_with(&ground.ring, policy).await;
    let from = |last: u8| std::net::IpAddr::from([198, 51, 100, last]).into();
    for email in ["anna@example.org", "nobody@example.org"] {
        if email.starts_with("anna") {
            node.register(NewAccount { email: "anna@example.org".into(), ..anna() }, HOME).await.unwrap();
            ground.sql("delete from dinehub.throttle").await;
        }
        let ask = async |last| node.ask_to_reset(email, &from(last)).await.map_err(|error| error.status().as_u16());
        assert_eq!([ask(1).await, ask(1).await, ask(1).await], [Ok(()), Ok(()), Err(429)], "{email}");
        assert_eq!([ask(2).await, ask(3).await], [Ok(()), Err(429)], "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_a_taken_address_looks_like_a_new_one() {
    let server = Server::start().await;
    let person = server.person("USER").await;
    let register = async |email: &str| {
        let body = json!({"email": email, "name": "Mallory", "password": OTHER});
        server.anonymous().post("/api/v1/auth/register", &body).await.expect(201)
    };
    let (taken, new) = (register(&person.account.email).await, register("new@example.org").await);
    let names =
        |answer: &harness::client::Answer| -> Vec<String> { answer.headers.keys().map(ToString::to_string).collect() };
    assert_eq!(names(&taken), names(&new));
    let shape = |answer: &harness::client::Answer| -> Vec<String> {
        answer
            .json
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name} {}", value.to_string().len()))
            .collect()
    };
    let mut expected = shape(&new);
    expected[1] = format!("email {}", person.account.email.len() + 2);
    assert_eq!(shape(&taken), expected);
    assert_ne!(taken.text("/id"), person.id(), "the account's own id is not told");
    server.login("new@example.org", OTHER).await;
    for path in ["password/forgot", "verify/send"] {
        for email in [&person.account.email, "nobody@example.org"] {
            let answer = server.anonymous().post(&format!("/api/v1/auth/{path}"), &json!({"email": email})).await;
            assert!(answer.expect(202).bytes.is_empty());
        }
    }
}

/// A host that spools, as `dev` does.
#[tokio::test(flavor = "multi_thread")]
async fn over_http_a_letter_resets_a_password_and_its_ticket_is_no_token() {
    let spool = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.mail.spool = spool.path().to_owned();
    config.mail.link = "https://dine.example/account".to_owned();
    let server = Server::configured(&config).await;
    let person = server.person("USER").await;
    let email = &person.account.email;
    let _ = server.anonymous().post("/api/v1/auth/password/forgot", &json!({"email": email})).await.expect(202);
    let letters = || -> Vec<String> {
        let files = std::fs::read_dir(spool.path()).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    };
    eventually("a letter", || letters().iter().any(|letter| letter.contains("#reset=") && letter.ends_with('\n')))
        .await;
    let letter = letters().into_iter().find(|letter| letter.contains("#reset=")).unwrap();
    assert!(letter.starts_with(&format!("To: {email}\nSubject: {RESET}\n\n")), "{letter}");
    let ticket = letter.split("#reset=").nth(1).unwrap().split('\n').next().unwrap().to_owned();
    let bearer: Client = server.anonymous().with_token(&ticket);
    bearer.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    bearer.get("/api/v1/restaurants").await.refused(401, "unauthenticated");
    let body = json!({"token": ticket, "password": OTHER});
    let _ = server.anonymous().post("/api/v1/auth/password/reset", &body).await.expect(204);
    assert_eq!(server.anonymous().post("/api/v1/auth/password/reset", &body).await.expect(422).pointers(), ["/token"]);
    person.client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let client = server.login(email, OTHER).await;
    let change = json!({"current_password": OTHER, "password": harness::server::PASSWORD});
    let next = client.put("/api/v1/auth/password", &change).await.expect(200).text("/access_token");
    client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let client = client.with_token(&next);
    let _ = client.act("/api/v1/auth/deactivate").await.expect(204);
    client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let admin = server.person("ADMIN").await.client;
    let path = format!("/api/v1/admin/users/{}/active", person.id());
    let _ = admin.put(&path, &json!({"active": true})).await.expect(200);
    server.login(email, harness::server::PASSWORD).await;
}
