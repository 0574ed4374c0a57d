//! A deletion on its way through the plugins: switched off, failing, dropped, killed.

use std::time::Duration;

use harness::{
    client::Client,
    database::connect,
    server::{PASSWORD, Server, features, try_admit},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use super::{EXPORT, ME, finished, kept, order, progress, rows, work};
use crate::{
    audit::events,
    crash::Scene,
    order::{Kitchen, ORDERS, order_of},
};

/// Its rows are there, whether it is switched off or this host never heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_served_is_waited_for() {
    for is_named in [true, false] {
        let server = Server::start().await;
        let kitchen = Kitchen::open(&server).await;
        let anna = server.person("USER").await;
        let placed = order(&anna, &kitchen, "ring twice").await;
        let (off, on): (Vec<_>, Vec<_>) = try_admit(features().await)
            .unwrap()
            .into_iter()
            .partition(|one| ["ordering", "payments"].contains(&one.candidate().id().as_str()));
        let disabled = if is_named { off.iter().map(|one| one.candidate().series()).collect() } else { Vec::new() };
        server.host.renew(&server.rings, on, disabled).await.unwrap();
        let told = anna.client.get(EXPORT).await;
        told.refused(503, "disabled");
        let id = anna.client.delete(ME).await.expect(202).text("/id");
        for _ in 0..2 {
            work(&server).await;
        }
        let waits = progress(&server.anonymous(), &id).await;
        assert!(waits["finished_at"].is_null(), "{waits}");
        assert_eq!(waits["waits_for"], json!(["ordering", "payments"]));
        assert!(waits["report"]["restaurants"].is_object(), "the others are asked: {waits}");
        assert_eq!(
            rows(&server, &format!("account where id = '{}' and deactivated_at is not null", anna.id())).await,
            1
        );
        assert_eq!(kept(&server, &placed).await.0.as_deref(), Some("ring twice"));
        let said = events(&server).await.into_iter().filter(|event| event["act"] == "waits").count();
        assert_eq!(said, 1, "once, not each time it is tried");
        server.host.renew(&server.rings, try_admit(features().await).unwrap(), Vec::new()).await.unwrap();
        let done = finished(&server, &id).await;
        assert_eq!(done["report"].as_object().unwrap().len(), 4);
        assert_eq!(kept(&server, &placed).await, (None, "cancelled".to_owned()));
        assert_eq!(rows(&server, &format!("account where id = '{}'", anna.id())).await, 0);
    }
}

/// One plugin fails; the others are done, and not asked again when it works again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_broke_off_goes_on_where_it_was() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let anna = server.person("USER").await;
    let placed = order(&anna, &kitchen, "ring twice").await;
    let admin = connect(&server.database.admin()).await;
    let login = format!("{}_payments_rw", server.database.admin().database);
    let change = |verb: &str, to: &str| format!("{verb} update (reason) on payments.payment {to} \"{login}\"");
    admin.batch_execute(&change("revoke", "from")).await.unwrap();
    let id = anna.client.delete(ME).await.expect(202).text("/id");
    work(&server).await;
    let waits = progress(&server.anonymous(), &id).await;
    assert_eq!(waits["waits_for"], json!(["payments"]));
    assert!(waits["report"]["ordering"].is_object() && waits["report"]["restaurants"].is_object(), "{waits}");
    assert_eq!(kept(&server, &placed).await, (None, "cancelled".to_owned()));
    let faults: Vec<_> = events(&server).await.into_iter().filter(|event| event["actor"] == "system:privacy").collect();
    assert!(faults.iter().any(|event| event["plugin"] == "payments"), "{faults:?}");
    let on = server.person("ADMIN").await.client;
    let switched = on.put(&format!("/api/v1/admin/users/{}/active", anna.id()), &json!({"active": true})).await;
    switched.refused(404, "not_found");
    admin.batch_execute(&change("grant", "to")).await.unwrap();
    let mark = format!("update ordering.customer_order set note = 'not asked again' where id = '{placed}'");
    admin.batch_execute(&mark).await.unwrap();
    let done = finished(&server, &id).await;
    assert_eq!(done["report"].as_object().unwrap().len(), 4);
    assert_eq!(kept(&server, &placed).await.0.as_deref(), Some("not asked again"));
}

