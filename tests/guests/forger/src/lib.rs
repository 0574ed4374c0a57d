//! A plugin that lies: it passes ids that are none, names other callers, and puts SQL where text belongs. It may read and
//! write what its caller may, and nothing else.

use dinehub_sdk::types::{Caller, Problem, Uuid};

use crate::bindings::{
    dinehub::forger_data::secrets,
    exports::dinehub::forger::api::{Claim, Guest, Identity, NewSecret},
};

dinehub_sdk::plugin!(Component);

struct Component;

/// Texts that would leave a quoted string, a parameter or a protocol message, if anything were quoted.
const HOSTILE: &[&str] = &[
    "' or '1'='1",
    "'; drop table forger.secret; --",
    "\\'; select pg_sleep(10); --",
    "$1",
    ":caller",
    "$$; select 1; $$",
    "/* */ or true",
    "E'\\x27' or true",
    "\u{2019} or 1=1",
    "%' or words like '%",
    "{\"a\"}",
];

impl Guest for Component {
    fn keep(_caller: Caller, body: NewSecret) -> Result<Uuid, Problem> {
        Ok(secrets::keep(&body.words)?.owner_id)
    }

    fn keep_for(_caller: Caller, body: Claim) -> Result<Uuid, Problem> {
        Ok(secrets::keep_for(&body.caller_id, &body.words)?.owner_id)
    }

    fn read_of(_caller: Caller, caller_id: String) -> Result<Vec<String>, Problem> {
        Ok(secrets::read_of(&caller_id)?.into_iter().map(|row| row.words).collect())
    }

    fn search(_caller: Caller, words: String) -> Result<Vec<String>, Problem> {
        Ok(secrets::search(&words)?.into_iter().map(|row| row.words).collect())
    }

    fn whoami(caller: Caller) -> Result<Identity, Problem> {
        let row = secrets::whoami()?;
        let claimed = match caller {
            Caller::Anonymous => String::new(),
            Caller::User(user) => user.id,
            Caller::System(cause) => cause,
        };
        Ok(Identity { claimed, bound: row.bound, known: row.known, kind: row.kind })
    }

    fn inject(_caller: Caller) -> Result<u32, Problem> {
        let mut found = 0;
        for text in HOSTILE {
            found += secrets::search(text)?.len() as u32;
        }
        Ok(found)
    }
}
