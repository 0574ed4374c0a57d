//! What is measured, set up: a database, the host with real plugins, the twins beside it, and something to sell.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::serve::ListenerExt as _;
use dinehub::{
    access::policy::Rule,
    command::{
        install,
        project::read_roles,
        start::{self, Host, Rings, SECRETS},
    },
    config::Config,
    database::grant,
    http::{App, layers, serve},
    id::{Denial, Role},
    identity::account::NewAccount,
    plugin::{
        build::{self, Workshop},
        package::Package,
    },
    secret::{
        self,
        ring::Ring,
        vault::{self, Place, Vault},
    },
    telemetry::{self, Lines},
};
use harness::{
    client::{Answer, Client},
    cluster,
    database::{Database, connect},
    server::{PASSWORD, features, root, try_admit},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    scenario::{Landing, Measure, Scenario, Side, request},
    twin::{self, Texts, Twin, idiom, session::Pool},
};

const LABELS: &str = "/api/v1/shelf/labels";
const ITEMS: &str = "/api/v1/shelf/items";
const ORDERS: &str = "/api/v1/ordering/orders";
/// The caller's items among those of 200 others, and orders of strangers: a session that plans its statements while a table
/// is empty keeps plans that read all of it.
const SEED: &str = "
    insert into shelf.item (owner_id, name, price_cents, quantity, available)
    select case o when 0 then '{caller}'::uuid else gen_random_uuid() end,
           'Item ' || o || '.' || i, 100 + o + i, i, i % 2 = 0
    from generate_series(0, 200) o, generate_series(1, 50) i;
    insert into ordering.customer_order (customer_id, owner_id, restaurant_id, restaurant_name, currency, total_cents)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'Elsewhere', 'EUR', 900
    from generate_series(1, 20000);
    insert into ordering.order_line (order_id, customer_id, owner_id, position, menu_item_id, name, quantity, price_cents)
    select id, customer_id, owner_id, p, gen_random_uuid(), 'Dish', 1, 450
    from ordering.customer_order, generate_series(1, 2) p";

/// A running host and its twins, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) app: Arc<App>,
    /// A customer's.
    pub(crate) token: String,
    /// What the measured routes ask for, and what they refuse by.
    pub(crate) rule: Rule,
    pub(crate) denial: Denial,
    _database: Database,
    _log: telemetry::Guard,
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

impl World {
    /// Builds the plugins, starts everything, and proves that both sides of each scenario answer the same.
    pub(crate) async fn open() -> Self {
        let mut config = Config::default();
        config.plugins.compiler = std::env::current_exe().expect("this program");
        config.plugins.state_directory = target().join("bench/state");
        // As `serve` does: a host that counts and could log.
        let log = telemetry::start_log(Lines::Plain, &config.log.filter).unwrap_or_else(|why| panic!("{why}"));
        let _metrics = telemetry::start_metrics().unwrap_or_else(|why| panic!("{why}"));
        let database = Database::fresh().await;
        let admin = database.admin();
        let packages = packages().await;
        let texts = texts(&packages);
        let (rings, passwords) = rings();
        let admitted = try_admit(packages).unwrap_or_else(|why| panic!("{why}"));
        install::install(&admin, &rings, &admitted).await.unwrap_or_else(|why| panic!("{why}"));
        let roles = read_roles(&root().join("plugins/roles.toml")).unwrap_or_else(|why| panic!("{why}"));
        let host = start::host(&admin, &rings, admitted, roles, &config).await.unwrap_or_else(|why| panic!("{why}"));
        let address = serve_host(host.clone()).await;

        let customer = person(&host, address, "USER").await;
        let owner = person(&host, address, "RESTAURANT_OWNER").await;
        let order = open_restaurant(&owner.client, 8).await;
        let session = connect(&admin).await;
        session.batch_execute(&SEED.replace("{caller}", &customer.id)).await.expect("items");
        let idiomatic = admin.login(&format!("{}_idiom", admin.database), "only-for-the-bench".to_owned().into());
        let schema = idiom::SCHEMA
            .replace("{database}", &admin.database)
            .replace("{role}", &idiomatic.user)
            .replace("{password}", "only-for-the-bench");
        session.batch_execute(&schema).await.expect("the idiomatic twin's schema");
        session.batch_execute("vacuum analyze").await.expect("vacuum");

        let login = |plugin: &str, role: fn(grant::Roles) -> String| {
            let id = plugin.parse().expect("a plugin's id");
            let role = role(grant::Roles::of(&admin.database, &id).unwrap_or_else(|why| panic!("{why}")));
            let password = secret::derive(&passwords.current, &format!("role:{role}"));
            Pool::new(admin.login(&role, password), admin.clone())
        };
        let rule = Rule::AnyOf(vec!["USER".parse::<Role>().expect("a role")]);
        let denial = Denial::route("GET", "/");
        let twin = Twin {
            app: Arc::clone(&host.app),
            rule: rule.clone(),
            denial: denial.clone(),
            shelf: login("shelf", |roles| roles.ro),
            restaurants: login("restaurants", |roles| roles.ro),
            ordering: login("ordering", |roles| roles.rw),
            idiom: idiom::pool(&idiomatic),
            texts,
        };
        let natives = serve_twins(twin).await;
        let scenarios = scenarios(address, natives, &customer, &order).await;
        let (app, token) = (host.app, customer.token);
        Self { scenarios, app, token, rule, denial, _database: database, _log: log }
    }
}

