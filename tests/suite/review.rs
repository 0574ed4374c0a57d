//! A reviewer's day with the real program: make a key, read the diff, approve, see growth refused, revoke, ask why.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use dinehub::id::Denial;
use harness::server::{Server, features, root};
use serde_json::Value;

/// A project with the built feature plugins, and nothing approved.
struct Office {
    directory: tempfile::TempDir,
}

impl Office {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plugins = directory.path().join("plugins");
        fs::create_dir_all(directory.path().join("built")).unwrap();
        fs::create_dir_all(&plugins).unwrap();
        fs::copy(root().join("plugins/roles.toml"), plugins.join("roles.toml")).unwrap();
        fs::write(plugins.join("reviewers.toml"), "approvals_min = 1\n").unwrap();
        for package in features().await {
            fs::write(directory.path().join(format!("built/{}.wasm", package.manifest.id)), &package.bytes).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let built = self.path("built");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dinehub"));
        command.arg("-C").arg(self.directory.path()).arg("grants").args(arguments);
        if !["key", "revoke"].contains(&arguments[0]) {
            command.arg("--artefacts").arg(built);
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], what: &str) -> String {
        let done = self.run(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && said.contains(what), "{arguments:?} wanted {what:?}, got: {said}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Makes a reviewer known; gives the path of the key.
    fn employ(&self, name: &str) -> String {
        let key = self.path(&format!("{name}.key")).display().to_string();
        let line = self.says(&["key", name, "--out", &key]);
        let list = self.path("plugins/reviewers.toml");
        fs::write(&list, fs::read_to_string(&list).unwrap() + &line).unwrap();
        key
    }

    fn approve(&self, plugin: &str, name: &str, key: &str) -> String {
        self.says(&["approve", plugin, "--reviewer", name, "--key", key, "--yes"])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_reviewed_approved_and_revoked() {
    let office = Office::open().await;
    let table =
        office.refuses(&["diff"], "notifications, ordering, payments, restaurants: asks for more than was approved");
    assert!(table.contains("+ yes     no     ?     column: update ordering.customer_order.state"), "{table}");
    let ada = office.employ("ada");
    let said = office.approve("ordering", "ada", &ada);
    assert!(said.ends_with("ordering 1.0.0: approval 1 by ada\n"), "{said}");
    let _ = office.refuses(&["diff"], "notifications, payments, restaurants: asks for more than was approved");
    for plugin in ["notifications", "payments", "restaurants"] {
        let _ = office.approve(plugin, "ada", &ada);
    }
    assert!(
        office.says(&["diff"]).contains("ordering: approved 1.0.0, asked 1.0.0\n  the same grants, line by line\n")
    );
    // Approving the same again is the same approval.
    assert!(office.approve("ordering", "ada", &ada).ends_with("approval 1 by ada\n"));
    assert!(office.says(&["revoke", "ordering"]).contains("revoked"));
    let _ = office.refuses(&["diff"], "ordering: asks for more than was approved");
    let _ = office.refuses(&["revoke", "ordering"], "has no block for ordering");
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_since_the_last_approval_is_shown_and_shrinking_is_no_fault() {
    let office = Office::open().await;
    let ada = office.employ("ada");
    for plugin in ["notifications", "ordering", "payments", "restaurants"] {
        let _ = office.approve(plugin, "ada", &ada);
    }
    let lock = fs::read_to_string(office.path("plugins/grants.lock")).unwrap();
    let line = "    \"update ordering.customer_order.state\",\n";
    assert!(lock.contains(line));
    let less = office.path("less.lock").display().to_string();
    fs::write(&less, lock.replace(line, "")).unwrap();
    let table = office.refuses(&["diff", "--from", &less], "ordering: asks for more");
    assert!(table.contains("+ yes     no     ?     column: update ordering.customer_order.state\n"), "{table}");
    let table = office.says(&["diff", "--to", &less]);
    assert!(table.contains("- no      yes    ?     column: update ordering.customer_order.state\n"), "{table}");
    let json: Value = serde_json::from_str(&office.says(&["diff", "ordering", "--to", &less, "-o", "json"])).unwrap();
    let change =
        serde_json::json!({"kind": "column", "line": "update ordering.customer_order.state", "sign": "shrunk"});
    assert_eq!(json[0]["changes"], serde_json::json!([change]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_approves_with_a_strangers_key_or_their_own_work() {
    let office = Office::open().await;
    let (ada, _) = (office.employ("ada"), office.employ("bob"));
    let approve = |name: &str, key: &str, what: &str| {
        let _ = office.refuses(&["approve", "ordering", "--reviewer", name, "--key", key, "--yes"], what);
    };
    approve("eve", &ada, "has no reviewer eve");
    approve("bob", &ada, "is not the key of bob");
    let founders = office.employ("founders");
    approve("founders", &founders, "founders is one of its authors");
    let _ = office.refuses(&["approve", "ordering", "--reviewer", "ada", "--key", &ada], "nobody is there to confirm");
    std::process::Command::new("chmod").args(["644", &ada]).status().unwrap();
    approve("ada", &ada, "can be read by others");
    let _ = office.refuses(&["key", "ada", "--out", &ada], "exists");
    assert!(!office.path("plugins/grants.lock").exists(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_is_answered_step_by_step() {
    let office = Office::open().await;
    let column = "ordering.customer_order.state";
    let said = office.says(&["explain", "ordering", "--column", column, "--role", "USER"]);
    for step in [
        "route      USER may call GET /api/v1/ordering/orders (USER)",
        "statement  orders.find of import dinehub:ordering-data/orders: One order;",
        "grant      select on ordering.customer_order (state) to <database>_ordering_ro and _rw",
        "policy     order_is_seen_by_both_sides for select using ",
    ] {
        assert!(said.contains(step), "wanted {step:?} in:\n{said}");
    }
    let explain = |more: &[&str]| office.says(&[&["explain", "ordering"], more].concat());
    // No way: a safe method writes nothing, nobody deletes, a role outside the rule, a column nobody asks.
    let read_only = ["--column", column, "--verb", "update", "--route", "GET /api/v1/ordering/orders"];
    assert!(explain(&read_only).contains("no         orders.make_move writes, and a safe method runs read-only"));
    let never = explain(&["--column", "ordering.customer_order", "--verb", "delete"]);
    assert!(never.contains("no         no statement of ordering does delete on ordering.customer_order"), "{never}");
    let accept = "POST /api/v1/ordering/orders/{id}/accept";
    let outside = explain(&["--column", column, "--role", "USER", "--route", accept]);
    assert!(outside.contains(&format!("no         {accept} is open to RESTAURANT_OWNER only")), "{outside}");
    let _ = office.refuses(&["explain", "ordering", "--column", "state"], "must be SCHEMA.TABLE.COLUMN");
    let _ =
        office.refuses(&["explain", "ordering", "--column", column, "--route", "GET /x"], "is no route of this plugin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denials_id_leads_back_to_what_was_refused() {
    let office = Office::open().await;
    let server = Server::start().await;
    let customer = server.person("USER").await.client;
    let path = "/api/v1/restaurants";
    let refused = customer.post(path, &crate::order::restaurant("Mine")).await;
    refused.refused(403, "denied");
    let id = refused.text("/denial");
    let said = office.says(&["explain", "--denial", &id]);
    assert!(said.contains("POST /api/v1/restaurants is open to RESTAURANT_OWNER only"), "{said}");
    let refused = customer.get("/api/v1/admin/users/0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f/roles").await;
    if refused.status == 403 {
        assert!(
            office.says(&["explain", "--denial", &refused.text("/denial")]).contains("of the host is open to ADMIN")
        );
    }
    let statement = Denial::statement("ordering", "orders", "place").to_string();
    assert!(office.says(&["explain", "--denial", &statement]).contains("refused statement orders.place"));
    let line = Denial::line("ordering", "column", "update ordering.customer_order.state").to_string();
    assert!(office.says(&["explain", "--denial", &line]).contains("column: update ordering.customer_order.state"));
    let _ = office.refuses(&["explain", "--denial", "d-000000000000"], "is no refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_recorded_and_what_is_not_is_shown() {
    let office = Office::open().await;
    let server = Server::start().await;
    let anybody = server.anonymous();
    let _ = anybody.get("/api/v1/restaurants?limit=1").await.expect(200);
    server.host.record_use().await;
    let _ = anybody.get("/api/v1/restaurants?limit=1").await.expect(200);
    server.host.record_use().await;
    let url = server.database.url();
    let said = office.says(&["unused", "restaurants", "--database", &url]);
    assert!(said.contains("restaurants: recorded since "), "{said}");
    assert!(said.contains("  unused  queries/") && said.contains("frees "), "{said}");
    assert!(!said.contains("search.sql"), "it was used: {said}");
    assert!(office.says(&["unused", "ordering", "--database", &url]).contains("no use was recorded yet"));
    let table = office.refuses(&["diff", "restaurants", "--database", &url], "asks for more");
    let used = |line: &str| {
        table.lines().find(|found| found.contains(line)).unwrap().split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(used("search sha256:"), "2", "{table}");
    let evidence =
        office.says(&["explain", "restaurants", "--column", "restaurants.restaurant.name", "--database", &url]);
    assert!(
        evidence.contains("_restaurants_ro', '\"restaurants\".\"restaurant\"', 'name', 'select') = true"),
        "{evidence}"
    );
    assert!(evidence.contains("evidence   pg_policy: "), "{evidence}");
}
