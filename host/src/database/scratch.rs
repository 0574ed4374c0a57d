//! A throw-away database to parse a plugin's SQL in: built from its migrations, dropped afterwards, also after a failure.
//!
//! The migrations are somebody else's text. They run as a real login without any right outside its schema: under
//! `SET ROLE` a `RESET ROLE` in the text would be the superuser again. Two logins exist: the **owner** of the schema,
//! and the **probe**, which holds exactly the grants that [`super::privilege::oracle`] wants to try.
//!
//! ```text
//! scratch::within(&admin, &id, &migrations, async |scratch, catalog| Prover::new(scratch, catalog).await?.prove(…).await)
//! ```

use secrecy::SecretString;
use uuid::Uuid;

use super::{
    catalog::Catalog,
    grant,
    migrate::{self, Migration},
    session::{Session, identifier, literal},
    target::Target,
};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// What plugins' SQL may call, with the real signatures; a scratch database only parses, so they answer nothing.
const PLATFORM: &str = "create schema platform;
    create function platform.caller_id() returns uuid language sql stable parallel restricted return null::uuid;
    create function platform.caller_kind() returns text language sql stable parallel restricted return null::text;
    create function platform.caller_has(role text) returns boolean
      language sql stable parallel restricted return null::boolean;";

/// A scratch database with its two logins.
#[derive(Debug)]
pub struct Scratch {
    owner: Session,
    probe: Session,
    probe_role: String,
    schema: String,
}

impl Scratch {
    /// The login that owns the plugin's schema.
    #[must_use]
    pub fn owner(&self) -> &Session {
        &self.owner
    }

    /// The login that holds what it is granted for a try, and nothing else.
    #[must_use]
    pub fn probe(&self) -> &Session {
        &self.probe
    }

    /// The name of the probe's role.
    #[must_use]
    pub fn probe_role(&self) -> &str {
        &self.probe_role
    }

    /// The plugin's schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }
}

/// Makes a scratch database, runs the migrations, hands it to `work`, and drops it whatever happened.
/// `admin` may create databases and roles.
pub async fn within<T>(
    admin: &Target,
    id: &PluginId,
    migrations: &[Migration],
    work: impl AsyncFnOnce(&Scratch, &Catalog) -> Setup<T>,
) -> Setup<T> {
    let place = Place::new(admin);
    let keeper = Session::open(admin).await?;
    sweep(&keeper, &place.prefix).await?;
    // Held for this session's life: whoever gets it later knows that nobody works there any more.
    keeper.run(&format!("select pg_catalog.pg_advisory_lock({})", lock_key(&place.name))).await?;
    let result = async {
        place.create(&keeper, admin, id).await?;
        let (scratch, catalog) = place.fill(admin, id, migrations).await?;
        work(&scratch, &catalog).await
    }
    .await;
    let dropped = drop_place(&keeper, &place.name).await;
    let value = result?;
    dropped.map(|()| value)
}

/// The names and passwords of one scratch database.
struct Place {
    prefix: String,
    name: String,
    password: SecretString,
}

impl Place {
    fn new(admin: &Target) -> Self {
        let prefix = format!("{}_scratch_", admin.database);
        let tail = Uuid::new_v4().simple().to_string();
        let name = format!("{prefix}{}", tail.get(..12).unwrap_or(&tail));
        let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self { prefix, name, password: password.into() }
    }

    fn probe(&self) -> String {
        format!("{}_probe", self.name)
    }

    async fn create(&self, keeper: &Session, admin: &Target, id: &PluginId) -> Setup<()> {
        if self.probe().len() > 63 {
            return Err(Fault::new(&self.name, "the database's name is too long").fix("use one of at most 36 bytes"));
        }
        let (database, owner, probe) = (identifier(&self.name), identifier(&self.name), identifier(&self.probe()));
        let password = literal(&grant::verifier(&self.password));
        keeper.run(&format!("create database {database} template template0")).await?;
        for role in [&owner, &probe] {
            keeper.run(&format!("create role {role} login {} password {password}", grant::HARMLESS)).await?;
        }
        let inside = Session::open(&admin.database(&self.name)).await?;
        grant::close(&inside).await?;
        inside.run(PLATFORM).await?;
        let schema = identifier(id.as_str());
        inside
            .run(&format!(
                "create schema {schema} authorization {owner};
                 create schema dinehub; grant usage, create on schema dinehub to {owner};
                 grant connect on database {database} to {owner}, {probe};
                 grant usage on schema platform to {owner}, {probe};
                 grant usage on schema {schema} to {probe};
                 grant execute on all functions in schema platform to {owner}, {probe}"
            ))
            .await
    }

    async fn fill(&self, admin: &Target, id: &PluginId, migrations: &[Migration]) -> Setup<(Scratch, Catalog)> {
        let inside = admin.database(&self.name);
        let owner = inside.login(&self.name, self.password.clone());
        // The session that ran the migrations keeps what they set; the statements get a clean one.
        let catalog = migrate::apply_all(&Session::open(&owner).await?, id, migrations).await?;
        let probe_role = self.probe();
        let probe = Session::open(&inside.login(&probe_role, self.password.clone())).await?;
        let schema = id.as_str().to_owned();
        Ok((Scratch { owner: Session::open(&owner).await?, probe, probe_role, schema }, catalog))
    }
}

/// Drops scratch databases that a killed process left behind: nobody holds their lock.
async fn sweep(keeper: &Session, prefix: &str) -> Setup<()> {
    let sql = "select datname::text from pg_catalog.pg_database where pg_catalog.starts_with(datname::text, $1)";
    for row in keeper.query(sql, &[&prefix]).await.map_err(keeper.fault())? {
        let name: String = row.get(0);
        let key = lock_key(&name);
        let sql = format!("select pg_catalog.pg_try_advisory_lock({key})");
        if keeper.query_one(&sql, &[]).await.map_err(keeper.fault())?.get(0) {
            drop_place(keeper, &name).await?;
            keeper.run(&format!("select pg_catalog.pg_advisory_unlock({key})")).await?;
        }
    }
    Ok(())
}

async fn drop_place(keeper: &Session, name: &str) -> Setup<()> {
    let (owner, probe) = (identifier(name), identifier(&format!("{name}_probe")));
    keeper.run(&format!("drop database if exists {owner} with (force)")).await?;
    keeper.run(&format!("drop role if exists {owner}; drop role if exists {probe}")).await
}

fn lock_key(name: &str) -> String {
    format!("pg_catalog.hashtextextended({}, 0)", literal(name))
}
