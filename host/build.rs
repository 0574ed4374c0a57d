//! The host's migrations are compiled in; a new file is no change of any source file.
fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
