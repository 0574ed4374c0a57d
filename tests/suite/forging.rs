//! Each way to forge an identity or to reach past the grants that 3-capabilities §3.4 names, tried for real: as a
//! plugin's own login that can run any SQL, on a database as `dinehub db apply` leaves it, in a session that the host
//! opened. Each test sees the refusal, and then that the same session and the API still serve an honest request.

mod path;

use dinehub::{command::install, database::statement::Ask, error::Setup};
use harness::{
    database::connect,
    server::{Person, Server, admitted_features, features},
};
use tokio_postgres::Client;

use crate::identity_sql::{begin, caller, code};

const ALICE: &str = "a11ce000-0000-4000-8000-000000000001";
const BOB: &str = "b0b00000-0000-4000-8000-000000000002";

/// A running host, a session of `ordering` in the attacker's hands, and somebody who only wants to see her orders.
struct Ground {
    server: Server,
    session: Client,
    admin: Client,
    honest: Person,
}

impl Ground {
    async fn open() -> Self {
        let server = Server::start().await;
        let (session, admin) =
            (connect(&server.login_of("ordering_rw")).await, connect(&server.database.admin()).await);
        let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
        let control = connect(&server.login_of("control")).await;
        let register = "insert into platform.connection (pid, token_sha256) values ($1, sha256('token'))";
        control.execute(register, &[&pid]).await.unwrap();
        let honest = server.person("USER").await;
        Self { server, session, admin, honest }
    }

