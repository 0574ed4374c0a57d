//! The compiler of plugins, attacked: what explodes or hangs does so in a child, the host says which plugin it was, and
//! the next one compiles.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use dinehub::{
    error::Fault,
    plugin::{
        compile::{Bounds, Compiler, VERB},
        engine::{Engine, Slots},
        package::{self, Package},
    },
};
use harness::server::{guests, program};
use wasm_encoder::{
    BlockType, CodeSection, Component, Function, FunctionSection, Instruction, MemArg, MemorySection, MemoryType,
    Module, ModuleSection, TypeSection, ValType,
};

use crate::admission::parts::{Parts, guest, world};

fn bounds(memory_mib: u64, cpu_s: u64, wall_s: u64) -> Bounds {
    Bounds { memory_bytes: memory_mib << 20, cpu_s, wall: Duration::from_secs(wall_s) }
}

/// One function of many small blocks, over whose ends very many values live: each is a choice at each of them.
fn explosive() -> Vec<u8> {
    const LOCALS: u32 = 1_000;
    let mut function = Function::new([(LOCALS, ValType::I64)]);
    for at in 0..40_000_u32 {
        function.instruction(&Instruction::Block(BlockType::Empty));
        function.instruction(&Instruction::LocalGet(at * 7 % LOCALS));
        function.instruction(&Instruction::I64Eqz);
        function.instruction(&Instruction::BrIf(0));
        function.instruction(&Instruction::LocalGet(at * 11 % LOCALS));
        function.instruction(&Instruction::I64Const(i64::from(at % 60)));
        function.instruction(&Instruction::I64Xor);
        function.instruction(&Instruction::LocalSet(at % LOCALS));
        function.instruction(&Instruction::End);
    }
    // Nothing may be left out because nobody looks at it.
    for local in 0..LOCALS {
        function.instruction(&Instruction::I32Const(0));
        function.instruction(&Instruction::LocalGet(local));
        function.instruction(&Instruction::I64Store(MemArg { offset: 0, align: 3, memory_index: 0 }));
    }
    function.instruction(&Instruction::End);
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut code = CodeSection::new();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

async fn refusal(compiler: &Compiler, component: &[u8]) -> Fault {
    compiler.compile("bomb", component).await.expect_err("refused")
}

fn says(fault: &Fault, what: &str) {
    let text = fault.to_string();
    assert!(text.starts_with("bomb: ") && text.contains(what) && text.contains("\n  fix: "), "{what}: {text}");
}

/// The host and its compiler are well: a real plugin compiles.
async fn is_well(compiler: &Compiler) {
    let trap = &guests(&["trap"]).await[0];
    compiler.component(&Engine::new(Slots(4)).unwrap(), trap).await.unwrap();
}

#[tokio::test]
async fn a_component_that_keeps_the_compiler_busy_is_refused() {
    let compiler = Compiler::new(program(), bounds(4096, 1, 100), None);
    says(&refusal(&compiler, &explosive()).await, "makes the compiler work for more than 1 s");
    is_well(&Compiler::new(program(), bounds(4096, 20, 100), None)).await;
}

#[tokio::test]
async fn a_component_that_fills_the_compilers_memory_is_refused() {
    let compiler = Compiler::new(program(), bounds(1200, 100, 300), None);
    says(&refusal(&compiler, &explosive()).await, "makes the compiler want more than 1200 MiB");
    is_well(&compiler).await;
}

/// A program that is started as the compiler would be.
fn script(directory: &Path, text: &str, wall_s: u64) -> Compiler {
    let path = directory.join("compiler");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Compiler::new(path, bounds(1024, 10, wall_s), None)
}

#[tokio::test]
async fn a_child_that_is_killed_hangs_or_lies_is_a_fault_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let trap = &guests(&["trap"]).await[0];
    for (text, what) in [
        ("kill -9 $$", "made the compiler end by signal 9"),
        ("cat >/dev/null; kill -SEGV $$", "made the compiler end by signal 11"),
        // One that never reads, and one that never answers.
        ("exec sleep 1000", "was not compiled within 2 s"),
        ("exec 0<&- 1>&- 2>&-; exec sleep 1000", "was not compiled within 2 s"),
        ("cat >/dev/null; echo 'broken\\033[2J\\nbroken' >&2; exit 1", "does not compile: broken [2J broken"),
        ("exit 3", "does not compile"),
    ] {
        let fault = refusal(&script(directory.path(), text, 2), &trap.bytes).await;
        says(&fault, what);
        assert!(!fault.what().contains(['\x1b', '\n']), "{fault}");
    }
    let engine = Engine::new(Slots(4)).unwrap();
    for text in ["cat >/dev/null", "cat >/dev/null; echo code", "cat"] {
        let fault = script(directory.path(), text, 60).component(&engine, trap).await.expect_err("no code").to_string();
        assert!(fault.starts_with("trap: "), "{fault}");
    }
    let endless =
        script(directory.path(), "exec cat /dev/zero", 100).component(&engine, trap).await.expect_err("no end");
    assert!(endless.to_string().contains("bytes of code"), "{endless}");
}

