//! Two major versions of one plugin at once: each with its own paths, grants and approval, on one schema; the older one
//! says in every answer that it will go.

use std::fmt::Write as _;

use dinehub::{
    config::Config,
    error::Setup,
    plugin::{
        admit::Candidate,
        approval::{Admission, Book, SigningKey, asked},
        lock::{Block, Kind, Lock},
        package::Package,
    },
};
use harness::{
    client::Answer,
    server::{Server, features, guests},
};
use serde_json::{Value, json};

use crate::{
    admission::parts::{Parts, world},
    golden::compare,
    order::{Kitchen, place},
};

const NOTES_1: &str = "/api/v1/elder/notes";
const NOTES_2: &str = "/api/v2/elder/notes";

async fn both() -> Vec<Package> {
    guests(&["elder", "elder_v2"]).await
}

fn notice(answer: &Answer) -> [Option<&str>; 3] {
    ["deprecation", "sunset", "link"].map(|name| answer.header(name))
}

pub(crate) async fn served_side_by_side() {
    let mut packages = both().await;
    packages.reverse();
    let server = Server::with(packages).await;
    let client = server.anonymous();
    let _ = client.post(NOTES_1, &json!({"words": "old"})).await.expect(200);
    let _ = client.post(NOTES_2, &json!({"words": "new", "kind": "warm"})).await.expect(200);
    let count = async |path: &str| client.get(path).await.expect(200).json;
    assert_eq!(count(&format!("{NOTES_2}/count?kind=plain")).await, json!(1), "the older one's note is plain");
    assert_eq!(count(&format!("{NOTES_2}/count?kind=warm")).await, json!(1));
    assert_eq!(count(&format!("{NOTES_1}/count")).await, json!(2), "and sees the newer one's");
    // Each keeps to its own contract.
    client.post(NOTES_1, &json!({"words": "old", "kind": "warm"})).await.refused(422, "invalid");
    client.post(NOTES_2, &json!({"words": "new"})).await.refused(422, "invalid");
    client.get(&format!("{NOTES_1}/count?kind=warm")).await.refused(422, "invalid");
}

