//! A bomb that no compiler makes: a core module that grows a table, written down instruction by instruction.

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, HeapType, MemorySection, MemoryType, Module,
    RefType, TableSection, TableType, TypeSection, ValType,
};

use super::{Attack, stopped, withstands};
use crate::admission::parts::{Parts, world};

const FUNCTIONS: &str = "grow: func(caller: caller) -> result<_, problem>;
    answer: func(caller: caller) -> result<u32, problem>;";
const MANIFEST: &str = "[limits]\nmemory_bytes = 4194304\n
    [[route]]\nmethod = \"POST\"\npath = \"/grow\"\nfunction = \"grow\"\nanonymous = true
    [[route]]\nmethod = \"GET\"\npath = \"/answer\"\nfunction = \"answer\"\nanonymous = true\n";

/// Tables count like memory, eight bytes an element: a million do not fit into 4 MiB.
fn bomb() -> Vec<u8> {
    let (mut types, mut functions, mut tables) = (TypeSection::new(), FunctionSection::new(), TableSection::new());
    let (mut memories, mut exports, mut code) = (MemorySection::new(), ExportSection::new(), CodeSection::new());
    // A caller is five numbers on the way in; a result is where it lies.
    types.ty().function([ValType::I32; 5], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    functions.function(0).function(0).function(1);
    let element_type = RefType { nullable: true, heap_type: HeapType::FUNC };
    tables.table(TableType { element_type, table64: false, minimum: 1, maximum: None, shared: false });
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("dinehub:bomb/api@1.0.0#grow", ExportKind::Func, 0);
    exports.export("dinehub:bomb/api@1.0.0#answer", ExportKind::Func, 1);
    exports.export("cabi_realloc", ExportKind::Func, 2);
    let mut grow = Function::new([]);
    // A million more at a time, until the host says no; then it gives up.
    grow.instructions()
        .loop_(wasm_encoder::BlockType::Empty)
        .ref_null(HeapType::FUNC)
        .i32_const(1_000_000)
        .table_grow(0);
    grow.instructions().i32_const(-1).i32_ne().br_if(0).end().unreachable().end();
    let mut answer = Function::new([]);
    // `ok(42)` at 16: a byte for the case, and the number at the payload's alignment.
    let at = |offset: u64| wasm_encoder::MemArg { offset, align: 2, memory_index: 0 };
    answer.instructions().i32_const(16).i32_const(0).i32_store(at(0));
    answer.instructions().i32_const(16).i32_const(42).i32_store(at(4)).i32_const(16).end();
    let mut realloc = Function::new([]);
    realloc.instructions().i32_const(1_024).end();
    code.function(&grow).function(&answer).function(&realloc);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&exports).section(&code);
    module.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_bomb() {
    if !super::is_alone() {
        return super::alone("sandbox::table::a_table_bomb");
    }
    let parts = Parts::of_module("bomb", bomb(), &world("bomb", FUNCTIONS, "world plugin {"), MANIFEST);
    let mut packages = harness::server::features().await;
    packages.push(parts.package().unwrap());
    let server = harness::server::Server::with(packages).await;
    let attack: Attack = stopped("POST", "/api/v1/bomb/grow", "memory_bytes");
    withstands(&server, "bomb", &[attack]).await;
}
