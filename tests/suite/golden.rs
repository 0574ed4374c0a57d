//! What a reviewer reads: routes and who may call them, every problem, every statement with its columns. A change shows
//! up here or it did not happen. `UPDATE_GOLDEN=1 cargo test golden` writes the files anew.

mod event;

use std::fmt::Write as _;

use dinehub::{
    access::policy::Rule,
    command::grants::show,
    database::{migrate, own, session::Session},
    error::{Culprit, Error, Unassured, Unproven},
    id::Denial,
};
use harness::{
    database::Database,
    server::{Server, features, root},
};

pub(crate) fn compare(name: &str, text: &str) {
    let path = root().join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        known,
        text,
        "{} is out of date; if the change is meant: UPDATE_GOLDEN=1 cargo test golden",
        path.display()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_roles() {
    let server = Server::start().await;
    let mut text = String::new();
    for route in server.app().edition().router.iter() {
        let who = match &route.rule {
            Rule::Anyone => "anyone".to_owned(),
            Rule::Authenticated => "any account".to_owned(),
            Rule::AnyOf(roles) => roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        writeln!(text, "{:<7} {:<60} {who}", route.method.as_str(), route.pattern).unwrap();
    }
    compare("routes.txt", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_of_the_feature_plugins() {
    let reports = show::report(features().await).unwrap();
    // A digest names one build; what it holds is what is reviewed.
    let without_digest = |text: String| text.lines().skip(1).fold(String::new(), |all, line| all + line + "\n");
    let text: String = reports
        .iter()
        .map(|report| format!("{} {}\n{}", report.plugin, report.version, without_digest(show::table(report))))
        .collect();
    compare("grants.txt", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_as_they_reach_postgresql() {
    let mut text = String::new();
    for package in features().await {
        for statement in &package.content.statements {
            writeln!(text, "-- {}.{}.{}", package.manifest.id, statement.handle, statement.name).unwrap();
            writeln!(text, "{}\n", statement.text.trim()).unwrap();
        }
    }
    compare("statements.txt", &text);
}

/// The host carries this text: `dinehub db verify` compares a database with it.
#[tokio::test]
async fn what_the_hosts_own_migrations_make() {
    let database = Database::fresh().await;
    let admin = database.admin();
    migrate::host(&admin).await.unwrap();
    let session = Session::open(&admin).await.unwrap();
    compare("../../migrations/schema.txt", &own::describe(&session, &admin.database).await.unwrap());
}

/// One of each. A new variant does not compile until it is listed.
fn all() -> Vec<Error> {
    let sample = |error: Error| match error {
        Error::Malformed(_)
        | Error::Unauthenticated(_)
        | Error::Denied(_)
        | Error::Forbidden(_)
        | Error::Unassured(_)
        | Error::NotFound
        | Error::MethodNotAllowed(_)
        | Error::Conflict { .. }
        | Error::InFlight
        | Error::Filtered { .. }
        | Error::PreconditionFailed
        | Error::PreconditionRequired
        | Error::TooLarge { .. }
        | Error::UnsupportedMedia
        | Error::Invalid(_)
        | Error::KeyReused
        | Error::Throttled { .. }
        | Error::PluginFault { .. }
        | Error::Stopped { .. }
        | Error::Ungranted { .. }
        | Error::Internal(_)
        | Error::Unavailable(_)
        | Error::Disabled { .. }
        | Error::Timeout { .. } => error,
    };
    let culprit = || Culprit { plugin: "ordering".to_owned(), digest: "6f544b3a".to_owned() };
    [
        Error::Malformed("The body is not valid JSON: ….".into()),
        Error::Unauthenticated(Unproven::Missing),
        Error::Unauthenticated(Unproven::Password),
        Error::Unauthenticated(Unproven::Code),
        Error::Denied("<the plugin's>".into()),
        Error::Forbidden(Denial::route("GET", "/")),
        Error::Unassured(Unassured::Factor),
        Error::Unassured(Unassured::Recent),
        Error::NotFound,
        Error::MethodNotAllowed("GET, POST".to_owned()),
        Error::Conflict { code: "<the plugin's>".to_owned(), detail: "<the plugin's>".to_owned() },
        Error::InFlight,
        Error::Filtered { rule: "for the log alone".to_owned() },
        Error::PreconditionFailed,
        Error::PreconditionRequired,
        Error::TooLarge { bytes_max: 262_144 },
        Error::UnsupportedMedia,
        Error::invalid("/lines/0/quantity", "must be from 1 to 99"),
        Error::KeyReused,
        Error::Throttled { retry_after_s: 30 },
        Error::PluginFault { plugin: culprit(), log: "for the log alone".to_owned() },
        Error::Stopped { plugin: culprit(), limit: "for the log alone" },
        Error::Ungranted { plugin: culprit(), import: "for the log alone".to_owned() },
        Error::internal("for the log alone"),
        Error::Unavailable("for the log alone".into()),
        Error::Disabled { plugin: "ordering".to_owned() },
        Error::Timeout { plugin: culprit(), log: "for the log alone" },
    ]
    .map(sample)
    .into()
}

#[test]
fn every_problem() {
    let mut text = String::new();
    for error in all() {
        let (status, blame, level) = (error.status().as_u16(), format!("{:?}", error.blame()), error.level());
        writeln!(text, "{status} {:<24} {blame:<7} {level:<6} {}", error.code(), error.public()).unwrap();
        assert!(!error.to_string().contains("for the log alone"), "an error shows only its public sentence");
    }
    compare("problems.txt", &text);
}
