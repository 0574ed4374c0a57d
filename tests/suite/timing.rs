//! Whether the time of an answer tells who has an account. Measures, so it runs by name and alone, never with the rest:
//!
//! ```text
//! cargo test --test suite -- --ignored --nocapture timing::
//! ```
//! Each pair is asked in turns, forwards and backwards, so that what drifts hits both alike; then Mann and Whitney's rank sum
//! says how likely two samples of one thing differ so much. `z` beyond ±4.4 is one in 100 000. The last line of each table is
//! the same question with one side delayed a little: a test that does not see that sees nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dinehub::{
    error::Error,
    identity::{
        Identity, Policy,
        account::NewAccount,
        mail::{Letter, Post},
        throttle::{Doors, Waits},
    },
};
use futures::future::BoxFuture;

use crate::node::{Ground, HOME, PASSWORD, anna_at, role};

/// Of each side.
const SAMPLES: usize = 300;
/// One in 100 000 that the two sides are the same.
const Z_MAX: f64 = 4.4;

#[derive(Debug)]
struct Bin;

impl Post for Bin {
    fn send<'a>(&'a self, _: &'a Letter) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

fn patient() -> Waits {
    Waits { source_free: 5_000, pair_free: 5_000, account_free: 5_000, ..Waits::default() }
}

/// A node that slows nobody down, and `known-<n>@example.org` for every n that is asked about.
async fn node(ground: &Ground) -> Identity {
    let doors = Doors { password: patient(), factor: patient(), mail: patient() };
    let post: Option<Arc<dyn Post>> = Some(Arc::new(Bin));
    let policy = Policy { newcomer: vec![role("USER")], verifies: true, post, doors, ..Policy::default() };
    let node = ground.node_with(&ground.ring, Policy { verifies: false, ..policy.clone() }).await;
    let _ = anna_at(&node).await;
    ground
        .sql(&format!(
            "insert into dinehub.account (id, email, name, password_hash, roles, verified_at)
             select gen_random_uuid(), 'known-' || n || '@example.org', name, password_hash, roles, now()
             from dinehub.account, generate_series(0, {}) n; analyze",
            2 * SAMPLES
        ))
        .await;
    ground.node_with(&ground.ring, policy).await
}

/// Milliseconds of each side, asked in turns.
async fn measure(known: impl AsyncFn(usize), unknown: impl AsyncFn(usize)) -> (Vec<f64>, Vec<f64>) {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for at in 0..SAMPLES {
        for turn in if at % 2 == 0 { [true, false] } else { [false, true] } {
            let begun = Instant::now();
            if turn {
                known(at).await
            } else {
                unknown(at).await
            }
            let spent = begun.elapsed().as_secs_f64() * 1_000.0;
            if turn { one.push(spent) } else { other.push(spent) }
        }
    }
    (one, other)
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The rank sum's distance from its mean, in standard deviations: positive when `one` is slower.
fn z(one: &[f64], other: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|ms| (*ms, true)).chain(other.iter().map(|ms| (*ms, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sum: f64 = all.iter().zip(1_u32..).filter(|((_, is_one), _)| *is_one).map(|(_, rank)| f64::from(rank)).sum();
    let (n, m) = (one.len() as f64, other.len() as f64);
    (sum - n * (n + m + 1.0) / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

/// Prints a line; gives z.
fn told(what: &str, (one, other): &(Vec<f64>, Vec<f64>)) -> f64 {
    let z = z(one, other);
    println!("{what:<28} {:>9.3} ms {:>9.3} ms {z:>+7.2}", median(one), median(other));
    z
}

#[test]
fn a_rank_sum_is_that_of_the_textbook() {
    let (low, high) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
    // U = 0 of a mean of 8 and a variance of 12.
    assert!((z(&low, &high) + 8.0 / 12.0_f64.sqrt()).abs() < 1e-9);
    assert!((z(&high, &low) - 8.0 / 12.0_f64.sqrt()).abs() < 1e-9);
    assert!(z(&[1.0, 4.0, 5.0, 8.0], &[2.0, 3.0, 6.0, 7.0]).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: by name, alone on the machine"]
async fn no_answer_takes_longer_for_who_has_an_account() {
    let ground = Ground::fresh().await;
    let node = node(&ground).await;
    println!("{:<28} {:>12} {:>12} {:>7}", "", "known", "unknown", "z");
    let login = async |email: String| assert!(node.login(&email, "wrong".into(), HOME).await.is_err());
    let register = async |email: String| {
        let new = NewAccount { email, name: "Anna".into(), password: PASSWORD.into() };
        node.register(new, HOME).await.unwrap();
    };
    let reset = async |email: String| node.ask_to_reset(&email, &HOME.into()).await.unwrap();
    let known = |at: usize| format!("known-{at}@example.org");
    let mut found = Vec::new();
    let pair = measure(async |at| login(known(at)).await, async |at| login(format!("login-{at}@example.org")).await);
    found.push(("login", told("login, wrong password", &pair.await)));
    let pair =
        measure(async |at| register(known(at)).await, async |at| register(format!("new-{at}@example.org")).await);
    found.push(("register", told("register", &pair.await)));
    let pair = measure(async |at| reset(known(at)).await, async |at| reset(format!("reset-{at}@example.org")).await);
    found.push(("reset", told("forgotten password", &pair.await)));
    let late = Duration::from_millis(2);
    let pair = measure(
        async |at| {
            login(known(SAMPLES + at)).await;
            tokio::time::sleep(late).await;
        },
        async |at| login(format!("again-{at}@example.org")).await,
    );
    assert!(told("login, 2 ms later if known", &pair.await) > Z_MAX, "the measure would not see 2 ms");
    let tells: Vec<_> = found.iter().filter(|(_, z)| z.abs() > Z_MAX).collect();
    assert!(tells.is_empty(), "the time tells who has an account: {tells:?}");
}
