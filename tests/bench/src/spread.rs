//! How long a session that ended on one node still opens something on another.

use std::time::{Duration, Instant};

use dinehub::config::Config;
use harness::server::{PASSWORD, Server};

const ME: &str = "/api/v1/auth/me";
const LOGOUT: &str = "/api/v1/auth/logout";

/// Logs in and out `times` times: from the logout's answer here to the first refusal there, which is asked for without a
/// pause.
pub(crate) async fn run(times: usize) {
    let here = Server::with(Vec::new()).await;
    let there = here.join(&Config::default()).await;
    let person = here.person("USER").await;
    let mut waits = Vec::with_capacity(times);
    for _ in 0..times {
        let session = here.login(&person.account.email, PASSWORD).await;
        let token = session.token.clone().expect("a token");
        let elsewhere = there.anonymous().with_token(&token);
        let _ = elsewhere.get(ME).await.expect(200);
        let _ = session.act(LOGOUT).await.expect(204);
        let ended = Instant::now();
        assert_eq!(session.get(ME).await.status, 401, "it holds here before the answer");
        while elsewhere.get(ME).await.status != 401 {
            assert!(ended.elapsed() < Duration::from_secs(10), "it never holds there");
        }
        waits.push(ended.elapsed());
    }
    waits.sort_unstable();
    let at = |share: f64| waits[((times - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "logout on another node, {times} times: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
