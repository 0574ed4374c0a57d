//! Orders, payments and refunds over crashes: a real host process is killed (SIGKILL) at each step between an order and its
//! refund, and at any moment under load. Afterwards the history of what clients were told, the database and the provider's
//! ledger must agree:
//!
//! * what was acknowledged is there, and in the state that was acknowledged;
//! * an order that stands was charged once, for its total;
//! * one that came to nothing was never charged, or charged once and paid back once;
//! * nothing was charged that is no order;
//! * each notice that is written down was sent, once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use dinehub::{
    command::outside::{self, Outside},
    http::fake::{Entry, Moment},
};
use harness::{
    client::Client,
    database::connect,
    server::{PASSWORD, features, root, try_admit},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    machine::{Machine, Node, free_address},
    order::{ORDERS, order_of, stock},
};

const CHARGES: &str = "/v1/charges";
const REFUNDS: &str = "/v1/refunds";
const MESSAGES: &str = "/v1/messages";

/// One host process, killed and started again, and a provider that outlives it.
struct Scene {
    machine: Machine,
    admin: tokio_postgres::Client,
    outside: Vec<Outside>,
    node: Option<Node>,
    /// The process that a hook kills; 0 for none.
    target: Arc<AtomicI32>,
    owner: Client,
    customer: Client,
    /// Restaurant, and its two items.
    shop: (String, String, String),
}

/// What clients were told of an order: the last state that was acknowledged, and the one that was asked for since.
#[derive(Clone, Debug)]
struct Told {
    known: &'static str,
    asked: Option<&'static str>,
}

type History = BTreeMap<String, Told>;

impl Scene {
    async fn open() -> Self {
        let machine = Machine::new().await;
        assert_eq!(machine.run(&["db", "apply"]).0, Some(0));
        let admitted = try_admit(features().await).unwrap();
        let outside = outside::start(&root().join("plugins"), &admitted, &machine.rings(&admitted)).await.unwrap();
        machine.configure(&outside::routes(&outside));
        let node = machine.start(free_address());
        outside.iter().for_each(|one| one.fake.report_to(format!("http://{}", node.address)));
        let admin = connect(&machine.database.admin()).await;
        let person = async |name: &str, role: &str| {
            let client = Client::new(node.address, None);
            let (email, register) = (format!("{name}@example.com"), "/api/v1/auth/register");
            let new = json!({"email": email, "name": name, "password": PASSWORD});
            let _ = client.post(register, &new).await.expect(201);
            let promote = "update dinehub.account set roles = array[$2] where email = $1";
            admin.execute(promote, &[&email, &role]).await.unwrap();
            let login = json!({"email": email, "password": PASSWORD});
            client.with_token(&client.post("/api/v1/auth/login", &login).await.expect(200).text("/access_token"))
        };
        let (owner, customer) = (person("owner", "RESTAURANT_OWNER").await, person("customer", "USER").await);
        let shop = stock(&owner).await;
        let target = Arc::new(AtomicI32::new(0));
        Self { machine, admin, outside, node: Some(node), target, owner, customer, shop }
    }

    /// From now on the process is killed when the provider reaches this moment of a question at `path`, once.
    fn kill_at(&self, at: Moment, path: &'static str) {
        self.target.store(self.node.as_ref().unwrap().pid(), Ordering::SeqCst);
        for one in &self.outside {
            let target = Arc::clone(&self.target);
            one.fake.set_hook(Some(Arc::new(move |moment, asked| {
                let pid = if moment == at && asked == path { target.swap(0, Ordering::SeqCst) } else { 0 };
                if pid != 0 {
                    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
                }
                Box::pin(async { None })
            })));
        }
    }

    /// Waits for the process's end, and starts another one. Whatever a dead host had lent to itself is over: a lease that ran
    /// out early is one more thing that must not matter.
    async fn rise(&mut self) {
        let node = self.node.take().unwrap();
        let address = node.address;
        node.wait();
        self.outside.iter().for_each(|one| one.fake.set_hook(None));
        self.expire().await;
        self.node = Some(self.machine.start(address));
    }

    async fn expire(&self) {
        // A session of the dead host may still be at it.
        self.admin.execute("update platform.delivery set due_at = now() where state = 'pending'", &[]).await.unwrap();
    }

    async fn fell(&mut self) {
        self.node.as_ref().unwrap().kill();
        self.rise().await;
    }

    async fn place(&self) -> Option<String> {
        let (restaurant, soup, bread) = &self.shop;
        let answer = self.customer.try_post(ORDERS, &order_of(restaurant, soup, bread, 1, 1)).await?;
        (answer.status == 201).then(|| answer.text("/id"))
    }

    /// Gives the status, if there was an answer.
    async fn step(&self, client: &Client, order: &str, verb: &str) -> Option<u16> {
        Some(client.try_post(&format!("{ORDERS}/{order}/{verb}"), &Value::Null).await?.status)
    }