/// Both stopped at a bound of their own, in either order.
#[tokio::test(flavor = "multi_thread")]
async fn what_stops_one_of_two_versions_is_recorded_of_that_one() {
    let packages: Vec<Package> = both()
        .await
        .iter()
        .map(|package| {
            let mut parts = Parts::of(package);
            parts.manifest.push_str("\n[limits]\nhostcall_bytes = 64\n");
            parts.package().unwrap()
        })
        .collect();
    let server = Server::with(packages.clone()).await;
    let client = server.anonymous();
    let words = "w".repeat(150);
    let stops = || {
        let edition = server.app().edition();
        [0, 1].map(|at: usize| {
            let plugin = edition.registry.iter().find(|known| known.package.digest == packages[at].digest).unwrap();
            let report = plugin.approved().budget().report(plugin.approved().limits());
            report.bounds.iter().map(|line| line.stops).sum::<u64>()
        })
    };
    for at in [0, 1, 1, 0] {
        let before = stops();
        let (path, body) =
            [(NOTES_1, json!({"words": words})), (NOTES_2, json!({"words": words, "kind": "plain"}))][at].clone();
        let work = async { client.post(path, &body).await.refused(500, "plugin_fault") };
        let found = crate::audit::during(&server, work).await;
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0]["digest"], json!(packages[at].digest), "{path}: {found:#?}");
        let mut wanted = before;
        wanted[at] += 1;
        assert_eq!(stops(), wanted, "and it counts for that one alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_one_announces_its_end_in_every_answer() {
    let server = Server::with(both().await).await;
    let client = server.anonymous();
    let told = [
        Some("@1793491200"),
        Some("Sat, 01 May 2027 00:00:00 GMT"),
        Some("<https://docs.example.com/elder/v2>; rel=\"deprecation\"; type=\"text/html\""),
    ];
    assert_eq!(notice(&client.post(NOTES_1, &json!({"words": "old"})).await.expect(200)), told);
    let refused = client.post(NOTES_1, &json!({"words": 1})).await.expect(422);
    assert_eq!((notice(&refused), refused.code()), (told, "invalid"));
    assert!(refused.header("x-request-id").is_some());
    let silent = [None; 3];
    assert_eq!(notice(&client.post(NOTES_2, &json!({"words": "new", "kind": "warm"})).await.expect(200)), silent);
    assert_eq!(notice(&client.get("/api/v1/elder").await.expect(404)), silent);
    assert_eq!(notice(&client.get("/openapi.json").await.expect(200)), silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_read_of_two_versions() {
    let server = Server::with(both().await).await;
    let client = server.anonymous();
    let mut text = String::new();
    for (path, body) in [(NOTES_1, json!({"words": "a"})), (NOTES_2, json!({"words": "a", "kind": "b"}))] {
        let answer = client.post(path, &body).await.expect(200);
        writeln!(text, "POST {path}").unwrap();
        for (name, value) in ["deprecation", "sunset", "link"].iter().zip(notice(&answer)) {
            if let Some(value) = value {
                writeln!(text, "    {name}: {value}").unwrap();
            }
        }
    }
    let document: Value = client.get("/openapi.json").await.expect(200).json;
    for path in [NOTES_1, NOTES_2] {
        let operation = &document["paths"][path]["post"];
        for key in ["operationId", "tags", "deprecated"] {
            writeln!(text, "{path} {key} {}", operation[key]).unwrap();
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        writeln!(text, "{path} body {schema}").unwrap();
        writeln!(
            text,
            "{path} headers {}",
            serde_json::to_string_pretty(&operation["responses"]["200"]["headers"]).unwrap()
        )
        .unwrap();
    }
    writeln!(text, "tags {}", serde_json::to_string_pretty(&document["tags"]).unwrap()).unwrap();
    compare("versions.txt", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_that_forgot_a_migration_is_refused_beside_the_older() {
    let mut packages = both().await;
    let mut parts = Parts::of(&packages[1]);
    parts.content.migrations[0].text.push_str("\n-- changed\n");
    packages[1] = parts.package().unwrap();
    let fault = Server::try_with(packages, &Config::default()).await.unwrap_err().to_string();
    assert!(fault.contains("elder: 2.0.0 has not migrations/0001_notes.sql of 1.4.0"), "{fault}");
}

/// Another plugin calls the version whose interface it imports, whichever is there besides.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_reaches_the_version_that_it_was_linked_to() {
    let wit = world("restaurants", "f: func(caller: caller) -> result<_, problem>;", "world plugin { export catalog;")
        + "interface catalog { quote: func() -> u32; }";
    let mut other = Parts::of_wit("restaurants", &wit.replace("@1.0.0;", "@0.9.0;"), "");
    other.manifest = other.manifest.replace("1.0.0", "0.9.0");
    let mut packages = features().await;
    packages.insert(0, other.package().unwrap());
    let server = Server::with(packages).await;
    let found: Vec<u64> =
        server.app().edition().registry.iter().map(|one| one.package.manifest.version.major).collect();
    assert!(found.contains(&0) && found.contains(&1), "{found:?}");
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await;
    let _ = place(&customer.client, &kitchen).await;
}

/// What reviewers approved of both, in one block of the lock.
struct Desk {
    packages: Vec<Package>,
    book: Book,
    key: SigningKey,
    block: Block,
}

impl Desk {
    async fn open() -> Self {
        let packages = both().await;
        let candidates: Setup<Vec<_>> = packages.iter().cloned().map(Candidate::read).collect();
        let blocks = Block::together(asked(&candidates.unwrap()).unwrap());
        let [block]: [Block; 1] = blocks.try_into().expect("one plugin, one block");
        let key = SigningKey::fresh().unwrap().0;
        let mut book = Book::default();
        book.reviewers.approvals_min = 1;
        book.reviewers.reviewers.insert("desk".to_owned(), key.public());
        let mut desk = Self { packages, book, key, block: Block { generation: 3, ..block } };
        desk.sign();
        desk
    }

    fn sign(&mut self) {
        self.block.approvals = vec![self.key.approve(&self.block, "desk", "2026-11-25")];
        self.book.lock.put(self.block.clone());
    }

    fn admit(&self, packages: &[Package]) -> Setup<Vec<Admission>> {
        // What is admitted went through the file.
        let lock = Lock::parse("grants.lock", &self.book.lock.print().unwrap())?;
        Book { lock, ..self.book.clone() }.admit(packages.to_vec())
    }

    #[track_caller]
    fn is_refused(&self, packages: &[Package], what: &str) {
        let fault = self.admit(packages).expect_err(what).to_string();
        assert!(fault.contains(what) && fault.contains("\n  fix: "), "wanted {what:?}, got: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_covers_exactly_what_it_keeps() {
    let mut desk = Desk::open().await;
    let old = desk.packages.iter().position(|one| one.manifest.version.major == 1).unwrap();
    let old = vec![desk.packages[old].clone()];
    assert_eq!(desk.block.version.major, 2, "the newest has the block");
    let all = desk.packages.clone();
    assert!(desk.admit(&all).unwrap().iter().all(|one| one.generation() == 3));
    assert_eq!(desk.admit(&old).unwrap().len(), 1);

    let kept = desk.block.kept.clone();
    desk.block.kept[0].digest = "0".repeat(64);
    desk.book.lock.put(desk.block.clone());
    desk.is_refused(&old, "is void: the block was changed after it was signed");
    desk.sign();
    desk.is_refused(&old, "is not the artefact that was approved: 1.4.0");
    desk.block.kept.clone_from(&kept);
    desk.block.kept[0].grants.remove(&Kind::Column);
    desk.sign();
    desk.is_refused(&old, "asks for what nobody approved: column: ");
    desk.block.kept.clone_from(&kept);
    desk.block.kept[0].authors.insert("desk".to_owned());
    desk.sign();
    desk.is_refused(&all, "is by one of its authors");
    desk.block.kept.clear();
    desk.sign();
    desk.is_refused(&old, "is version 1.4.0, older than the approved 2.0.0");
    let twice = [old[0].clone(), old[0].clone()];
    desk.is_refused(&twice, "is installed twice in version 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deprecation_that_makes_no_sense_is_refused() {
    let parts = Parts::of(&both().await[0]);
    for (from, to, what) in [
        ("2027-05-01T00:00:00Z", "2026-10-01T00:00:00Z", "is before `since`"),
        ("since = \"2026-11-01T00:00:00Z\"", "", "missing field `since`"),
        ("2026-11-01T00:00:00Z", "soon", "since"),
        ("https://docs.example.com/elder/v2", "http://docs.example.com", "is no address of a page"),
        ("https://docs.example.com/elder/v2", "https://a.example/>; rel=x", "is no address of a page"),
        ("sunset", "sunrise", "sunrise"),
    ] {
        let manifest = parts.manifest.replacen(from, to, 1);
        assert_ne!(manifest, parts.manifest);
        let fault = Parts { manifest, ..parts.clone() }.package().unwrap_err().to_string();
        assert!(fault.starts_with("test.wasm: plugin.toml") && fault.contains(what), "{what}: {fault}");
    }
}

/// The logins that both share hold what both ask, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn the_logins_hold_what_both_ask() {
    let server = Server::with(both().await).await;
    let admin = server.database.admin();
    let session = harness::database::connect(&admin).await;
    let may_insert = async |column: &str| -> bool {
        let role = format!("{}_elder_rw", admin.database);
        let sql = "select has_column_privilege($1, 'elder.note', $2, 'insert')";
        session.query_one(sql, &[&role, &column]).await.unwrap().get(0)
    };
    assert!(may_insert("words").await && may_insert("kind").await && !may_insert("id").await);
}