#[tokio::test]
async fn the_child_is_given_no_environment() {
    let directory = tempfile::tempdir().unwrap();
    let seen = "cat >/dev/null; echo \"[$(tr '\\0' ' ' </proc/$$/environ)] $(pwd)\" >&2; exit 1";
    let said = refusal(&script(directory.path(), seen, 60), b"").await.what();
    assert_eq!(said, "bomb: does not compile: [] /");
}

/// The bounds hold before the first byte of a component is read.
#[test]
fn the_child_closes_and_limits_everything_before_it_reads() {
    let mut command = std::process::Command::new(program());
    command.args([VERB, "1073741824", "7"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let read = || std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let has = |limits: &str, name: &str, value: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next() == Some(value)
    };
    let mut limits = read();
    for _ in 0..1_000 {
        if has(&limits, "Max cpu time", "7") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        limits = read();
    }
    for (name, value) in [
        ("Max cpu time", "7"),
        ("Max address space", "1073741824"),
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max open files", "16"),
    ] {
        assert!(has(&limits, name, value), "{name}: {limits}");
    }
    // Whatever else this process has open, also for its children.
    let mut open: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", child.id()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    drop(child.stdin.take());
    let ended = child.wait_with_output().unwrap();
    assert!(!ended.status.success() && ended.stdout.is_empty(), "nothing is no component");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_before_it_is_read() {
    let trap = guest("trap").await;
    let place = "test.wasm";
    let refused = |outcome: Result<Package, Fault>, what: &str| {
        let fault = outcome.expect_err(what).to_string();
        assert!(fault.starts_with(place) && fault.contains(what) && fault.contains("at most"), "{what}: {fault}");
    };
    let with = |change: &dyn Fn(&mut Parts)| {
        let mut parts = trap.clone();
        change(&mut parts);
        parts.package()
    };
    let long = |bytes: usize| "x".repeat(bytes + 1);
    refused(with(&|parts| parts.manifest = long(package::MANIFEST_BYTES_MAX)), "section `dinehub:manifest`");
    refused(with(&|parts| parts.content.wit = long(package::CONTENT_BYTES_MAX)), "section `dinehub:content`");
    refused(with(&|parts| parts.content.wit = long(package::WIT_BYTES_MAX)), "WIT of its handles");
    refused(with(&|parts| parts.content.statements[0].text = long(package::STATEMENT_BYTES_MAX)), "statement marks/");
    refused(with(&|parts| parts.content.migrations[0].text = long(package::MIGRATION_BYTES_MAX)), "migrations/0001");
    refused(
        with(&|parts| {
            let one = parts.content.statements[0].clone();
            parts.content.statements = vec![one; package::STATEMENTS_MAX + 1];
        }),
        "501 statements",
    );
    let routes: String = (0..package::ROUTES_MAX)
        .map(|at| format!("\n[[route]]\nmethod = \"POST\"\npath = \"/x{at}\"\nfunction = \"add\"\nanonymous = true\n"))
        .collect();
    refused(with(&|parts| parts.manifest.push_str(&routes)), "routes");
    for (sections, bytes) in [(package::CUSTOM_MAX + 1, 1), (1, package::CUSTOM_BYTES_MAX + 1)] {
        let mut whole = trap.bytes();
        for _ in 0..sections {
            let section = wasm_encoder::CustomSection { name: "note".into(), data: vec![0; bytes].into() };
            whole.push(0);
            wasm_encoder::Encode::encode(&section, &mut whole);
        }
        refused(Package::open(place, whole), "custom sections");
    }
}

/// Types that hold others twice, or one within another: small to write and without end to read.
#[test]
fn types_that_explode_when_they_are_read_are_refused() {
    let of = |types: &str, last: &str| {
        let functions = format!("{types} f: func(caller: caller, body: {last}) -> result<_, problem>;");
        Parts::of_wit("bomb", &world("bomb", &functions, "world plugin {"), "").candidate()
    };
    let chain = |count: usize, step: &dyn Fn(usize) -> String| (1..count).map(step).collect::<String>();
    let long = "a".repeat(200);
    let twice = |at: usize| format!("record t{at} {{ {long}: t{}, b: t{} }} ", at - 1, at - 1);
    of(&format!("record t0 {{ a: u8 }} {}", chain(8, &twice)), "t7").unwrap();
    // Still within what the format itself allows.
    let doubled = of(&format!("record t0 {{ a: u8 }} {}", chain(15, &twice)), "t14").unwrap_err().to_string();
    assert!(doubled.contains("spelled out, have more than"), "{doubled}");
    let within = |at: usize| format!("type t{at} = list<t{}>; ", at - 1);
    of(&format!("type t0 = u16; {}", chain(10, &within)), "t9").unwrap();
    let deep = of(&format!("type t0 = u16; {}", chain(60, &within)), "t59").unwrap_err().to_string();
    assert!(deep.contains("levels deep"), "{deep}");
    let many = of(&chain(10_100, &|at| format!("record t{at} {{ a: u8 }} ")), "u8").unwrap_err().to_string();
    assert!(many.contains("more than 10000 types"), "{many}");
}
