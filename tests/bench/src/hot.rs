//! What a call costs by itself: the no-op of `shelf`, called again and again on one thread. No socket, no JSON and no
//! token, and nothing in between that would push its code and data out of the caches.

use std::time::{Duration, Instant};

use dinehub::{
    access::permit::permit,
    capability::{grants::Mode, tree::Tree},
    http::App,
    id::RequestId,
    plugin::{
        call,
        value::{self, Val},
    },
};
use http::{HeaderMap, HeaderValue, header};

use crate::world::World;

/// Rounds of which the quickest counts: whatever else the machine did made the others longer.
const ROUNDS: usize = 9;

/// Makes `times` calls a round, and says what one takes.
pub(crate) async fn run(world: &World, times: u32) {
    let app: &App = &world.app;
    let edition = app.edition();
    let plugin = edition.registry.iter().find(|plugin| plugin.id().as_str() == "shelf").expect("the bench's plugin");
    let echo = plugin.export("dinehub:shelf/api@1.0.0", "echo").expect("its no-op");
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::try_from(format!("Bearer {}", world.token)).expect("a token");
    headers.insert(header::AUTHORIZATION, bearer);
    let label = Val::Record(vec![
        ("item-id".to_owned(), Val::String("5e1f5a0e-2f5c-4c55-9f0e-0d7c3f1c9b11".to_owned())),
        ("text".to_owned(), Val::String("On the left".to_owned())),
        ("count".to_owned(), Val::S32(3)),
    ]);
    let grants = || {
        let actor = app.identity.actor(&headers).expect("the token holds");
        let permit = permit(actor, &world.rule, &app.roles, &world.denial).expect("and has the role");
        let arguments = [value::caller(&permit), label.clone()];
        let tree = Tree::root(RequestId::fresh(), plugin.id());
        (arguments, plugin.approved().grant(permit, Mode::ReadWrite, tree, edition.registry.callee()))
    };
    let (mut proved, mut called) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..times {
            drop(grants());
        }
        proved = proved.min(started.elapsed());
        let started = Instant::now();
        for _ in 0..times {
            let (arguments, grants) = grants();
            drop(call::invoke(plugin, &echo, grants, &arguments).await.expect("the no-op answers"));
        }
        called = called.min(started.elapsed());
    }
    let micros = |taken: Duration| taken.as_secs_f64() * 1e6 / f64::from(times);
    println!(
        "token, permit and grants {:.2} µs; the call of a fresh instance {:.2} µs more (best of {ROUNDS} × {times})",
        micros(proved),
        micros(called.saturating_sub(proved))
    );
}
