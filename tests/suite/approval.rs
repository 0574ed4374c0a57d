//! What lets a plugin run: a block of the lock that is exactly what its artefact asks, signed by somebody who may.

use dinehub::{
    command::{install, project::read_roles, start},
    config::Config,
    error::{Fault, Setup},
    plugin::{
        admit::Candidate,
        approval::{Admission, Book, Reviewers, SigningKey, asked},
        lock::{Block, Kind, Lock, Sign, compare},
        package::Package,
    },
};
use harness::{
    database::Database,
    server::{at_home, features, rings, root},
};

/// Reviewers `ada` and `bob`, and what the feature plugins ask, approved by ada.
struct Desk {
    packages: Vec<Package>,
    book: Book,
    ada: SigningKey,
    bob: SigningKey,
}

fn key() -> SigningKey {
    SigningKey::fresh().unwrap().0
}

impl Desk {
    async fn open() -> Self {
        let packages = features().await;
        let (ada, bob) = (key(), key());
        let mut book = Book::default();
        book.reviewers.approvals_min = 1;
        book.reviewers.reviewers.insert("ada".to_owned(), ada.public());
        book.reviewers.reviewers.insert("bob".to_owned(), bob.public());
        let mut desk = Self { packages, book, ada, bob };
        for block in desk.asked() {
            desk.approve(Block { generation: 1, ..block });
        }
        desk
    }

    fn asked(&self) -> Vec<Block> {
        let candidates: Setup<Vec<_>> = self.packages.iter().cloned().map(Candidate::read).collect();
        asked(&candidates.unwrap()).unwrap()
    }

    fn approve(&mut self, mut block: Block) {
        block.approvals = vec![self.ada.approve(&block, "ada", "2026-11-24")];
        self.book.lock.put(block);
    }

    fn block(&self, id: &str) -> Block {
        self.book.lock.find(&id.parse().unwrap()).unwrap().clone()
    }

    fn admit(&self) -> Setup<Vec<Admission>> {
        // What is admitted went through the file.
        let lock = Lock::parse("grants.lock", &self.book.lock.print().unwrap())?;
        Book { lock, ..self.book.clone() }.admit(self.packages.clone())
    }