/// Dropped at any await, as a process that is killed: nothing is lost, and the end is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_dropped_anywhere_comes_to_its_end() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let anna = server.person("USER").await;
    let placed = order(&anna, &kitchen, "ring twice").await;
    let id = anna.client.delete(ME).await.expect(202).text("/id");
    let admin = connect(&server.database.admin()).await;
    for micros in (0..20).map(|step| step * 700) {
        let hurry = "update dinehub.deletion set lease_until = now() where finished_at is null";
        admin.batch_execute(hurry).await.unwrap();
        let worked = tokio::time::timeout(Duration::from_micros(micros), server.host.erase_next()).await;
        if let Ok(outcome) = worked {
            outcome.unwrap();
        }
    }
    let done = finished(&server, &id).await;
    assert_eq!(done["report"].as_object().unwrap().len(), 4);
    assert_eq!(kept(&server, &placed).await, (None, "cancelled".to_owned()));
    assert_eq!(rows(&server, &format!("account where id = '{}'", anna.id())).await, 0);
}

/// The host process is killed (SIGKILL) while each plugin forgets, and while the account itself goes. Whoever rises finishes,
/// and an order that was paid and came to nothing is paid back.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_of_a_deletion() {
    let mut scene = Scene::open().await;
    for (table, login) in [
        ("ordering.customer_order", "ordering_rw"),
        ("payments.payment", "payments_rw"),
        ("restaurants.restaurant", "restaurants_rw"),
        ("dinehub.account", "control"),
    ] {
        let address = scene.node.as_ref().unwrap().address;
        let email = format!("{login}@example.com");
        let new = json!({"email": email, "name": "Anna", "password": PASSWORD});
        let nobody = Client::new(address, None);
        let _ = nobody.post("/api/v1/auth/register", &new).await.expect(201);
        let login_of = json!({"email": email, "password": PASSWORD});
        let token = nobody.post("/api/v1/auth/login", &login_of).await.expect(200).text("/access_token");
        let anna = nobody.with_token(&token);
        let own = anna.get(ME).await.expect(200).text("/id");
        let (restaurant, soup, bread) = scene.shop.clone();
        let mut wanted = order_of(&restaurant, &soup, &bread, 1, 1);
        wanted["note"] = json!("ring twice");
        let placed = anna.post(ORDERS, &wanted).await.expect(201).text("/id");
        scene.settle().await;
        let id = anna.delete(ME).await.expect(202).text("/id");
        let holder = scene.hold(table).await;
        let hurry = "update dinehub.deletion set lease_until = now() where finished_at is null";
        scene.admin.batch_execute(hurry).await.unwrap();
        let waiting =
            format!("pg_stat_activity where wait_event_type = 'Lock' and usename = current_database() || '_{login}'");
        scene.wait_for("nobody forgets", &waiting, |count| count > 0).await;
        kill(Pid::from_raw(scene.node.as_ref().unwrap().pid()), Signal::SIGKILL).unwrap();
        drop(holder);
        scene.rise().await;
        scene.admin.batch_execute(hurry).await.unwrap();
        let over = format!("dinehub.deletion where id = '{id}' and finished_at is not null");
        scene.wait_for("not finished", &over, |count| count == 1).await;
        let done = progress(&Client::new(address, None), &id).await;
        assert_eq!(done["report"].as_object().unwrap().len(), 4, "{done}");
        let gone = format!("dinehub.account where email = '{email}'");
        assert_eq!(scene.count(&gone).await, 0);
        let empty = format!("ordering.customer_order where id = '{placed}' and note is null and state = 'cancelled'");
        assert_eq!(scene.count(&empty).await, 1);
        let back = format!("payments.payment where order_id = '{placed}' and state = 'refunded'");
        scene.wait_for("not paid back", &back, |count| count == 1).await;
        scene.settle().await;
        let told = format!("notifications.notice where recipient_id = '{own}'");
        assert_eq!(scene.count(&told).await, 0, "what came of it later is news to nobody");
    }
}