    /// Another session that keeps everybody from writing to `table` until it is dropped.
    async fn hold(&self, table: &str) -> tokio_postgres::Client {
        let holder = connect(&self.machine.database.admin()).await;
        holder.batch_execute(&format!("begin; lock table {table} in exclusive mode")).await.unwrap();
        holder
    }

    async fn count(&self, rows: &str) -> i64 {
        self.admin.query_one(&format!("select count(*) from {rows}"), &[]).await.unwrap().get(0)
    }

    async fn wait_for(&self, what: &str, rows: &str, is_enough: impl Fn(i64) -> bool) {
        let begun = Instant::now();
        while !is_enough(self.count(rows).await) {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}: {} of {rows}", self.count(rows).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until everything that was published has been heard, and the provider's answers are recorded.
    async fn settle(&self) {
        let open = "platform.delivery where state <> 'delivered'";
        self.wait_for("not settled", open, |count| count == 0).await;
    }

    fn ledger(&self, path: &str) -> Vec<Entry> {
        let all = self.outside.iter().flat_map(|one| one.fake.entries());
        all.filter(|entry| entry.path == path && entry.status == 201).collect()
    }

    /// The history checker.
    async fn check(&self, history: &History) {
        self.settle().await;
        let rows = self
            .admin
            .query(
                "select o.id::text, o.state::text, o.total_cents, p.state::text, p.charge_id, p.refund_id
            from ordering.customer_order o left join payments.payment p on p.order_id = o.id",
                &[],
            )
            .await
            .unwrap();
        let mut orders = BTreeMap::new();
        for row in &rows {
            let (id, state, total): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
            let (paid, charge_id, refund_id): (Option<String>, Option<String>, Option<String>) =
                (row.get(3), row.get(4), row.get(5));
            let of = |path: &str| -> Vec<Entry> {
                self.ledger(path).into_iter().filter(|entry| entry.asked["order"] == json!(id)).collect()
            };
            let (charges, refunds) = (of(CHARGES), of(REFUNDS));
            let seen = format!("{id} {state} {paid:?}: {charges:?} {refunds:?}");
            let name = |entries: &[Entry]| entries.first().map(|entry| entry.answer["id"].as_str().unwrap().to_owned());
            assert!(charges.len() <= 1 && refunds.len() <= charges.len(), "{seen}");
            assert!(charges.iter().chain(&refunds).all(|entry| entry.asked["amount"] == json!(total)), "{seen}");
            assert!(charge_id == name(&charges) && refund_id == name(&refunds), "the database knows another: {seen}");
            assert!(refunds.iter().all(|refund| refund.asked["charge"] == charges[0].answer["id"]), "{seen}");
            let is_off = state == "rejected" || state == "cancelled";
            let wanted = match (is_off, charges.len()) {
                (false, 1) => "charged",
                (true, 1) => "refunded",
                (true, 0) => "unwanted",
                _ => panic!("an order that stands is not charged: {seen}"),
            };
            assert_eq!((paid.as_deref(), refunds.len()), (Some(wanted), usize::from(wanted == "refunded")), "{seen}");
            orders.insert(id, state);
        }
        for (id, told) in history {
            let state = orders.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
            assert!(state == told.known || Some(state.as_str()) == told.asked, "{id} is {state}, but {told:?}");
        }
        for entry in self.ledger(CHARGES) {
            assert!(orders.contains_key(entry.asked["order"].as_str().unwrap()), "no order was charged: {entry:?}");
        }
        assert_eq!(
            self.count(
                "(select 1 from platform.event group by interface, function, key having count(*) > 1
            and interface like 'dinehub:payments/payment-events@%') twice"
            )
            .await,
            0,
            "news is told once"
        );
        let mut sent: Vec<String> = self.ledger(MESSAGES).into_iter().map(|entry| entry.key).collect();
        let notices = "select id::text from notifications.notice where state = 'sent' order by 1";
        let notices: Vec<String> = self.admin.query(notices, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        sent.sort();
        assert_eq!(sent, notices, "what was sent is known to be");
        assert_eq!(self.count("notifications.notice where state <> 'sent'").await, 0);
        assert!(notices.len() >= orders.len(), "each order is told of: {notices:?} {orders:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_between_an_order_and_its_refund() {
    let mut scene = Scene::open().await;
    let mut history = History::new();
    // While the order is written: nobody was told, and it may be there or not; whole, if it is.
    let holder = scene.hold("platform.delivery").await;
    let (waiting, pid) = (
        "pg_stat_activity where wait_event_type = 'Lock' and usename like current_database() || '_ordering_rw'",
        scene.node.as_ref().unwrap().pid(),
    );
    let (placed, ()) = tokio::join!(scene.place(), async {
        scene.wait_for("no order waits", waiting, |count| count == 1).await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    });
    assert_eq!(placed, None);
    drop(holder);
    scene.rise().await;
    // Before the provider did anything, and after it did and nobody heard; at the charge, at the refund, at a notice.
    for (at, path) in [
        (Moment::Asked, CHARGES),
        (Moment::Done, CHARGES),
        (Moment::Asked, REFUNDS),
        (Moment::Done, REFUNDS),
        (Moment::Asked, MESSAGES),
        (Moment::Done, MESSAGES),
    ] {
        scene.kill_at(at, path);
        // Who is killed that early may not have answered.
        let order = scene.place().await;
        if let Some(order) = &order {
            history.insert(order.clone(), Told { known: "placed", asked: None });
        }
        if path == REFUNDS {
            let order = order.unwrap();
            let paid = format!("payments.payment where order_id = '{order}' and state = 'charged'");
            scene.wait_for("not charged", &paid, |count| count == 1).await;
            let told = scene.step(&scene.owner, &order, "reject").await;
            let (known, asked) = if told == Some(200) { ("rejected", None) } else { ("placed", Some("rejected")) };
            history.insert(order, Told { known, asked });
        }
        scene.rise().await;
        assert_eq!(scene.target.load(Ordering::SeqCst), 0, "it was killed there");
        scene.check(&history).await;
    }
    // While what was heard is recorded: the order's own event, the provider's answer, the cancellation.
    for until in ["want", "charged", "unwant"] {
        let order = if until == "unwant" { scene.place().await } else { None };
        if let Some(order) = &order {
            history.insert(order.clone(), Told { known: "placed", asked: None });
            scene.settle().await;
        }
        let hook = until == "charged";
        let gate = Arc::new(tokio::sync::Notify::new());
        if hook {
            // The provider answers when the table is held.
            for one in &scene.outside {
                let gate = Arc::clone(&gate);
                one.fake.set_hook(Some(Arc::new(move |moment, path| {
                    let (gate, waits) = (Arc::clone(&gate), moment == Moment::Done && path == CHARGES);
                    Box::pin(async move {
                        if waits {
                            gate.notified().await;
                        }
                        None
                    })
                })));
            }
        }
        let mut holder = None;
        if !hook {
            holder = Some(scene.hold("payments.payment").await);
        }
        match &order {
            Some(order) => {
                assert_eq!(scene.step(&scene.customer, order, "cancel").await, Some(200));
                history.insert(order.clone(), Told { known: "cancelled", asked: None });
            }
            None => {
                let order = scene.place().await.unwrap();
                if hook {
                    let due = format!("payments.payment where order_id = '{order}' and state = 'due'");
                    scene.wait_for("not due", &due, |count| count == 1).await;
                    while !scene.ledger(CHARGES).iter().any(|entry| entry.asked["order"] == json!(order)) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    holder = Some(scene.hold("payments.payment").await);
                    gate.notify_one();
                }
                history.insert(order, Told { known: "placed", asked: None });
            }
        }
        let waiting =
            "pg_stat_activity where wait_event_type = 'Lock' and usename like current_database() || '_payments_rw'";
        scene.wait_for("nothing is being recorded", waiting, |count| count > 0).await;
        scene.node.as_ref().unwrap().kill();
        drop(holder);
        scene.rise().await;
        scene.check(&history).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_under_load() {
    let mut scene = Scene::open().await;
    let mut history = History::new();
    for round in 0..4_u64 {
        let pid = scene.node.as_ref().unwrap().pid();
        // How far the load gets before the kill: each round further.
        let steps = 4 + round * 7;
        let counter = AtomicI32::new(0);
        let clients = futures::future::join_all((0..4_u64).map(|lane| {
            let (scene, counter) = (&scene, &counter);
            async move {
                let mut told = History::new();
                for turn in 0.. {
                    let done = counter.fetch_add(1, Ordering::SeqCst);
                    if u64::try_from(done).unwrap() == steps {
                        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
                    }
                    let Some(order) = scene.place().await else { break };
                    told.insert(order.clone(), Told { known: "placed", asked: None });
                    let (client, verb, state) = match (lane + turn) % 4 {
                        0 => (&scene.customer, "cancel", "cancelled"),
                        1 => (&scene.owner, "reject", "rejected"),
                        2 => (&scene.owner, "accept", "accepted"),
                        _ => continue,
                    };
                    told.insert(order.clone(), Told { known: "placed", asked: Some(state) });
                    if scene.step(client, &order, verb).await == Some(200) {
                        told.insert(order, Told { known: state, asked: None });
                    } else {
                        break;
                    }
                }
                told
            }
        }))
        .await;
        history.extend(clients.into_iter().flatten());
        scene.rise().await;
    }
    scene.fell().await;
    assert!(history.len() > 8, "there was a history: {history:?}");
    scene.check(&history).await;
}
