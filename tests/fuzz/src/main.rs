//! libFuzzer's entry. One program for all targets, because linking one takes as long as compiling it: `FUZZ_TARGET` names
//! the target.

#![no_main]

mod target;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let found = target::ALL.into_iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no target `{name}`")).1
    });
    chosen(data);
});
