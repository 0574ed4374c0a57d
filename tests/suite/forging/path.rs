//! The same attempts as statements of a plugin: through the host's own data path, one connection for every request.

use dinehub::{
    database::{
        control,
        guest::{Failure, Limits, Opening, Options, Pool, Transaction},
        identity::Caller,
        statement::Kind,
    },
    id::AccountId,
};
use harness::{
    database::connect,
    shop::{Shop, statement},
};

use super::{ALICE, BOB, Ground};

/// The plugin's login, and through it the host's own data path, with one connection for every request.
struct Path {
    shop: Shop,
    pool: Pool,
}

impl Path {
    /// `shop.trap` makes what a plugin could that had any SQL: of every prepared name another statement.
    async fn open() -> Self {
        let shop = Shop::open().await;
        let admin = connect(&shop.admin()).await;
        let trap = "create function shop.trap() returns int4 language plpgsql as $$ declare n text; begin
                     for n in select name from pg_prepared_statements loop
                       execute format('deallocate %I', n);
                       execute format('prepare %I (text, uuid, text, text, int4) as insert into shop.loot values ($4)', n);
                     end loop; return 1; end $$;
                   create table shop.loot (token text); grant insert on shop.loot to public";
        admin.batch_execute(trap).await.unwrap();
        let pool = shop.pool(Options { connections_max: 1, ..Options::default() });
        Self { shop, pool }
    }

    fn transaction(&self, who: &str) -> Transaction {
        let caller = Caller::user(AccountId(who.parse().unwrap()), &["USER"]);
        let opening =
            Opening { caller, read_only: false, repeatable: false, timeout_ms: 5_000, limits: Limits::default() };
        Transaction::new(self.pool.clone(), self.shop.login(&self.pool, "alpha"), opening)
    }

    /// What the host's data path says to this text as a statement of a plugin.
    async fn run(&self, sql: &str) -> Result<(), Failure> {
        let mut transaction = self.transaction(ALICE);
        let columns: &[Kind] = if sql.starts_with("select") { &[Kind::Int4] } else { &[] };
        transaction.execute(&statement(sql, &[], columns), &[]).await?;
        transaction.commit().await.unwrap();
        Ok(())
    }

    /// A later request writes and reads as its own caller.
    async fn still_serves(&self, text: &str) {
        let mut next = self.transaction(BOB);
        let insert = "insert into shop.note (owner, text) values (platform.caller_id(), $1)";
        let datum = dinehub::database::value::Datum::Text(text);
        next.execute(&statement(insert, &[Kind::Text], &[]), &[datum]).await.unwrap();
        next.commit().await.unwrap();
        let admin = connect(&self.shop.admin()).await;
        let owner = "select owner::text from shop.note where text = $1";
        assert_eq!(admin.query_one(owner, &[&text]).await.unwrap().get::<_, &str>(0), BOB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_but_the_four_leaves_the_host() {
    let path = Path::open().await;
    for (at, sql) in [
        "set role postgres",
        "reset role",
        "reset all",
        "set local dinehub.caller = ''",
        "commit",
        "commit and chain",
        "rollback",
        "savepoint x",
        "prepare assume as select 1",
        "deallocate all",
        "declare c cursor with hold for select text from shop.note",
        "fetch all from c",
        "notify dinehub_revocation, '1'",
        "listen dinehub_revocation",
        "lock table shop.note in access exclusive mode",
        "alter role current_user set search_path = shop",
        "do $$ begin end $$",
        "call shop.x()",
        "copy shop.note to stdout",
        "explain select 1",
        "create temp table x (y int)",
        "table shop.note",
        "discard all",
        "/* select */ reset all",
        "-- select\nreset all",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(matches!(path.run(sql).await, Err(Failure::Denied(_))), "{sql}");
        path.still_serves(&format!("after {at}")).await;
    }
    assert_eq!(path.run("select 1::int4").await, Ok(()));
    assert_eq!(path.run("with x as (select 1) delete from shop.note where false").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_re_prepared_assume_steals_no_token() {
    let path = Path::open().await;
    path.still_serves("before the theft").await;
    let sessions = connect(&path.shop.admin()).await;
    assert_eq!(path.shop.sessions(&sessions, "idle").await, 1, "one session serves all of it");
    // Every name there is in the session becomes a trap for parameters like those of `assume`.
    assert_eq!(path.run("select shop.trap()").await, Ok(()));
    // A trapped name of the plugin's own is noticed, and costs the session.
    let trapped = path.run("select shop.trap()").await;
    assert!(matches!(&trapped, Err(Failure::Unavailable(why)) if why.contains("08P01")), "{trapped:?}");
    let admin = connect(&path.shop.admin()).await;
    path.still_serves("after the theft").await;
    let loot: i64 = admin.query_one("select count(*) from shop.loot", &[]).await.unwrap().get(0);
    assert_eq!(loot, 0, "the token went through a name that the session can make its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_path_of_the_real_host_states_only_the_caller_of_the_request() {
    let ground = Ground::open().await;
    let control = control::pool(&ground.server.login_of("control"), 2);
    let pool = Pool::new(control, Options { connections_max: 1, ..Options::default() });
    let login = pool.login(ground.server.login_of("ordering_rw"));
    for who in [ALICE, BOB, ALICE] {
        let caller = Caller::user(AccountId(who.parse().unwrap()), &["USER"]);
        let opening =
            Opening { caller, read_only: true, repeatable: false, timeout_ms: 5_000, limits: Limits::default() };
        let mut transaction = Transaction::new(pool.clone(), login.clone(), opening);
        let asked = statement("select platform.caller_id()", &[], &[Kind::Uuid]);
        let rows = transaction.execute(&asked, &[]).await.unwrap();
        let known = dinehub::database::value::Datum::Uuid(who.parse().unwrap());
        assert_eq!(rows.cell(0, 0, &Kind::Uuid).unwrap(), known);
        transaction.commit().await.unwrap();
    }
    ground.still_serves().await;
}
