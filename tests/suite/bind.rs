//! From a folder with SQL to typed statements and WIT, and that what ships is proved again.

use std::{fs, path::PathBuf};

use dinehub::{
    database::{
        inventory::Object,
        statement::{Arity, Kind},
    },
    plugin::{
        bind::{self, bind},
        manifest::Manifest,
    },
};
use harness::database::Database;

use crate::shop::{SCHEMA, id};

/// A plugin's folder, removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(queries: &[(&str, &str)]) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("dinehub-bind-{}", uuid::Uuid::new_v4().simple())));
        folder.write("migrations/0001_tables.sql", SCHEMA);
        for (path, text) in queries {
            folder.write(&format!("queries/{path}"), text);
        }
        folder
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn manifest() -> Manifest {
    let text = "id = \"ordering\"\nversion = \"1.0.0\"\ndescription = \"Orders.\"\n";
    Manifest::parse("plugin.toml", text).unwrap()
}

const PLACE: &str = "-- Place an order for the caller.\n-- returns: one\n
    insert into ordering.purchase (account_id, note, tags) values (:caller, :note?, :tags)
    returning id, placed_at, state, note as \"note?\"";
const LIST: &str = "-- List own orders.\n-- returns: many(50)\n
    select id, state from ordering.purchase where account_id = :caller and state = any(:states) limit least(:limit, 50)";

#[tokio::test]
async fn what_cannot_be_bound_is_refused_with_file_line_and_fix() {
    let database = Database::fresh().await;
    for (path, text, reason) in [
        ("orders/Place.sql", PLACE, "`Place` is no name for a statement"),
        ("My-Orders/place.sql", PLACE, "`My-Orders` is no name for a handle"),
        ("orders/place.sql", "select 1", "queries/orders/place.sql:1: does not say what it is for"),
        ("orders/place.sql", "-- X.\n-- returns: some\nselect 1", "queries/orders/place.sql:2: `returns: some`"),
        ("orders/place.sql", "-- X.\n-- returns: one\nselect :A as x", "queries/orders/place.sql:3: `:A` is no name"),
        ("orders/place.sql", "-- X.\n-- returns: one\nselect :caller::text as x", "`:caller` is the account's id"),
        ("orders/place.sql", "-- X.\n-- returns: one\nselect 1 as x; select 2 as x", "multiple commands"),
        ("orders/place.sql", "-- X.\n-- returns: count\nselect 1 as x", "returns `count` and has result columns"),
    ] {
        let folder = Folder::new(&[(path, text)]);
        let fault = bind(&folder.0, &manifest(), &database.admin()).await.unwrap_err().to_string();
        assert!(fault.contains(reason), "{path}: {fault}");
        assert!(!folder.0.join("wit").exists(), "nothing is written");
    }
}

#[tokio::test]
async fn statements_get_their_types_and_their_wit_from_postgresql() {
    let database = Database::fresh().await;
    let folder = Folder::new(&[("orders/place.sql", PLACE), ("orders/list.sql", LIST)]);
    let bound = bind(&folder.0, &manifest(), &database.admin()).await.unwrap_or_else(|fault| panic!("{fault}"));
    let [list, place] = bound.statements.as_slice() else { panic!("two statements") };
    assert_eq!((list.name.as_str(), list.arity), ("list", Arity::Many { rows_max: 50 }));
    assert!(
        list.params[0].is_caller
            && matches!(&list.params[1].kind, Kind::List(inner) if matches!(**inner, Kind::Enum { .. }))
    );
    assert!(place.params[1].nullable && !place.text.contains("--"));
    let written = fs::read_to_string(folder.0.join("wit/deps/ordering-data/data.wit")).unwrap();
    assert_eq!(written, bound.wit);
    for line in [
        "package dinehub:ordering-data;",
        "  enum state { placed, done }",
        "  record place-row { id: uuid, placed-at: timestamp, state: state, note: option<string> }",
        "  place: func(note: option<string>, tags: list<string>) -> result<place-row, error>;",
        "  %list: func(states: list<state>, limit: s32) -> result<list<list-row>, error>;",
    ] {
        assert!(written.contains(line), "{line}\n{written}");
    }
    let again = bind(&folder.0, &manifest(), &database.admin()).await.unwrap();
    assert_eq!(again, bound);
}

#[tokio::test]
async fn a_shipped_statement_that_is_not_what_it_claims_is_refused() {
    let database = Database::fresh().await;
    let folder = Folder::new(&[("orders/place.sql", PLACE), ("orders/list.sql", LIST)]);
    let bound = bind(&folder.0, &manifest(), &database.admin()).await.unwrap();
    let migrations = bind::migrations(&folder.0).unwrap();
    let prove =
        async |statements: &[_]| bind::prove(&id(), statements, &migrations, &bound.catalog, &database.admin()).await;
    prove(&bound.statements).await.unwrap();
    let mut lie = bound.catalog.clone();
    let policy = lie.objects.iter().find(|one| one.title() == "policy own on ordering.purchase").unwrap().clone();
    lie.objects.remove(&policy);
    lie.objects.insert(Object { definition: "as permissive for all to public using (true)".to_owned(), ..policy });
    let proved = bind::prove(&id(), &bound.statements, &migrations, &lie, &database.admin()).await;
    assert!(proved.unwrap_err().to_string().contains("is not what PostgreSQL makes of the plugin's migrations"));

    let mut lies = bound.statements.clone();
    lies[0].ask.relations.clear();
    assert!(prove(&lies).await.unwrap_err().to_string().contains("is not what PostgreSQL makes of its text"));
    let mut lies = bound.statements.clone();
    lies[0].params[0].is_caller = false;
    assert!(prove(&lies).await.is_err(), "the caller must not become a parameter of the guest");
    let mut lies = bound.statements.clone();
    lies[1].columns[3].nullable = false;
    assert!(prove(&lies).await.is_err());
    let mut lies = bound.statements.clone();
    lies[0].text = "select id, state from ordering.purchase limit 50; drop table ordering.line".into();
    assert!(prove(&lies).await.is_err());
}
