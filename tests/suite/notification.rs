//! Notices over HTTP, with a gateway on loopback: each is sent once, to those whom it concerns, in words from one directory;
//! what stands in the way is waited out or said, and nothing that anybody typed leads elsewhere.

mod gateway;

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dinehub::{command::outside::Outside, config::Config, http::fake::Entry};
use harness::{
    client::Client,
    database::connect,
    server::{Person, Server, root},
};
use serde_json::{Value, json};

use crate::{
    event::config,
    order::{Kitchen, ORDERS, place, restaurant},
};

const NOTICES: &str = "/api/v1/notifications/notices";

struct Scene {
    server: Server,
    admin: tokio_postgres::Client,
    kitchen: Kitchen,
    customer: Person,
    /// A copy of the plugin's directory of templates.
    templates: PathBuf,
    _home: tempfile::TempDir,
}

impl Scene {
    async fn open(attempts_max: u16) -> Self {
        Self::configured(config(true, attempts_max)).await
    }

    async fn configured(mut config: Config) -> Self {
        let home = tempfile::tempdir().unwrap();
        let templates = home.path().join("notifications/files/templates");
        fs::create_dir_all(&templates).unwrap();
        for entry in fs::read_dir(root().join("plugins/notifications/files/templates")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, templates.join(path.file_name().unwrap())).unwrap();
        }
        config.plugins.files_directory = home.path().to_owned();
        let server = Server::configured(&config).await;
        let admin = connect(&server.database.admin()).await;
        let (kitchen, customer) = (Kitchen::open(&server).await, server.person("USER").await);
        Self { server, admin, kitchen, customer, templates, _home: home }
    }

    fn gateway(&self) -> &Outside {
        self.server.outside.iter().find(|one| one.handle == "gateway").unwrap()
    }

    /// What the gateway took for `person`: title and text, in the order in which it came.
    fn taken(&self, person: &Person) -> Vec<Entry> {
        let mut entries = self.gateway().fake.entries();
        entries.retain(|entry| entry.asked["to"] == json!(person.id()));
        entries
    }

    async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    async fn count(&self, rows: &str) -> i64 {
        self.admin.query_one(&format!("select count(*) from {rows}"), &[]).await.unwrap().get(0)
    }

    async fn wait_for(&self, count: i64, rows: &str) {
        let begun = Instant::now();
        while self.count(rows).await != count {
            if begun.elapsed() > Duration::from_secs(60) {
                let open = "select d::text from platform.delivery d where state <> 'delivered'
                    union all select n::text from notifications.notice n";
                let all = self.admin.query(open, &[]).await.unwrap();
                let all: Vec<String> = all.iter().map(|row| row.get(0)).collect();
                panic!("not {count} but {} of {rows}: {all:#?}", self.count(rows).await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until everything that was published has been heard.
    async fn settle(&self) {
        self.wait_for(0, "platform.delivery where state <> 'delivered'").await;
    }

    /// Until so many deliveries are dead; gives why.
    async fn dead(&self, count: i64) -> Vec<String> {
        self.wait_for(count, "platform.delivery where state = 'dead'").await;
        let why = "select failure from platform.delivery where state = 'dead' order by id";
        self.admin.query(why, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Gives the dead another life, as `dinehub event replay` does.
    async fn replay(&self) {
        let control = self.server.host.office().control;
        assert!(dinehub::database::event::replay(&control, None, Some("notifications")).await.unwrap() > 0);
    }

    /// Has the plugin look for what is late.
    async fn chase(&self) {
        let due = "plugin = 'notifications' and function = 'chase'";
        self.run(&format!("update platform.schedule set due_s = 1000 where {due}")).await;
        self.wait_for(1, &format!("platform.schedule where {due} and ran_s = 1000 and due_s > 1000")).await;
        self.run(&format!("update platform.schedule set ran_s = null where {due}")).await;
    }

    async fn act(&self, client: &Client, order: &str, verb: &str) {
        let _ = client.act(&format!("{ORDERS}/{order}/{verb}")).await.expect(200);
    }

    async fn notices(&self, person: &Person) -> Vec<Value> {
        person.client.get(NOTICES).await.expect(200).json["items"].as_array().unwrap().clone()
    }
}

fn kinds(notices: &[Value]) -> Vec<(&str, &str)> {
    notices.iter().map(|one| (one["kind"].as_str().unwrap(), one["state"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_of_somebody_else_does_not_exist() {
    let scene = Scene::open(3).await;
    let order = place(&scene.customer.client, &scene.kitchen).await;
    scene.act(&scene.kitchen.owner.client, &order, "accept").await;
    scene.settle().await;
    let mine = scene.notices(&scene.customer).await;
    assert_eq!(mine.len(), 2);
    let one = format!("{NOTICES}/{}", mine[0]["id"].as_str().unwrap());
    let cursor = scene.customer.client.get(&format!("{NOTICES}?limit=1")).await.expect(200).text("/next_cursor");
    let others = [
        scene.server.person("USER").await.client,
        scene.server.person("RESTAURANT_OWNER").await.client,
        scene.server.person("ADMIN").await.client,
    ];
    for other in others.iter().chain([&scene.kitchen.owner.client]) {
        other.get(&one).await.refused(404, "not_found");
        let stolen = other.get(&format!("{NOTICES}?cursor={cursor}")).await;
        stolen.refused(422, "invalid");
        assert_eq!(stolen.pointers(), ["?cursor"]);
    }
    for other in &others {
        assert_eq!(other.get(NOTICES).await.expect(200).json["items"], json!([]));
    }
    for path in [NOTICES, &one] {
        scene.server.anonymous().get(path).await.refused(401, "unauthenticated");
    }
    for limit in ["0", "51", "-1", "many"] {
        scene.customer.client.get(&format!("{NOTICES}?limit={limit}")).await.refused(422, "invalid");
    }
    assert_eq!(scene.customer.client.get(&one).await.expect(200).json, mine[0]);
    let owners = scene.notices(&scene.kitchen.owner).await;
    assert_eq!(kinds(&owners), [("order-placed", "sent")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orders_life_is_told_once_to_those_whom_it_concerns() {
    let scene = Scene::open(3).await;
    let (owner, customer) = (&scene.kitchen.owner, &scene.customer);
    let _stranger = Kitchen::open(&scene.server).await;
    let mut body = scene.kitchen.order(1, 1);
    body["note"] = json!("between the chef and me");
    let order = customer.client.post(ORDERS, &body).await.expect(201).text("/id");
    scene.settle().await;
    for verb in ["accept", "prepare", "ready", "complete"] {
        scene.act(&owner.client, &order, verb).await;
        scene.settle().await;
    }
    let second = place(&customer.client, &scene.kitchen).await;
    scene.settle().await;
    scene.act(&customer.client, &second, "cancel").await;
    scene.settle().await;
    let told = |entries: Vec<Entry>| -> Vec<String> {
        entries.iter().map(|entry| entry.asked["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(told(scene.taken(owner)), ["Tasca has a new order", "Tasca has a new order", "An order was cancelled"]);
    let mut customers = told(scene.taken(customer));
    // Two sources tell of a cancelled order, in either order.
    customers[5..].sort();
    assert_eq!(
        customers,
        [
            "You paid 5.70 EUR",
            "Tasca took your order",
            "Your order is ready",
            "Enjoy your meal",
            "You paid 5.70 EUR",
            "5.70 EUR is on its way back",
            "Your order is cancelled"
        ]
    );
    let all = scene.gateway().fake.entries();
    assert_eq!(all.len(), 10, "and nobody else was told anything: {all:#?}");
    assert!(all.iter().all(|entry| entry.times == 1 && entry.status == 201));
    let said = format!("{all:?}");
    assert!(!said.contains("between the chef and me") && !said.contains('@'), "{said}");
    // What is listed is what was sent, under the same name.
    let mut listed = scene.notices(customer).await;
    listed.extend(scene.notices(owner).await);
    assert!(listed.iter().all(|one| one["state"] == "sent" && one["settled_at"].is_string()), "{listed:#?}");
    for entry in &all {
        let notice = listed.iter().find(|one| one["id"] == json!(entry.key)).unwrap();
        assert_eq!((&notice["title"], &notice["text"]), (&entry.asked["title"], &entry.asked["text"]));
    }
    // Everything is delivered a second time: nobody hears a second time.
    scene.run("update platform.delivery set state = 'pending' where subscriber = 'notifications'").await;
    scene.settle().await;
    let again = scene.gateway().fake.entries();
    assert!(again.len() == 10 && again.iter().all(|entry| entry.times == 2), "{again:#?}");
    assert_eq!(scene.count("notifications.notice").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_are_paged_newest_first() {
    let scene = Scene::open(3).await;
    for _ in 0..5 {
        let _ = place(&scene.customer.client, &scene.kitchen).await;
        scene.settle().await;
    }
    let owner = &scene.kitchen.owner.client;
    let (mut seen, mut path, mut pages) = (Vec::new(), format!("{NOTICES}?limit=2"), 0);
    loop {
        let page = owner.get(&path).await.expect(200);
        seen.extend(page.json["items"].as_array().unwrap().clone());
        pages += 1;
        let Some(cursor) = page.json["next_cursor"].as_str() else { break };
        path = format!("{NOTICES}?limit=2&cursor={cursor}");
    }
    assert_eq!((seen.len(), pages), (5, 3));
    let created: Vec<&str> = seen.iter().map(|one| one["created_at"].as_str().unwrap()).collect();
    assert!(created.windows(2).all(|pair| pair[0] > pair[1]), "{created:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_template_a_notice_is_dead_and_not_lost() {
    let scene = Scene::open(2).await;
    let file = scene.templates.join("order-placed.txt");
    let template = fs::read_to_string(&file).unwrap();
    let outside = scene.templates.parent().unwrap().parent().unwrap().join("outside.txt");
    fs::write(&outside, "A secret\nof another plugin\n").unwrap();
    let link = |target: &str| std::os::unix::fs::symlink(target, &file).unwrap();
    let mut dead = 0;
    for (what, why, ruin) in [
        ("it is gone", "Missing", &(|| {}) as &dyn Fn()),
        ("it leads out", "Missing", &|| link("../../outside.txt")),
        ("it leads out by its whole path", "Missing", &|| link(outside.to_str().unwrap())),
        ("it leads to the system", "Missing", &|| link("/etc/passwd")),
        ("it is a directory", "Missing", &|| fs::create_dir(&file).unwrap()),
        ("it is too large", "TooLarge", &|| fs::write(&file, "x\n".repeat(4_000)).unwrap()),
        ("it is no text", "NotText", &|| fs::write(&file, b"a\n\xff\xfe").unwrap()),
        ("it is empty", "has no title and body", &|| fs::write(&file, "").unwrap()),
        ("it names nothing", "names `order`, which there is none of", &|| fs::write(&file, "{order}\nb").unwrap()),
    ] {
        let _ = fs::remove_file(&file);
        ruin();
        let _ = place(&scene.customer.client, &scene.kitchen).await;
        dead += 1;
        let said = scene.dead(dead).await;
        let said = said.last().unwrap();
        assert!(said.contains("template order-placed.txt") && said.contains(why), "{what}: {said}");
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
    }
    assert_eq!(scene.taken(&scene.kitchen.owner).len(), 0);
    assert_eq!(scene.count("notifications.notice where kind = 'order-placed'").await, 0);
    // What has its template is told.
    scene.wait_for(9, "notifications.notice where kind = 'payment-paid' and state = 'sent'").await;
    fs::write(&file, template).unwrap();
    scene.replay().await;
    scene.settle().await;
    assert_eq!(scene.taken(&scene.kitchen.owner).len(), 9);
    let said = format!("{:?}", scene.gateway().fake.entries());
    assert!(!said.contains("A secret") && !said.contains("root:"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_typed_is_words_and_leads_nowhere() {
    let scene = Scene::open(3).await;
    // Whoever comes here was led here.
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place_of_trap = trap.local_addr().unwrap();
    let visited = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&visited);
    let listening = tokio::spawn(async move {
        while trap.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    fs::write(
        scene.templates.join("order-placed.txt"),
        format!("{{restaurant}}\nHost: {place_of_trap}\nhttp://{place_of_trap}/ https://169.254.169.254/ ../../etc/passwd\n{{total}}"),
    )
    .unwrap();
    let names = [
        "{total} {restaurant} {unknown} {{".to_owned(),
        "<script src=//evil.example></script> & \"quoted\" '".to_owned(),
        format!("http://{place_of_trap}/?to={{total}}"),
        "../../../../etc/passwd %2e%2e/ $(id) `id` ${jndi:ldap://x}".to_owned(),
        "A\r\nBcc: everybody@example.com\r\n\r\nB".to_owned(),
    ];
    let at = format!("/api/v1/restaurants/{}", scene.kitchen.id);
    for name in &names {
        let mut edit = restaurant(name);
        let _ = edit.as_object_mut().unwrap().remove("currency");
        edit["accepting_orders"] = json!(true);
        let _ = scene.kitchen.owner.client.put(&at, &edit).await.expect(200);
        let mut order = scene.kitchen.order(1, 1);
        order["note"] = json!("{total}\n<b>{restaurant}</b>\r\nX-Injected: 1");
        let _ = scene.customer.client.post(ORDERS, &order).await.expect(201);
        scene.settle().await;
        let last = scene.taken(&scene.kitchen.owner).pop().unwrap();
        let title = last.asked["title"].as_str().unwrap();
        assert_eq!(title, name.replace(['\r', '\n'], " ").trim(), "as it was typed, in one line");
        assert_eq!(last.asked["text"].as_str().unwrap().lines().last(), Some("5.70 EUR"));
        assert_eq!(last.asked.as_object().unwrap().len(), 3, "to, title, text");
    }
    let all = scene.gateway().fake.entries();
    assert_eq!(all.len(), 2 * names.len());
    assert!(!format!("{all:?}").contains("X-Injected"), "a note is between the two sides");
    assert_eq!(visited.load(Ordering::SeqCst), 0, "nobody was led there");
    listening.abort();
    // Every request that left went to the one path of the one host.
    let events = crate::audit::events(&scene.server).await;
    let ours = events.iter().filter(|event| event["plugin"] == "notifications" && event["kind"] == "egress.sent");
    let ours: Vec<&Value> = ours.collect();
    assert_eq!(ours.len(), all.len(), "{events:#?}");
    assert!(ours.iter().all(|event| event["host"] == "gateway" && event["path"] == "/v1/messages"), "{ours:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_writes_a_notice_and_the_key_is_in_none() {
    let scene = Scene::open(3).await;
    let order = place(&scene.customer.client, &scene.kitchen).await;
    scene.settle().await;
    let edition = scene.server.app().edition();
    let plugin = edition.registry.newest().find(|plugin| plugin.id().as_str() == "notifications").unwrap();
    assert!(!plugin.imports.keys().any(|name| name.contains("secret")), "the key is the host's to write");
    let session = connect(&scene.server.login_of("notifications_rw")).await;
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let register = "insert into platform.connection (pid, token_sha256) values ($1, sha256('token'))";
    scene.admin.execute(register, &[&pid]).await.unwrap();
    for (kind, account, roles) in [
        ("user", scene.customer.id(), "USER"),
        ("user", scene.customer.id(), "ADMIN,RESTAURANT_OWNER,USER"),
        ("anonymous", "00000000-0000-0000-0000-000000000000".to_owned(), ""),
        ("system", "ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned(), ""),
    ] {
        let assume = format!("begin; select platform.assume('{kind}', '{account}', '{roles}', 'token', 1000)");
        session.batch_execute(&assume).await.unwrap();
        let update = format!(
            "update notifications.notice set asked_at = now() where id in
            (select id from notifications.notice where order_id = '{order}')"
        );
        let updated = session.execute(&update, &[]).await;
        let changed = updated.unwrap_or_else(|why| panic!("{why:?}"));
        assert_eq!(changed, if kind == "system" { 2 } else { 0 }, "{kind} {roles}");
        let insert = format!(
            "insert into notifications.notice (recipient_id, order_id, kind, title, body)
            values ('{account}', gen_random_uuid(), 'order-ready', 'Come', 'Now')"
        );
        assert_eq!(session.execute(&insert, &[]).await.is_ok(), kind == "system", "{kind} {roles}");
        session.batch_execute("rollback").await.unwrap();
    }
}
