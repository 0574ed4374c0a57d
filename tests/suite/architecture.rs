//! The house keeps its direction: a module uses only modules above it, and each dangerous crate lives in one room.
//! Lists of exceptions may only shrink.

use std::path::{Path, PathBuf};

use harness::server::root;

/// In the order data walks through them.
const ORDER: [&str; 14] = [
    "id",
    "error",
    "deadline",
    "telemetry",
    "config",
    "secret",
    "database",
    "audit",
    "identity",
    "access",
    "capability",
    "plugin",
    "http",
    "command",
];

/// Crates, and the only places that may name them.
const ROOMS: [(&str, &[&str]); 12] = [
    ("axum::", &["http"]),
    ("jsonwebtoken", &["identity/token"]),
    ("age::", &["secret/vault"]),
    ("wasmtime::", &["plugin", "capability"]),
    ("tokio_rustls::", &["capability/egress/client", "http/tls"]),
    ("argon2::", &["identity/password"]),
    ("totp_rs::", &["identity/factor"]),
    ("qrcode::", &["identity/factor"]),
    ("tokio_postgres::", &["database"]),
    ("aws_lc_rs::", &["secret", "identity", "plugin/cursor", "plugin/approval", "database/identity"]),
    // Programs and folders of a developer's machine are driven from here.
    ("std::env", &["main", "command", "config", "plugin/build"]),
    ("std::fs", &["main", "command", "config", "plugin/build", "plugin/bind", "database/local"]),
];

/// Words of the business: they belong to plugins.
const BUSINESS: [&str; 7] = ["restaurant", "menu", "cuisine", "dish", "ordering", "payment", "kitchen"];

const LINES_MAX: usize = 400;

struct Source {
    /// `database/guest/pool`
    room: String,
    path: PathBuf,
    text: String,
}

impl Source {
    /// Code without comments and tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let body = self.text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
        body.lines().enumerate().map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
    }

    fn module(&self) -> &str {
        self.room.split('/').next().unwrap_or_default()
    }
}

fn sources() -> Vec<Source> {
    let top = root().join("host/src");
    let mut found = Vec::new();
    let mut open = vec![top.clone()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let room = path.strip_prefix(&top).unwrap().with_extension("").display().to_string();
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source { room, path, text });
            }
        }
    }
    assert!(found.len() > 50, "the sources are there");
    found
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = rank(source.module()) else { continue };
        let mut text = String::new();
        for (_, line) in source.code() {
            text.push_str(line);
            text.push('\n');
        }
        for used in used_modules(&text) {
            if rank(&used).is_some_and(|theirs| theirs > own) {
                wrong.push(format!("{} uses {used}", source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The top modules in `use crate::…`, `use crate::{…}` and `crate::…` paths.
fn used_modules(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => used.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_ascii_alphabetic() => {
                            used.push(word(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn a_reader_of_imports_reads_them_all() {
    let text =
        "use crate::{\n    access::{permit::Permit, policy::Rule},\n    error::Error,\n};\nlet x = crate::id::fresh();";
    assert_eq!(used_modules(text), ["access", "error", "id"]);
}

#[test]
fn each_dangerous_crate_lives_in_its_room() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, rooms) in ROOMS {
            let at_home = rooms.iter().any(|room| source.room == *room || source.room.starts_with(&format!("{room}/")));
            let named = source.code().find(|(_, line)| names(line, name));
            if let Some((at, _)) = named.filter(|_| !at_home) {
                wrong.push(format!("{}:{at} names {name}", source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a line names a crate, and not a longer word that ends like it.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn the_host_knows_no_business() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (at, line) in source.code() {
            if let Some(word) = BUSINESS.iter().find(|word| line.contains(*word)) {
                wrong.push(format!("{}:{at} says {word}: {}", source.room, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_small() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (&source.path, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_contract_is_one_text() {
    let contract = std::fs::read(root().join("wit/dinehub-platform@1.0.0/platform.wit")).unwrap();
    let copies = [
        "plugins/ordering",
        "plugins/restaurants",
        "tests/guests/echo",
        "tests/guests/trap",
        "tests/bench/guests/shelf",
    ];
    for copy in copies.map(|folder| Path::new(folder).join("wit/deps/dinehub-platform/platform.wit")) {
        assert_eq!(std::fs::read(root().join(&copy)).unwrap(), contract, "{}", copy.display());
    }
}
