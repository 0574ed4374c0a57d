//! Roles and permits: denials first.

use dinehub::{
    access::{permit::permit, policy::Rule, role::RoleTable},
    error::{Error, Unassured, Unproven},
    identity::token::Assurance,
};
use http::HeaderMap;

use crate::node::{Ground, actor, anna, login, role};

const ROLES: &str = include_str!("../../plugins/roles.toml");

fn table() -> RoleTable {
    RoleTable::read("plugins/roles.toml", ROLES).unwrap()
}

fn denial() -> dinehub::id::Denial {
    dinehub::id::Denial::route("GET", "/")
}

fn fault(text: &str) -> String {
    RoleTable::read("roles.toml", text).unwrap_err().to_string()
}

#[test]
fn roles_that_include_each_other_are_refused() {
    let fault = fault("newcomer = \"A_A\"\n[role.A_A]\nincludes = [\"B_B\"]\n[role.B_B]\nincludes = [\"A_A\"]\n");
    assert!(fault.starts_with("roles.toml: role.A_A.includes: ") && fault.contains("fix:"), "{fault}");
    let two = "newcomer = \"A_A\"\n[role.A_A]\nincludes = [\"*\"]\n[role.B_B]\nincludes = [\"*\"]\n";
    assert!(RoleTable::read("roles.toml", two).is_err(), "two roles cannot both be everything");
}

#[test]
fn a_role_that_does_not_exist_is_named_with_its_place() {
    let missing = fault("newcomer = \"USER\"\n[role.USER]\nincludes = [\"GUEST\"]\n");
    assert!(
        missing.contains("role.USER.includes") && missing.contains("GUEST") && missing.contains("fix:"),
        "{missing}"
    );
    assert!(fault("newcomer = \"GUEST\"\n[role.USER]\n").contains("GUEST"));
    assert!(fault("newcomer = \"USER\"\n[role.user]\n").contains("upper-case"));
    assert!(fault("newcomer = \"USER\"\n[role.USER]\nmay = [\"all\"]\n").contains("may"));
}

#[test]
fn an_owner_is_a_user_and_an_admin_is_everything() {
    let table = table();
    let expand = |name: &str| table.expand(&[role(name)]).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(expand("USER"), ["USER"]);
    assert_eq!(expand("RESTAURANT_OWNER"), ["RESTAURANT_OWNER", "USER"]);
    assert_eq!(expand("ADMIN"), ["ADMIN", "RESTAURANT_OWNER", "USER"]);
    assert!(expand("CASHIER").is_empty(), "a role that is not in the table gives nothing");
}

#[test]
fn the_same_roles_are_expanded_once() {
    let table = table();
    let (one, two) = (table.expand(&[role("ADMIN")]), table.expand(&[role("ADMIN")]));
    assert!(std::sync::Arc::ptr_eq(&one, &two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_permit_needs_a_login_or_a_role_where_the_rule_says_so() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let table = table();
    let nobody = || node.actor(&HeaderMap::new()).unwrap();
    for rule in [Rule::Authenticated, Rule::AnyOf(vec![role("USER")]), Rule::AnyOf(vec![])] {
        let answer = permit(nobody(), &rule, &table, &denial());
        assert!(matches!(answer, Err(Error::Unauthenticated(Unproven::Missing))), "{rule:?}: {answer:?}");
    }
    assert!(permit(nobody(), &Rule::Anyone, &table, &denial()).unwrap().actor().is_anonymous());

    let owner = node.create(anna(), &[role("RESTAURANT_OWNER")]).await.unwrap();
    let session = login(&node).await;
    let anna = || actor(&node, &session).unwrap();
    for rule in [Rule::AnyOf(vec![role("ADMIN")]), Rule::AnyOf(vec![])] {
        assert!(matches!(permit(anna(), &rule, &table, &denial()), Err(Error::Forbidden(_))), "{rule:?}");
    }
    let permit = permit(anna(), &Rule::AnyOf(vec![role("USER")]), &table, &denial()).unwrap();
    assert_eq!(permit.actor().account(), Some(owner.id));
    assert!(permit.has(&role("USER")) && !permit.has(&role("ADMIN")));
}

const STRONG: &str = "newcomer = \"USER\"\n[role.USER]\n[role.AUDITOR]\nincludes = [\"READER\"]\nmfa = true\n\
                      [role.READER]\n[role.ADMIN]\nincludes = [\"*\"]\n";

#[test]
fn a_role_that_wants_a_second_factor_gives_nothing_without_one() {
    let table = RoleTable::read("roles.toml", STRONG).unwrap();
    let held = |name: &str, assurance| {
        table.expand_for(&[role(name)], assurance).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(held("AUDITOR", Assurance::Pwd).is_empty(), "nor what it includes");
    assert_eq!(held("AUDITOR", Assurance::Mfa), ["AUDITOR", "READER"]);
    assert_eq!(held("ADMIN", Assurance::Pwd), ["ADMIN", "READER", "USER"], "nor through another role");
    assert_eq!(held("ADMIN", Assurance::Mfa), ["ADMIN", "AUDITOR", "READER", "USER"]);
    let newcomer = fault("newcomer = \"USER\"\n[role.USER]\nmfa = true\n");
    assert!(newcomer.contains("newcomer") && newcomer.contains("fix:"), "{newcomer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_lacks_only_the_second_factor_is_told_so() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let table = RoleTable::read("roles.toml", STRONG).unwrap();
    node.create(anna(), &[role("AUDITOR")]).await.unwrap();
    let session = login(&node).await;
    let ask = |wanted: &str| {
        let rule = Rule::AnyOf(vec![role(wanted)]);
        permit(actor(&node, &session).unwrap(), &rule, &table, &denial())
    };
    assert!(matches!(ask("AUDITOR"), Err(Error::Unassured(Unassured::Factor))));
    assert!(matches!(ask("READER"), Err(Error::Unassured(Unassured::Factor))));
    assert!(matches!(ask("ADMIN"), Err(Error::Forbidden(_))), "a factor would not help");
    let anybody = permit(actor(&node, &session).unwrap(), &Rule::Authenticated, &table, &denial()).unwrap();
    assert!(anybody.roles().is_empty(), "enough to turn a factor on");
}
