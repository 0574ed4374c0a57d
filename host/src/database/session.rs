//! One connection for set-up work: proving, migrating, granting. Requests have their own path, in `guest`.

use std::ops::Deref;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::target::{Target, connect};
use crate::error::{Fault, Setup};

/// The tree reader knows the node text of this major version only.
const MAJOR: u32 = 15;

/// A connection that ends when it is dropped.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
    place: String,
}

impl Session {
    /// Logs in. Nothing is found by a bare name: the search path is empty.
    pub async fn open(target: &Target) -> Setup<Self> {
        let place = format!("database {} as {}", target.database, target.user);
        let (client, connection) = connect(&target.tokio()).await.map_err(Fault::at(&place))?;
        let driver = tokio::spawn(async {
            // The error reaches whoever waits for an answer; here it would be heard twice.
            let _ = connection.await;
        });
        let session = Self { client, driver, place };
        // Compiling a query over the catalogs takes longer than running it.
        session.run("set search_path = ''; set client_min_messages = warning; set jit = off").await?;
        session.ensure_major().await?;
        Ok(session)
    }

    /// Sends host-made SQL that gives no rows; several commands may stand in it.
    pub async fn run(&self, sql: &str) -> Setup<()> {
        self.client.batch_execute(sql).await.map_err(Fault::at(&self.place))
    }

    /// For `map_err`: names this session.
    pub fn fault(&self) -> impl Fn(tokio_postgres::Error) -> Fault + '_ {
        |error| Fault::at(self.place.as_str())(error)
    }

    async fn ensure_major(&self) -> Setup<()> {
        let row = self.client.query_one("show server_version_num", &[]).await.map_err(self.fault())?;
        let version: u32 = row.get::<_, &str>(0).parse().map_err(Fault::at(&self.place))?;
        if version / 10_000 == MAJOR {
            return Ok(());
        }
        Err(Fault::new(&self.place, format!("is PostgreSQL {}, and only {MAJOR} is supported", version / 10_000))
            .fix(format!("install PostgreSQL {MAJOR}: what a statement asks is read from that version's own trees")))
    }
}

impl Deref for Session {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An identifier as SQL text, always quoted.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as SQL text. Safe whatever `standard_conforming_strings` says.
#[must_use]
pub fn literal(text: &str) -> String {
    format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_do_not_end_what_is_quoted() {
        assert_eq!(identifier("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(literal(r"it's \' over"), r" E'it''s \\'' over'");
    }
}