async fn packages() -> Vec<Package> {
    let shelf = Workshop { source: root().join("tests/bench/guests"), output: target().join("bench-guests") };
    let built = build::build_all(&shelf, &cluster::admin(), |_| {}).await;
    let mut packages = features().await;
    // The twin of an order ends with the order: what others do because of one is not compared.
    packages.retain(|package| package.manifest.hosts.is_empty());
    packages.extend(built.unwrap_or_else(|why| panic!("{why}")));
    packages
}

fn texts(packages: &[Package]) -> Texts {
    let text = |handle: &str, name: &str| {
        let mut all = packages.iter().flat_map(|package| &package.content.statements);
        let found = all.find(|statement| statement.handle == handle && statement.name == name);
        found.unwrap_or_else(|| panic!("no statement {handle}/{name}")).text.clone()
    };
    Texts {
        find: text("items", "find"),
        mine: text("items", "mine"),
        quote: text("quotes", "read"),
        place: text("orders", "place"),
    }
}

/// Fresh secrets, and the ring from which the passwords of the plugins' logins are derived.
fn rings() -> (Rings, Ring) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = || {
        let opened = cap_std::fs::Dir::open_ambient_dir(directory.path(), cap_std::ambient_authority());
        Place::new(opened.expect("the temporary directory"), "bench secrets")
    };
    let opened = vault::create(&place(), &place(), "identity.txt", &SECRETS, "bench")
        .and_then(|()| Vault::open(place(), &place(), "identity.txt"))
        .and_then(|vault| Ok((Rings::open(&vault)?, vault.ring("database")?)));
    opened.unwrap_or_else(|why| panic!("{why}"))
}

async fn serve_host(host: Host) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { host.serve(listener, std::future::pending()).await });
    address
}

/// Where the twins listen: by themselves, and behind the host's own accept loop and walls.
#[derive(Clone, Copy, Debug)]
struct Natives {
    plain: SocketAddr,
    walled: SocketAddr,
}

