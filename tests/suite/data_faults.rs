//! What happens to connections, permits and writes when futures are dropped and backends die.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dinehub::{
    database::{
        guest::{Failure, Limits, Opening, Options, Pool, Transaction, Uncommitted},
        identity::Caller,
        statement::{Kind, Statement},
        target::Target,
        value::Datum,
    },
    id::AccountId,
};
use harness::{
    database::connect,
    shop::{Shop, statement},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

const BUDGET: usize = 2;

fn options() -> Options {
    Options { connections_max: BUDGET, wait_max: Duration::from_secs(5), ..Options::default() }
}

fn opening(read_only: bool) -> Opening {
    let caller = Caller::user(AccountId("a11ce000-0000-4000-8000-000000000001".parse().unwrap()), &["USER"]);
    Opening { caller, read_only, repeatable: false, timeout_ms: 5_000, limits: Limits::default() }
}

fn insert() -> Statement {
    statement("insert into shop.note (owner, text) values (platform.caller_id(), $1)", &[Kind::Text], &[])
}

fn count() -> Statement {
    statement("select count(*) from shop.note where text like $1", &[Kind::Text], &[Kind::Int8])
}

async fn counted(shop: &Shop, pool: &Pool, like: &str) -> i64 {
    let mut read = Transaction::new(pool.clone(), shop.login(pool, "alpha"), opening(true));
    let rows = read.execute(&count(), &[Datum::Text(like)]).await.unwrap();
    let Datum::Int(number) = rows.cell(0, 0, &Kind::Int8).unwrap() else { panic!("a number") };
    read.commit().await.unwrap();
    number
}

async fn settled(pool: &Pool) {
    for _ in 0..800 {
        let free = pool.free();
        if free.leases == BUDGET && free.sockets + free.idle == BUDGET {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("leaked: {:?}", pool.free());
}

/// A backend whose socket the host has closed sees that when it next runs; a leaked one would stay for a minute.
async fn ensure_none_in_transaction(shop: &Shop, admin: &tokio_postgres::Client, polls: usize) {
    let mut left = 0;
    for _ in 0..400 {
        left = shop.sessions(admin, "%in transaction%").await;
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{left} sessions are in a transaction after {polls} polls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_dropped_at_any_point_leaks_no_connection_permit_or_transaction() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let admin = connect(&shop.admin()).await;
    let mut finished = 0;
    for polls in 0..60 {
        let text = format!("note {polls}");
        let request = async {
            let mut write = Transaction::new(pool.clone(), shop.login(&pool, "alpha"), opening(false));
            write.execute(&insert(), &[Datum::Text(&text)]).await.unwrap();
            write.execute(&count(), &[Datum::Text("%")]).await.unwrap();
            write.commit().await.unwrap();
        };
        let mut request = Box::pin(request);
        let mut is_done = false;
        for _ in 0..polls {
            if futures::poll!(&mut request).is_ready() {
                is_done = true;
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        drop(request);
        settled(&pool).await;
        ensure_none_in_transaction(&shop, &admin, polls).await;
        let kept = counted(&shop, &pool, &text).await;
        assert!(kept == 1 || !is_done, "acknowledged is written");
        finished += usize::from(is_done);
    }
    assert!(finished > 0, "the last ones ran to their end");
    settled(&pool).await;
    assert!(shop.sessions(&admin, "%").await <= BUDGET as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_statement_is_cancelled_when_its_request_is_dropped() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let admin = connect(&shop.admin()).await;
    let slow = statement("select pg_sleep(60)::text", &[], &[Kind::Text]);
    let mut read = Transaction::new(pool.clone(), shop.login(&pool, "alpha"), opening(true));
    let late = tokio::time::timeout(Duration::from_millis(300), read.execute(&slow, &[])).await;
    assert!(late.is_err());
    assert_eq!(read.execute(&count(), &[Datum::Text("%")]).await.unwrap_err(), Failure::Aborted);
    drop(read);
    settled(&pool).await;
    for _ in 0..200 {
        if shop.sessions(&admin, "active").await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(shop.sessions(&admin, "active").await, 0);
    assert_eq!(counted(&shop, &pool, "%").await, 0);
}

const KILL: &str = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and usename like '%\\_rw'";

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_killed_in_a_statement_fails_the_request_and_nothing_else() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let admin = connect(&shop.admin()).await;
    let slow = statement("select pg_sleep(60)::text", &[], &[Kind::Text]);
    let mut read = Transaction::new(pool.clone(), shop.login(&pool, "alpha"), opening(true));
    let (failed, ()) = tokio::join!(read.execute(&slow, &[]), async {
        while shop.sessions(&admin, "active").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        admin.execute(KILL, &[]).await.unwrap();
    });
    assert!(matches!(failed, Err(Failure::Unavailable(_))), "{failed:?}");
    drop(read);
    settled(&pool).await;
    assert_eq!(counted(&shop, &pool, "%").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_that_died_are_replaced_without_a_word() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let admin = connect(&shop.admin()).await;
    for _ in 0..5 {
        assert_eq!(counted(&shop, &pool, "%").await, 0);
        settled(&pool).await;
        admin.execute(KILL, &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_killed_in_a_commit_is_known_to_have_written_nothing() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let admin = connect(&shop.admin()).await;
    let mut write = Transaction::new(pool.clone(), shop.login(&pool, "alpha"), opening(false));
    write.execute(&insert(), &[Datum::Text("slow commit")]).await.unwrap();
    let (ended, ()) = tokio::join!(write.commit(), async {
        while shop.sessions(&admin, "active").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        admin.execute(KILL, &[]).await.unwrap();
    });
    assert!(matches!(ended, Err(Uncommitted::Failed(_))), "{ended:?}");
    settled(&pool).await;
    assert_eq!(counted(&shop, &pool, "%").await, 0);
}

/// Stands before PostgreSQL; when told to, it lets the next COMMIT through and swallows its answer.
struct Proxy {
    directory: std::path::PathBuf,
    is_armed: Arc<AtomicBool>,
}

impl Proxy {
    fn before(target: &Target) -> Self {
        let directory =
            std::env::temp_dir().join(format!("dinehub-proxy-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]));
        std::fs::create_dir(&directory).unwrap();
        let listener = UnixListener::bind(directory.join(".s.PGSQL.5432")).unwrap();
        let is_armed = Arc::new(AtomicBool::new(false));
        let (armed, server) = (Arc::clone(&is_armed), format!("{}/.s.PGSQL.5432", target.host));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(Self::carry(client, server, Arc::clone(&armed)));
            }
        });
        Self { directory, is_armed }
    }

    async fn carry(mut client: UnixStream, mut server: UnixStream, armed: Arc<AtomicBool>) {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            tokio::select! {
                Ok(n) = client.read(&mut up) => {
                    let sent = up.get(..n).unwrap_or_default();
                    if n == 0 || server.write_all(sent).await.is_err() { return; }
                    let is_commit = sent.windows(7).any(|window| window == b"COMMIT\0");
                    if is_commit && armed.swap(false, Ordering::SeqCst) {
                        Self::swallow(&mut client, &mut server).await;
                        return;
                    }
                }
                Ok(n) = server.read(&mut down) => {
                    if n == 0 || client.write_all(down.get(..n).unwrap_or_default()).await.is_err() { return; }
                }
                else => return,
            }
        }
    }

    /// Hands on the answer to the question for the transaction's id, waits for COMMIT's, and hangs up.
    async fn swallow(client: &mut UnixStream, server: &mut UnixStream) {
        for is_first in [true, false] {
            loop {
                let kind = server.read_u8().await.unwrap();
                let length = server.read_u32().await.unwrap();
                let mut body = vec![0; length as usize - 4];
                server.read_exact(&mut body).await.unwrap();
                if is_first {
                    let mut message = vec![kind];
                    message.extend(length.to_be_bytes());
                    message.extend(body);
                    client.write_all(&message).await.unwrap();
                }
                if kind == b'Z' {
                    break;
                }
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_looked_up_and_found_written() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let target = shop.target("alpha_rw");
    let proxy = Proxy::before(&target);
    let login = pool.login(target.reached_at(&proxy.directory.display().to_string()));
    let mut write = Transaction::new(pool.clone(), login, opening(false));
    write.execute(&insert(), &[Datum::Text("written")]).await.unwrap();
    proxy.is_armed.store(true, Ordering::SeqCst);
    assert_eq!(write.commit().await, Ok(()));
    assert!(!proxy.is_armed.load(Ordering::SeqCst), "the answer was swallowed");
    settled(&pool).await;
    assert_eq!(counted(&shop, &pool, "written").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_goes_on_when_its_caller_leaves() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let mut write = Transaction::new(pool.clone(), shop.login(&pool, "alpha"), opening(false));
    write.execute(&insert(), &[Datum::Text("left alone")]).await.unwrap();
    let mut commit = Box::pin(write.commit());
    let _ = futures::poll!(&mut commit);
    drop(commit);
    settled(&pool).await;
    assert_eq!(counted(&shop, &pool, "left alone").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hasty_callers_leave_the_pool_whole() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let login = shop.login(&pool, "alpha");
    let callers = (0..10_000_u64).map(|n| {
        let mut read = Transaction::new(pool.clone(), login.clone(), opening(true));
        async move {
            let patience = Duration::from_micros(n % 50 * 40);
            let _ = tokio::time::timeout(patience, read.execute(&count(), &[Datum::Text("%")])).await;
        }
    });
    futures::StreamExt::collect::<()>(futures::StreamExt::buffer_unordered(futures::stream::iter(callers), 64)).await;
    settled(&pool).await;
    assert_eq!(counted(&shop, &pool, "%").await, 0);
}
