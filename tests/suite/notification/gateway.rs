//! What the gateway does to a notice: down, failing, slow, deaf, and never.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dinehub::http::fake::{Hook, Moment};

use super::{Scene, kinds};
use crate::{event::config, order::place};

const OUTBOX: &str = "platform.delivery where interface like 'dinehub:notifications/outbox@%'";

/// Gives `status` at a moment of messages.
fn answers(at: Moment, status: u16) -> Option<Hook> {
    Some(Arc::new(move |moment, asked| {
        let given = (moment == at && asked == "/v1/messages").then_some(status);
        Box::pin(async move { given })
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_down_or_fails_or_is_slow_delays_a_notice_and_doubles_none() {
    let scene = Scene::open(10_000).await;
    for (at, status) in [(Moment::Asked, 503), (Moment::Asked, 429), (Moment::Asked, 302), (Moment::Done, 500)] {
        scene.gateway().fake.set_hook(answers(at, status));
        let order = place(&scene.customer.client, &scene.kitchen).await;
        let waiting = format!("notifications.notice where order_id = '{order}' and state = 'waiting'");
        scene.wait_for(2, &waiting).await;
        scene.wait_for(1, &format!("(select 1 from {OUTBOX} and attempts > 2 limit 1) tried")).await;
        scene.gateway().fake.set_hook(None);
        scene.wait_for(0, &waiting).await;
        scene.settle().await;
        let ours = scene.notices(&scene.customer).await;
        assert_eq!(kinds(&ours)[0], ("payment-paid", "sent"));
    }
    // Done, and the answer does not come: the next one asks with the same key.
    let hung = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&hung);
    scene.gateway().fake.set_hook(Some(Arc::new(move |moment, _| {
        let is_first = moment == Moment::Done && counter.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move { if is_first { std::future::pending().await } else { None } })
    })));
    let _ = place(&scene.customer.client, &scene.kitchen).await;
    scene.settle().await;
    assert!(hung.load(Ordering::SeqCst) >= 3, "one hung, and two were answered");
    let all = scene.gateway().fake.entries();
    assert_eq!((all.len(), scene.count("notifications.notice where state = 'sent'").await), (10, 10), "{all:#?}");
    assert!(all.iter().any(|entry| entry.times > 1), "some were asked for twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_taken_while_nobody_answers_at_the_gateway_and_what_is_dead_is_sent_later() {
    let mut config = config(true, 2);
    // Nobody listens there, now or later.
    let closed = crate::machine::free_address();
    let _ = config.egress.routes.insert("https://push.example".to_owned(), format!("http://{closed}"));
    let scene = Scene::configured(config).await;
    let order = place(&scene.customer.client, &scene.kitchen).await;
    let why = scene.dead(2).await;
    assert!(why.iter().all(|why| why.contains("the gateway's answer: Error::Unreachable")), "{why:?}");
    scene.act(&scene.kitchen.owner.client, &order, "accept").await;
    let notices = scene.notices(&scene.customer).await;
    assert!(notices.iter().all(|one| one["state"] == "waiting"), "a person sees it all the same: {notices:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_took_for_an_hour_is_sent_again_and_what_is_too_old_never() {
    let scene = Scene::open(1).await;
    scene.gateway().fake.set_hook(answers(Moment::Asked, 503));
    let _ = place(&scene.customer.client, &scene.kitchen).await;
    let _ = scene.dead(2).await;
    scene.gateway().fake.set_hook(None);
    scene.chase().await;
    assert_eq!(scene.gateway().fake.entries().len(), 0, "it was asked for just now");
    scene
        .run("update notifications.notice set asked_at = now() - interval '2 hours' where kind = 'order-placed'")
        .await;
    scene.run("update notifications.notice set send_until = now() where kind = 'payment-paid'").await;
    scene.chase().await;
    scene.wait_for(1, "notifications.notice where state = 'sent' and kind = 'order-placed'").await;
    assert_eq!(kinds(&scene.notices(&scene.customer).await), [("payment-paid", "expired")]);
    // Somebody replays the dead: the gateway may have forgotten the key of the one that is too old.
    scene
        .run(
            "update platform.event set payload = regexp_replace(payload, '\"[^\"]*\"]$', '\"2020-01-01T00:00:00.000000Z\"]')
            where interface like 'dinehub:notifications/outbox@%' and payload like '%You paid%'",
        )
        .await;
    scene.replay().await;
    scene.settle().await;
    let all = scene.gateway().fake.entries();
    assert!(all.len() == 1 && all[0].asked["title"] == "Tasca has a new order", "{all:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_old_when_its_turn_comes_expires_unasked() {
    let scene = Scene::open(10_000).await;
    scene.gateway().fake.set_hook(answers(Moment::Asked, 503));
    let _ = place(&scene.customer.client, &scene.kitchen).await;
    scene.wait_for(2, &format!("{OUTBOX} and attempts > 1")).await;
    scene
        .run(
            "update platform.event set payload = regexp_replace(payload, '\"[^\"]*\"]$', '\"2020-01-01T00:00:00.000000Z\"]')
            where interface like 'dinehub:notifications/outbox@%'",
        )
        .await;
    scene.wait_for(2, "notifications.notice where state = 'expired'").await;
    scene.gateway().fake.set_hook(None);
    scene.settle().await;
    assert_eq!(scene.gateway().fake.entries().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_will_never_send_is_asked_for_once() {
    let scene = Scene::open(10_000).await;
    for status in [410, 422] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        scene.gateway().fake.set_hook(Some(Arc::new(move |_, _| {
            counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Some(status) })
        })));
        let _ = place(&scene.customer.client, &scene.kitchen).await;
        scene.settle().await;
        scene.run("update notifications.notice set asked_at = now() - interval '2 hours'").await;
        scene.chase().await;
        scene.settle().await;
        assert_eq!(asked.load(Ordering::SeqCst), 2, "one to each side");
    }
    assert_eq!(scene.count("notifications.notice where state = 'refused' and settled_at is not null").await, 4);
}
