//! A database for one test, dropped with it, and the roles that were made for it.

use dinehub::database::target::{self, Target};
use tokio_postgres::Client;

use crate::cluster;

/// A fresh database on the shared cluster.
#[derive(Debug)]
pub struct Database {
    name: String,
}

impl Database {
    /// An empty database with a name nobody else has.
    pub async fn fresh() -> Self {
        let name = format!("t_{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let admin = connect(&cluster::admin()).await;
        admin.batch_execute(&format!("create database {name}")).await.expect("create database");
        Self { name }
    }

    /// The superuser at this database.
    #[must_use]
    pub fn admin(&self) -> Target {
        cluster::admin().database(&self.name)
    }

    /// The same as a URL, for the program's commands.
    #[must_use]
    pub fn url(&self) -> String {
        let Target { host, port, database, user, .. } = self.admin();
        format!("postgres://{user}@{}:{port}/{database}", host.replace('/', "%2F"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.name.clone();
        let drop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let admin = connect(&cluster::admin()).await;
                let _ = admin.batch_execute(&format!("drop database if exists {name} with (force)")).await;
                let roles = admin
                    .query("select rolname from pg_roles where starts_with(rolname, $1)", &[&format!("{name}_")])
                    .await
                    .expect("roles");
                for role in roles {
                    let role: String = role.get(0);
                    let _ = admin.batch_execute(&format!("drop role if exists \"{role}\"")).await;
                }
            });
        };
        // A test's runtime may be the current one; blocking needs a thread of its own.
        let _ = std::thread::spawn(drop).join();
    }
}

/// A plain connection, for tests that speak SQL themselves.
pub async fn connect(login: &Target) -> Client {
    let (client, connection) = target::connect(&login.tokio()).await.expect("connect to the test cluster");
    tokio::spawn(connection);
    client
}
