//! What is fuzzed, and what must hold: nothing panics, and what is accepted says the same when it is written and read
//! again. Each target takes bytes and nothing else, so any driver can run it; `suite/fuzz.rs` is one.

#[path = "target/admission.rs"]
mod admission;
#[path = "target/boundary.rs"]
mod boundary;
#[path = "target/secret.rs"]
mod secret;

use dinehub::{
    database::{timestamp, tree},
    plugin::{approval::Reviewers, bind::query, lock::Lock, manifest::Manifest},
};

/// A name, and what is run on bytes.
type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is also that of its corpus.
pub(crate) const ALL: [Target; 10] = [
    ("manifest", manifest),
    ("lock", lock),
    ("artefact", admission::artefact),
    ("mutant", admission::mutant),
    ("json", boundary::json),
    ("parameter", boundary::parameter),
    ("row", boundary::row),
    ("statement", statement),
    ("token", secret::token),
    ("vault", secret::vault),
];

fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(manifest) = Manifest::parse("fuzz", text) else { return };
    let _ = manifest.declared().wit(&manifest.id);
    for handle in manifest.declared().handles() {
        assert!(handle.lines().iter().all(|line| !line.contains('\n')), "a line of the lock is one line");
    }
    let printed = toml::to_string(&manifest).expect("a manifest that was read can be written");
    let again = Manifest::parse("again", &printed).unwrap_or_else(|fault| panic!("{fault}\n{printed}"));
    assert_eq!(format!("{again:?}"), format!("{manifest:?}"));
}

fn lock(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Reviewers::parse("fuzz", text);
    let Ok(lock) = Lock::parse("fuzz", text) else { return };
    let printed = lock.print().expect("a lock that was read can be written");
    assert_eq!(Lock::parse("again", &printed).unwrap_or_else(|fault| panic!("{fault}\n{printed}")), lock);
}

fn statement(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(draft) = query::read("fuzz", "handle", "name", text) {
        assert!(!draft.text.trim().is_empty() || draft.params.is_empty(), "parameters of no statement");
    }
    if let Ok(scanned) = query::scan("fuzz", text) {
        // Comments are gone and parameters are numbered: nothing is left to replace.
        let again = query::scan("fuzz", &scanned.text);
        assert!(again.is_err() || again.is_ok_and(|again| again.params.is_empty()), "{}", scanned.text);
    }
    if let Ok(value) = tree::Value::read(text) {
        let mut nodes = 0;
        value.visit(&mut |_| nodes += 1);
        assert!(nodes <= text.len());
    }
    if let Some(micros) = timestamp::parse(text) {
        let again = timestamp::format(micros).expect("what was read can be written");
        assert_eq!(timestamp::parse(again.as_str()), Some(micros));
    }
    if let Some(day) = timestamp::parse_date(text) {
        assert_eq!(timestamp::format_date(day).expect("what was read can be written").as_str(), text);
    }
}