async fn serve_twins(twin: Twin) -> Natives {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain = listener.local_addr().expect("an address");
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let bounds = twin.app.bounds;
    let router = twin::router(Arc::new(twin));
    let native = serve::routed(router.clone());
    let behind = move |request, peer| {
        let native = native.clone();
        layers::walled(request, peer, move |request, peer, _| native(request, peer))
    };
    tokio::spawn(async move { axum::serve(listener, router).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let walled = listener.local_addr().expect("an address");
    tokio::spawn(serve::serve(listener, behind, bounds, std::future::pending()));
    Natives { plain, walled }
}

struct Person {
    id: String,
    token: String,
    client: Client,
}

async fn person(host: &Host, address: SocketAddr, role: &str) -> Person {
    let email = format!("{}@example.com", role.to_ascii_lowercase());
    let new = NewAccount { email: email.clone(), name: role.to_owned(), password: SecretString::from(PASSWORD) };
    let account = host.app.identity.create(new, &[role.parse().expect("a role")]).await.expect("an account");
    let login = json!({"email": email, "password": PASSWORD});
    let token = Client::new(address, None).post("/api/v1/auth/login", &login).await.expect(200).text("/access_token");
    Person { id: account.id.to_string(), client: Client::new(address, Some(token.clone())), token }
}

/// A restaurant that is open around the clock, made through the API; gives an order of two of its items.
async fn open_restaurant(owner: &Client, items: i64) -> Value {
    let restaurant = json!({"name": "Tasca", "cuisine": "portuguese", "address": "Rua da Alfândega 14",
                            "currency": "EUR", "time_zone": "Europe/Lisbon"});
    let id = owner.post("/api/v1/restaurants", &restaurant).await.expect(201).text("/id");
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let openings = days.map(|day| json!({"weekday": day, "opens_minute": 0, "closes_minute": 1440}));
    let hours = json!({"openings": openings});
    let _ = owner.put(&format!("/api/v1/restaurants/{id}/hours"), &hours).await.expect(200);
    let menu = format!("/api/v1/restaurants/{id}/menu");
    let section = owner.post(&format!("{menu}/sections"), &json!({"name": "All"})).await.expect(201).text("/id");
    let mut lines = Vec::new();
    for at in 0..items {
        let item = json!({"section_id": section, "name": format!("Dish {at}"), "price_cents": 450 + at});
        let made = owner.post(&format!("{menu}/items"), &item).await.expect(201);
        lines.push(json!({"menu_item_id": made.text("/id"), "quantity": 1 + at}));
    }
    lines.truncate(2);
    json!({"restaurant_id": id, "lines": lines, "note": "No onions, please."})
}

async fn scenarios(host: SocketAddr, natives: Natives, customer: &Person, order: &Value) -> Vec<Scenario> {
    let native = natives.plain;
    let twin = Client::new(native, Some(customer.token.clone()));
    let (host_client, token) = (&customer.client, customer.token.as_str());
    let page = host_client.get(ITEMS).await.expect(200);
    alike("50 rows", &page, &twin.get(ITEMS).await);
    let ids: Vec<&str> = page.json["items"].as_array().expect("items").iter().flat_map(|i| i["id"].as_str()).collect();
    assert_eq!(ids.len(), 50);
    let label = json!({"item_id": ids[0], "text": "On the left", "count": 3});
    alike("no-op", &host_client.post(LABELS, &label).await, &twin.post(LABELS, &label).await);
    let one = host_client.get(&format!("{ITEMS}/{}", ids[0])).await;
    alike("one row", &one, &twin.get(&format!("{ITEMS}/{}", ids[0])).await);
    alike("one row", &one, &twin.get(&format!("/idiom/items/{}", ids[0])).await);
    alike("order", &host_client.post(ORDERS, order).await, &twin.post(ORDERS, order).await);

    let rows = |prefix: &str| ids.iter().map(|id| request("GET", &format!("{prefix}/{id}"), token, None)).collect();
    let side = |name, title, address, requests| Side { name, title, address, requests };
    let both = |requests: Vec<String>, title: &'static str| {
        vec![side("host", "plugin", host, requests.clone()), side("native", title, native, requests)]
    };
    let throughput = |against, land, aim| Landing { measure: Measure::Throughput, against, land, aim };
    let cpu = |against| Landing { measure: Measure::Cpu, against, land: 1.8, aim: 1.5 };
    let echo = vec![request("POST", LABELS, token, Some(&label))];
    let mut no_op = both(echo.clone(), "native");
    no_op.push(side("walled", "native, behind the host's walls", natives.walled, echo));
    let mut one_row = both(rows(ITEMS), "native, same guarantees");
    one_row.push(side("sqlx", "native, axum + sqlx", native, rows("/idiom/items")));
    vec![
        Scenario { name: "no-op", title: "no-op", sides: no_op, landings: vec![cpu(1), cpu(2)] },
        Scenario {
            name: "one-row",
            title: "one row by key",
            sides: one_row,
            landings: vec![throughput(1, 0.85, 0.95), throughput(2, 1.0, 1.5)],
        },
        Scenario {
            name: "fifty-rows",
            title: "50 rows",
            sides: both(vec![request("GET", ITEMS, token, None)], "native, same guarantees"),
            landings: vec![throughput(1, 0.8, 0.9)],
        },
        Scenario {
            name: "order",
            title: "place an order",
            sides: both(vec![request("POST", ORDERS, token, Some(order))], "native, same guarantees"),
            landings: vec![throughput(1, 0.85, 0.95)],
        },
    ]
}

/// Both answers say the same; only what each request makes anew may differ.
fn alike(what: &str, host: &Answer, twin: &Answer) {
    let said = |answer: &Answer| {
        assert!((200..300).contains(&answer.status), "{what}: {answer:?}");
        let mut json = answer.json.clone();
        if what == "order" {
            for made in ["id", "placed_at", "changed_at"] {
                json[made] = Value::Null;
            }
        }
        (answer.status, json)
    };
    assert_eq!(said(host), said(twin), "{what}: the twin says something else");
}
