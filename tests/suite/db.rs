//! `dinehub db` and `dinehub serve`, as an operator runs them: the real binary, an empty database, age files on disk.

use std::process::Command;

use cap_std::{ambient_authority, fs::Dir};
use dinehub::{
    command::start::SECRETS,
    secret::vault::{Place, create},
};
use harness::database::connect;
use serde_json::Value;

use crate::machine::{IDENTITY, Machine};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_planned_applied_verified_served_and_refused_after_a_change() {
    let machine = Machine::new().await;
    machine.refuses("run `dinehub db apply` first");
    let (code, plan, _) = machine.run(&["db", "plan"]);
    assert_eq!(code, Some(3), "{plan}");
    let role = format!("\"{}_ordering_rw\"", machine.database.admin().database);
    for line in [
        "> run migrations/0001_platform.sql".to_owned(),
        format!("+ create role {role} login nosuperuser noinherit"),
        "password :'password';".to_owned(),
        "> run migrations/0001_orders.sql".to_owned(),
        format!("+ grant select (\"state\") on table \"ordering\".\"customer_order\" to {role};"),
        "- revoke temporary on database".to_owned(),
    ] {
        assert!(plan.contains(&line), "{line}\n{plan}");
    }
    assert_eq!(machine.run(&["db", "plan"]).1, plan, "a plan changes nothing");
    let (code, done, stderr) = machine.run(&["db", "apply"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(done.contains("+ create role") && done.contains("> run migrations/0002_policies.sql"), "{done}");
    let (code, nothing, _) = machine.run(&["db", "verify"]);
    assert_eq!((code, nothing.as_str()), (Some(0), "the database is what the plugins want\n"));
    assert_eq!(machine.run(&["db", "plan"]).0, Some(0));
    assert_eq!(machine.run(&["db", "apply"]).1, "nothing was to be done\n");
    machine.serves();

    let sql = "grant select on ordering.customer_order to public";
    connect(&machine.database.admin()).await.batch_execute(sql).await.unwrap();
    let (code, listing, _) = machine.run(&["db", "verify"]);
    let said = "ordering: public holds select on table \"ordering\".\"customer_order\", which nothing asks\n";
    assert_eq!((code, listing.as_str()), (Some(3), said));
    machine.refuses(said.trim_end());
    machine.refuses("dinehub db plan");
    let (code, plan, _) = machine.run(&["db", "plan", "-o", "json"]);
    let entries: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(code, Some(3));
    assert_eq!(
        entries,
        serde_json::json!([{
            "of": "ordering",
            "what": "public holds select on table \"ordering\".\"customer_order\", which nothing asks",
            "repair": "take",
            "text": "revoke select on table \"ordering\".\"customer_order\" from public",
        }])
    );
    machine.refuses(said.trim_end());
    let (code, done, _) = machine.run(&["db", "apply"]);
    assert_eq!(code, Some(0));
    assert!(done.starts_with("ordering\n  - revoke select on table"), "{done}");
    assert_eq!(machine.run(&["db", "verify"]).0, Some(0));
    machine.serves();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apply_cannot_mend_is_an_error_that_names_it_and_the_way_out() {
    let machine = Machine::new().await;
    assert_eq!(machine.run(&["db", "apply"]).0, Some(0));
    let sql = "create table ordering.extra (x int); insert into ordering.extra values (1)";
    connect(&machine.database.admin()).await.batch_execute(sql).await.unwrap();
    let (code, _, stderr) = machine.run(&["db", "apply"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("ordering: table ordering.extra is made by no migration"), "{stderr}");
    let (code, plan, _) = machine.run(&["db", "plan"]);
    assert_eq!(code, Some(3));
    assert!(plan.contains("! table ordering.extra") && plan.contains("keep what matters, and drop it"), "{plan}");
    machine.refuses("table ordering.extra");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ring_is_planned_as_new_passwords_and_applied() {
    let machine = Machine::new().await;
    assert_eq!(machine.run(&["db", "apply"]).0, Some(0));
    std::fs::remove_file(machine.home.path().join("database.age")).unwrap();
    let place = || Place::new(Dir::open_ambient_dir(machine.home.path(), ambient_authority()).unwrap(), "home");
    create(&place(), &place(), IDENTITY, &SECRETS, "2026-12").unwrap();
    machine.refuses("run `dinehub db apply` first");
    let (code, plan, _) = machine.run(&["db", "plan"]);
    assert_eq!(code, Some(3));
    assert_eq!(plan.matches("password :'password';").count(), 13, "{plan}");
    assert_eq!(machine.run(&["db", "apply"]).0, Some(0));
    machine.serves();
}

#[test]
fn the_exit_codes_are_in_the_help() {
    for verb in ["plan", "verify"] {
        let help = Command::new(env!("CARGO_BIN_EXE_dinehub")).args(["db", verb, "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains("3 something differs"), "{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_lacks_a_plugin_is_neither_applied_nor_served() {
    let machine = Machine::new().await;
    std::fs::remove_file(machine.home.path().join("grants.lock")).unwrap();
    let (code, _, stderr) = machine.run(&["db", "apply"]);
    assert!(code == Some(1) && stderr.contains("is not approved: grants.lock has no block for it"), "{stderr}");
    machine.refuses("is not approved");
    let is_empty = "select count(*) from pg_namespace where nspname in ('platform', 'ordering')";
    let found: i64 = connect(&machine.database.admin()).await.query_one(is_empty, &[]).await.unwrap().get(0);
    assert_eq!(found, 0, "nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_reads_the_audit_and_learns_when_it_is_not_as_it_was_written() {
    let machine = Machine::new().await;
    let (code, _, stderr) = machine.run(&["db", "apply"]);
    assert_eq!(code, Some(0), "{stderr}");
    machine.serves();
    let (code, whole, stderr) = machine.run(&["audit", "verify"]);
    assert_eq!(code, Some(0), "{whole}{stderr}");
    assert!(whole.starts_with("3 events are as they were written, 3 of them signed\ncheckpoint 3:"), "{whole}");
    let checkpoint = whole.trim_end().rsplit(' ').next().unwrap();
    let (_, tail, _) = machine.run(&["audit", "tail", "-n", "2"]);
    assert!(tail.lines().count() == 2 && tail.contains("key.changed") && tail.contains("act=in_use"), "{tail}");
    let (_, one, _) = machine.run(&["audit", "tail", "--kind", "key.changed", "-n", "1", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap()["ring"], "cursor");
    let (_, none, _) = machine.run(&["audit", "tail", "--kind", "secret.used"]);
    assert_eq!(none, "");
    let admin = connect(&machine.database.admin()).await;
    admin.batch_execute("delete from dinehub.audit_event where seq = 3").await.unwrap();
    for arguments in [&["audit", "verify"][..], &["audit", "verify", "--checkpoint", checkpoint]] {
        let (code, cut, _) = machine.run(arguments);
        assert_eq!((code, cut.contains("the end was cut off")), (Some(3), true), "{cut}");
    }
    admin.batch_execute("update dinehub.audit_event set body = replace(body, 'jwt', 'xyz')").await.unwrap();
    let (code, changed, _) = machine.run(&["audit", "verify", "-o", "json"]);
    assert_eq!(code, Some(3));
    let changed: Value = serde_json::from_str(&changed).unwrap();
    assert_eq!(changed["broken"], "event 1 is not as it was written");
}