    #[track_caller]
    fn is_refused(&self, what: &str) -> Fault {
        let fault = self.admit().expect_err(what);
        let text = fault.to_string();
        assert!(text.contains(what) && text.contains("\n  fix: "), "wanted {what:?}, got: {text}");
        fault
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_is_admitted() {
    let desk = Desk::open().await;
    let admitted = desk.admit().unwrap();
    assert_eq!(admitted.len(), desk.packages.len());
    assert!(admitted.iter().all(|admission| admission.generation() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_nobody_approved_is_refused() {
    let mut desk = Desk::open().await;
    desk.book.lock.remove(&"ordering".parse().unwrap());
    let _ = desk.is_refused("ordering: is not approved");
    assert!(Book::default().admit(desk.packages.clone()).is_err(), "an empty book approves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_that_is_missing_is_named() {
    for kind in [
        Kind::Import,
        Kind::Offer,
        Kind::Route,
        Kind::Statement,
        Kind::Column,
        Kind::Function,
        Kind::Policy,
        Kind::Cascade,
        Kind::Migration,
        Kind::Event,
        Kind::Schedule,
        Kind::Limit,
    ] {
        let desk = Desk::open().await;
        let mut asked = desk.block("ordering");
        asked.grants.entry(kind).or_default().insert("more 1".to_owned());
        let fault = desk.book.ensure_approved(&asked).unwrap_err().to_string();
        assert!(fault.contains(&format!("asks for what nobody approved: {kind}: more 1 (d-")), "{fault}");
        // And what is there is looked at: a lock without any line of this kind does not do.
        let mut approved = desk.block("ordering");
        if approved.grants.remove(&kind).is_some() {
            let mut desk = desk;
            desk.approve(approved);
            let _ = desk.is_refused(&format!("asks for what nobody approved: {kind}: "));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_limit_is_no_growth_and_a_higher_one_is() {
    let desk = Desk::open().await;
    let with = |line: &str| {
        let mut block = desk.block("ordering");
        let limits = block.grants.get_mut(&Kind::Limit).unwrap();
        limits.retain(|limit| !limit.starts_with("rows_max "));
        limits.insert(line.to_owned());
        block
    };
    let grown =
        |from: &Block, to: &Block| compare(Some(from), Some(to)).iter().any(|change| change.sign == Sign::Grown);
    assert!(!grown(&with("rows_max 100"), &with("rows_max 99")));
    assert!(grown(&with("rows_max 99"), &with("rows_max 100")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_artefact_with_the_same_grants_is_refused() {
    let mut desk = Desk::open().await;
    let ordering = desk.packages.iter_mut().find(|package| package.manifest.id.as_str() == "ordering").unwrap();
    let mut bytes = ordering.bytes.clone();
    // A custom section more: not one grant differs.
    bytes.extend([0, 5, 4, b'n', b'o', b't', b'e']);
    *ordering = Package::open("ordering", bytes).unwrap();
    let _ = desk.is_refused("ordering: is not the artefact that was approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_refused() {
    let mut desk = Desk::open().await;
    let mut newer = desk.block("ordering");
    newer.version = "1.0.1".parse().unwrap();
    desk.approve(newer);
    let _ = desk.is_refused("is version 1.0.0, older than the approved 1.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_changed_after_signing_is_void() {
    let changes: [fn(&mut Block); 8] = [
        |block| block.generation += 1,
        |block| block.digest = "0".repeat(64),
        |block| {
            let _ = block.authors.insert("eve".to_owned());
        },
        |block| block.version = "0.9.0".parse().unwrap(),
        |block| {
            let _ = block.grants.entry(Kind::Column).or_default().insert("select platform.connection.token".to_owned());
        },
        |block| drop(block.grants.remove(&Kind::Limit)),
        |block| block.approvals[0].on = "2026-11-25".to_owned(),
        |block| block.approvals[0].reviewer = "bob".to_owned(),
    ];
    for change in changes {
        let mut desk = Desk::open().await;
        let mut block = desk.block("ordering");
        change(&mut block);
        desk.book.lock.put(block);
        let _ = desk.is_refused("is void: the block was changed after it was signed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_listed_reviewer_who_is_no_author_counts() {
    let mut desk = Desk::open().await;
    let mut block = desk.block("ordering");
    let eve = key();
    block.approvals = vec![eve.approve(&block, "eve", "2026-11-24")];
    desk.book.lock.put(block.clone());
    let _ = desk.is_refused("is by nobody whose key is in reviewers.toml");
    block.approvals = vec![eve.approve(&block, "ada", "2026-11-24")];
    desk.book.lock.put(block.clone());
    let _ = desk.is_refused("is void");
    block.approvals.clear();
    desk.book.lock.put(block.clone());
    let _ = desk.is_refused("has 0 of 1 approvals");
    desk.book.reviewers.reviewers.insert("founders".to_owned(), eve.public());
    block.approvals = vec![eve.approve(&block, "founders", "2026-11-24")];
    desk.book.lock.put(block);
    let _ = desk.is_refused("is by one of its authors");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_two_must_approve_one_twice_is_not_enough() {
    let mut desk = Desk::open().await;
    desk.book.reviewers.approvals_min = 2;
    let _ = desk.is_refused("has 1 of 2 approvals");
    for mut block in desk.asked() {
        block.generation = 1;
        block.approvals = ["2026-11-23", "2026-11-24"].map(|on| desk.ada.approve(&block, "ada", on)).into();
        desk.book.lock.put(block);
    }
    let _ = desk.is_refused("has 1 of 2 approvals");
    for mut block in desk.asked() {
        block.generation = 1;
        block.approvals = vec![desk.ada.approve(&block, "ada", "d"), desk.bob.approve(&block, "bob", "d")];
        desk.book.lock.put(block);
    }
    desk.admit().unwrap();
}

#[test]
fn a_list_of_reviewers_that_would_let_anybody_in_is_refused() {
    let key = key().public().key;
    let refused = |text: &str, what: &str| {
        let fault = Reviewers::parse("reviewers.toml", text).unwrap_err().to_string();
        assert!(fault.starts_with("reviewers.toml") && fault.contains(what), "{fault}");
    };
    refused("approvals_min = 0", "would approve everything");
    refused("approvals_min = 1\n[reviewer.ada]\nkey = \"ed25519:AAAA\"", "is no Ed25519 key");
    refused(
        &format!("approvals_min = 1\n[reviewer.ada]\nkey = \"{key}\"\n[reviewer.bob]\nkey = \"{key}\""),
        "somebody else's key",
    );
    refused("approvals_min = 1\nanybody = true", "unknown field");
}

#[test]
fn a_lock_that_could_mean_two_things_is_refused() {
    let refused = |text: &str, what: &str| {
        let fault = Lock::parse("grants.lock", text).unwrap_err().to_string();
        assert!(fault.starts_with("grants.lock") && fault.contains(what), "{fault}");
    };
    refused("format = 2", "reads format 1");
    let block = "[[plugin]]\nid = \"ordering\"\nversion = \"1.0.0\"\ngeneration = 1\ndigest = \"\"\nauthors = []\ngrants = {}\n";
    refused(&format!("format = 1\n{block}{block}"), "two blocks for ordering");
    refused(&format!("format = 1\n{block}unsigned = true\n"), "unknown field");
    refused("format = 1\n[[plugin]]\nid = \"ordering\"\n", "missing field");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_was_replaced_does_not_come_back() {
    let mut desk = Desk::open().await;
    let database = Database::fresh().await;
    let (admin, rings) = (database.admin(), rings());
    let old = desk.admit().unwrap();
    for id in ["ordering", "restaurants"] {
        let block = desk.block(id);
        desk.approve(Block { generation: 2, ..block });
    }
    install::install(&admin, &rings, &desk.admit().unwrap()).await.unwrap();
    let fault = install::install(&admin, &rings, &old).await.unwrap_err().to_string();
    assert!(fault.contains("is approval 1 of this plugin, and this database has seen approval 2"), "{fault}");
    // The newer one still serves.
    let roles = read_roles(&root().join("plugins/roles.toml")).unwrap();
    let admitted = desk.admit().unwrap();
    install::install(&admin, &rings, &admitted).await.unwrap();
    let _ = start::host(&admin, &rings, admitted, roles, &at_home(&Config::default())).await.unwrap();
}