    /// A database role of this test.
    fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.server.database.admin().database)
    }

    /// Inside a transaction that the host opened for Alice.
    async fn as_alice(&self, sql: &str) -> Result<(), String> {
        begin(&self.session, "user", ALICE, "USER").await;
        let done = self.session.batch_execute(sql).await.map_err(code);
        let _ = self.session.batch_execute("ROLLBACK").await;
        done
    }

    /// PostgreSQL says that this needs a privilege nobody gave, in Alice's transaction and outside of any.
    async fn refused(&self, sql: &str) {
        assert_eq!(self.as_alice(sql).await, Err("42501".to_owned()), "{sql}");
        assert_eq!(self.session.batch_execute(sql).await.map_err(code), Err("42501".to_owned()), "{sql}");
    }

    /// The session serves the next caller, as that caller; and so does the API.
    async fn still_serves(&self) {
        begin(&self.session, "user", BOB, "USER").await;
        assert_eq!(caller(&self.session).await, BOB);
        let is_admin = self.session.query_one("select platform.caller_has('ADMIN')", &[]).await.unwrap();
        assert!(!is_admin.get::<_, bool>(0));
        self.session.query("select id, state from ordering.customer_order", &[]).await.unwrap();
        self.session.batch_execute("COMMIT").await.unwrap();
        let orders = self.honest.client.get("/api/v1/ordering/orders").await.expect(200);
        assert_eq!(orders.json["items"], serde_json::json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_role_leads_to_no_other_role() {
    let ground = Ground::open().await;
    let roles = ["ordering_owner", "ordering_ro", "restaurants_rw", "restaurants_owner", "control", "identity"];
    for role in roles.map(|role| ground.role(role)).into_iter().chain(["postgres".to_owned()]) {
        for set in ["SET ROLE", "SET LOCAL ROLE", "SET SESSION AUTHORIZATION"] {
            ground.refused(&format!("{set} {role}")).await;
        }
    }
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_role_leads_back_to_the_plugins_own_login() {
    let ground = Ground::open().await;
    begin(&ground.session, "user", ALICE, "USER").await;
    ground.session.batch_execute("SET ROLE NONE; RESET ROLE; RESET SESSION AUTHORIZATION; RESET ALL").await.unwrap();
    let who = ground.session.query_one("select session_user::text, current_user::text", &[]).await.unwrap();
    let own = ground.role("ordering_rw");
    assert_eq!((who.get::<_, &str>(0), who.get::<_, &str>(1)), (own.as_str(), own.as_str()));
    // RESET ALL took the statement of identity with it: there is no caller, not another one.
    let nobody = ground.session.batch_execute("select platform.caller_id()").await.map_err(code);
    assert_eq!(nobody, Err("42501".to_owned()));
    ground.session.batch_execute("ROLLBACK").await.unwrap();
    ground.refused("RESET ROLE; SELECT * FROM platform.proof").await;
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_the_identity_names_no_other_caller() {
    let ground = Ground::open().await;
    begin(&ground.session, "user", ALICE, "USER").await;
    let stated = "select current_setting('dinehub.caller')";
    let stated: String = ground.session.query_one(stated, &[]).await.unwrap().get(0);
    ground.session.batch_execute("ROLLBACK").await.unwrap();
    assert!(stated.contains(ALICE));
    for forged in [stated.replace(ALICE, BOB), stated.replace("|USER|", "|ADMIN|"), stated.replace("user", "system")] {
        for ask in ["platform.caller_id()", "platform.caller_has('ADMIN')", "id from ordering.customer_order"] {
            seed_order(&ground).await;
            let sql = format!("SET LOCAL dinehub.caller = '{forged}'; SELECT {ask}");
            assert_eq!(ground.as_alice(&sql).await, Err("42501".to_owned()), "{sql}");
        }
    }
    // Kept for the session, it is overwritten by the next statement of identity.
    ground.session.batch_execute(&format!("SET dinehub.caller = '{stated}'")).await.unwrap();
    ground.admin.batch_execute("delete from ordering.customer_order").await.unwrap();
    ground.still_serves().await;
}

/// Without a row no policy is asked.
async fn seed_order(ground: &Ground) {
    let order = format!(
        "insert into ordering.customer_order (customer_id, owner_id, restaurant_id, restaurant_name, currency, total_cents)
         values ('{BOB}', '{ALICE}', '{ALICE}', 'x', 'EUR', 1)"
    );
    ground.admin.batch_execute(&order).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn set_config_is_not_the_plugins_to_call() {
    let ground = Ground::open().await;
    for sql in [
        "SELECT set_config('dinehub.caller', 'user|x|ADMIN|0', true)",
        "SELECT set_config('role', 'postgres', false)",
        // The view PostgreSQL opens to everybody, whose rule calls set_config.
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'search_path'",
    ] {
        ground.refused(sql).await;
    }
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_inside_a_statement_ends_the_caller_with_the_transaction() {
    let ground = Ground::open().await;
    for end in
        ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT; BEGIN", "END; START TRANSACTION"]
    {
        begin(&ground.session, "user", ALICE, "USER").await;
        ground.session.batch_execute(end).await.unwrap();
        let after = ground.session.batch_execute("SELECT platform.caller_id()").await.map_err(code);
        assert_eq!(after, Err("42501".to_owned()), "{end}");
        let _ = ground.session.batch_execute("ROLLBACK").await;
    }
    for end in ["commit", "rollback"] {
        let sql = format!("do $$ begin {end}; end $$");
        assert_eq!(ground.as_alice(&sql).await, Err("2D000".to_owned()), "{sql}");
    }
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_put_into_pg_temp() {
    let ground = Ground::open().await;
    for sql in [
        "CREATE TEMP TABLE proof (a bytea, b bytea)",
        "CREATE TEMP SEQUENCE s",
        "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql RETURN 'epoch'::timestamptz",
        "CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid",
        "SELECT id INTO TEMP x FROM ordering.customer_order",
    ] {
        ground.refused(sql).await;
    }
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_path_finds_nothing_of_the_plugins_making() {
    let ground = Ground::open().await;
    for schema in ["ordering", "restaurants", "platform", "dinehub", "public", "pg_catalog"] {
        let function = format!("CREATE FUNCTION {schema}.now() RETURNS text LANGUAGE sql RETURN 'x'");
        for sql in
            [function, format!("CREATE TABLE {schema}.proof (x int)"), format!("CREATE TYPE {schema}.text AS (x int)")]
        {
            ground.refused(&sql).await;
        }
    }
    ground.refused("CREATE SCHEMA mine").await;
    // The session keeps the path; what is pinned means the same in it.
    ground.session.batch_execute("SET search_path = ordering, restaurants, pg_temp, pg_catalog").await.unwrap();
    let packages = features().await;
    let ordering = packages.iter().find(|package| package.manifest.id.as_str() == "ordering").unwrap();
    for pinned in &ordering.content.statements {
        ground.session.prepare(&pinned.text).await.unwrap_or_else(|why| panic!("{}: {why}", pinned.name));
    }
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_a_hint_and_nothing_else() {
    let ground = Ground::open().await;
    ground.refused("SELECT pg_notify('dinehub_revocation', '1')").await;
    // The command needs no privilege.
    for payload in ["9223372036854775807", "-1", "", "x'; drop table dinehub.revocation; --"] {
        let payload = payload.replace('\'', "''");
        ground.session.batch_execute(&format!("NOTIFY dinehub_revocation, '{payload}'")).await.unwrap();
    }
    ground.still_serves().await;
    // What really was revoked after the forged ones is dead.
    let leaving = ground.server.person("USER").await;
    let _ = leaving.client.get("/api/v1/ordering/orders").await.expect(200);
    let _ = leaving.client.act("/api/v1/auth/logout").await.expect(204);
    leaving.client.get("/api/v1/ordering/orders").await.refused(401, "unauthenticated");
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn advisory_locks_are_not_the_plugins_to_hold() {
    let ground = Ground::open().await;
    // The one that log-outs are written under, by each function there is.
    let functions =
        "select format('%I(%s)', proname, case when proargtypes::text like '% %' then '4950237, 1' else '1' end)
        from pg_proc where proname ~ '^pg_(try_)?advisory' and proargtypes::text <> ''";
    let functions = ground.admin.query(functions, &[]).await.unwrap();
    assert!(functions.len() >= 18, "{}", functions.len());
    for function in functions {
        ground.refused(&format!("SELECT {}", function.get::<_, &str>(0))).await;
    }
    ground.refused("SELECT pg_advisory_unlock_all()").await;
    let leaving = ground.server.person("USER").await;
    let _ = leaving.client.act("/api/v1/auth/logout").await.expect(204);
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogs_give_away_no_secret_row_or_statement() {
    let ground = Ground::open().await;
    for sql in [
        "SELECT rolpassword FROM pg_authid",
        "SELECT passwd FROM pg_shadow",
        "SELECT * FROM pg_statistic",
        "SELECT * FROM pg_hba_file_rules",
        "SELECT * FROM pg_file_settings",
        "SELECT * FROM pg_config",
        "SELECT subconninfo FROM pg_subscription",
        "SELECT * FROM pg_user_mapping",
        "SELECT data FROM pg_largeobject",
        "SELECT pg_read_file('pg_hba.conf')",
        "SELECT * FROM public._sqlx_migrations",
    ] {
        ground.refused(sql).await;
    }
    // Statistics hold values out of rows that a policy hides.
    for _ in 0..20 {
        seed_order(&ground).await;
    }
    ground.admin.batch_execute("analyze ordering.customer_order").await.unwrap();
    let count = "select count(*) from pg_stats where schemaname = 'ordering'";
    assert!(ground.admin.query_one(count, &[]).await.unwrap().get::<_, i64>(0) > 0, "there is something to hide");
    assert_eq!(ground.session.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 0);
    // What other logins run, in which parameters of the host could stand.
    let theirs = "select count(*) from pg_stat_activity where usename <> current_user
        and coalesce(query, '') not in ('', '<insufficient privilege>')";
    assert_eq!(ground.session.query_one(theirs, &[]).await.unwrap().get::<_, i64>(0), 0);
    ground.admin.batch_execute("delete from ordering.customer_order").await.unwrap();
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_plugins_and_the_hosts_tables_are_closed() {
    let ground = Ground::open().await;
    let tables = "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace
        where relkind = 'r' and nspname in ('restaurants', 'platform', 'dinehub', 'public')";
    let tables = ground.admin.query(tables, &[]).await.unwrap();
    assert!(tables.len() >= 12, "{}", tables.len());
    for table in tables {
        let table: &str = table.get(0);
        for sql in [
            format!("SELECT FROM {table}"),
            format!("DELETE FROM {table}"),
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("TRUNCATE {table}"),
            format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
        ] {
            assert_eq!(ground.as_alice(&sql).await, Err("42501".to_owned()), "{sql}");
        }
    }
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_no_statement_asks_are_closed() {
    let ground = Ground::open().await;
    let packages = features().await;
    let ordering = packages.iter().find(|package| package.manifest.id.as_str() == "ordering").unwrap();
    let mut ask = Ask::default();
    ordering.content.statements.iter().for_each(|statement| ask.merge(&statement.ask));
    let (mut closed, mut open) = (0, 0);
    for (table, found) in &ordering.content.catalog.tables {
        let asked = &ask.relations[table];
        for (column, _) in &found.columns {
            for (is_asked, sql) in [
                (asked.select.contains(column), format!("SELECT {column} FROM {table}")),
                (asked.update.contains(column), format!("UPDATE {table} SET {column} = DEFAULT WHERE false")),
                (asked.insert.contains(column), format!("INSERT INTO {table} ({column}) SELECT NULL WHERE false")),
            ] {
                if is_asked {
                    // Granted, so that it is the grant that makes the difference.
                    assert_ne!(ground.as_alice(&sql).await, Err("42501".to_owned()), "{sql}");
                    open += 1;
                } else {
                    ground.refused(&sql).await;
                    closed += 1;
                }
            }
        }
    }
    assert!(closed > 15 && open > 15, "{closed} closed, {open} open");
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_held_over_a_commit_shows_only_what_its_own_caller_saw() {
    let ground = Ground::open().await;
    seed_order(&ground).await;
    let hold = "DECLARE kept CURSOR WITH HOLD FOR SELECT id FROM ordering.customer_order";
    begin(&ground.session, "user", "ca401000-0000-4000-8000-000000000003", "USER").await;
    ground.session.batch_execute(hold).await.unwrap();
    ground.session.batch_execute("COMMIT").await.unwrap();
    // The order is Bob's; the cursor is of somebody who may not see it, and learns nothing from Bob's transaction.
    begin(&ground.session, "user", BOB, "USER").await;
    assert_eq!(ground.session.query("select id from ordering.customer_order", &[]).await.unwrap().len(), 1);
    assert!(ground.session.query("FETCH ALL FROM kept", &[]).await.unwrap().is_empty());
    ground.session.batch_execute("COMMIT").await.unwrap();
    // Without a caller there is nothing to hold at all.
    let nobody = ground.session.batch_execute(&hold.replace("kept", "other")).await.map_err(code);
    assert_eq!(nobody, Err("42501".to_owned()));
    ground.admin.batch_execute("delete from ordering.customer_order").await.unwrap();
    ground.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_own_role_settings_and_password_are_seen_and_refused() {
    let ground = Ground::open().await;
    let (admin, role) = (ground.server.database.admin(), ground.role("ordering_rw"));
    let packages = admitted_features().await;
    let ensure = async || -> Setup<()> { install::ensure(&admin, &ground.server.rings, &packages).await };
    ensure().await.unwrap_or_else(|fault| panic!("{fault}"));
    for (sql, said) in [
        (format!("ALTER ROLE {role} SET search_path = ordering"), "has the setting search_path=ordering"),
        (format!("ALTER ROLE {role} IN DATABASE {} SET row_security = off", admin.database), "row_security=off"),
        (format!("ALTER ROLE {role} PASSWORD 'mine'"), "does not log in with the password"),
    ] {
        ground.session.batch_execute(&sql).await.unwrap();
        let fault = ensure().await.unwrap_err().to_string();
        assert!(fault.contains(said) && fault.contains(&role) && fault.contains("dinehub db plan"), "{sql}: {fault}");
        install::install(&admin, &ground.server.rings, &packages).await.unwrap_or_else(|fault| panic!("{fault}"));
        ensure().await.unwrap_or_else(|fault| panic!("{sql}: {fault}"));
    }
    for sql in ["SUPERUSER", "BYPASSRLS", "CREATEROLE", "CREATEDB", "REPLICATION", "CONNECTION LIMIT -1"] {
        ground.refused(&format!("ALTER ROLE {role} {sql}")).await;
    }
    ground.still_serves().await;
}
