//! What the host costs, measured against native handlers that do the same.
//!
//! ```text
//!   this process                                      a second process of the same program
//!   ├─ the host, its whole stack, on one port    ◀──┐
//!   ├─ the twins: axum handlers, on another      ◀──┴─ drive: 16 keep-alive connections, one slice at a time
//!   └─ getrusage before and after each slice
//! ```
//! Both sides share the process, its allocator, its runtime, the database and the token; slices of the two alternate, and
//! each ratio is taken between neighbours. So whatever else the machine does falls on both. The load comes from another
//! process, so that its CPU is not the server's; PostgreSQL's is not counted either.
//!
//! `cargo bench -p bench`, `-- --quick`, `-- no-op` for one scenario, `-- --load no-op:host 30` to look at a running
//! server with `strace` or `perf`, `-- --spread` for how soon a logout holds on another node, `-- --hot` for a call by
//! itself. See README.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that cannot set up should fail loudly"
)]

mod drive;
mod hot;
mod measure;
mod plot;
mod report;
mod scenario;
mod spread;
mod twin;
mod world;

use dinehub::plugin::compile::{VERB, child};
use measure::Plan;

/// As in the shipped program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == drive::ARGUMENT) {
        return drive::run();
    }
    // The host starts its own program to compile plugins, and here that is this one.
    if arguments.first().is_some_and(|argument| argument == VERB) {
        let bound = |at: usize| arguments[at].parse().expect("a bound");
        return child::run(bound(1), bound(2)).unwrap_or_else(|why| panic!("{why}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(at) = arguments.iter().position(|argument| argument == "--spread") {
        let times = arguments.get(at + 1).and_then(|text| text.parse().ok()).unwrap_or(200);
        return runtime.block_on(spread::run(times));
    }
    let world = runtime.block_on(world::World::open());
    if let Some(at) = arguments.iter().position(|argument| argument == "--hot") {
        let times = arguments.get(at + 1).and_then(|text| text.parse().ok()).unwrap_or(10_000);
        runtime.block_on(hot::run(&world, times));
    } else {
        run(&world, &arguments);
    }
    // Nobody is left to ask the database for anything when it is dropped.
    runtime.shutdown_background();
}

fn run(world: &world::World, arguments: &[String]) {
    let mut driver = drive::Driver::start();
    if let Some(at) = arguments.iter().position(|argument| argument == "--load") {
        let seconds = arguments.get(at + 2).and_then(|text| text.parse().ok()).unwrap_or(10);
        let place = arguments.get(at + 1).map_or("", String::as_str);
        return measure::load(&mut driver, &world.scenarios, place, seconds);
    }
    let plan = Plan::of(arguments.iter().any(|argument| argument == "--quick"));
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let chosen = world.scenarios.iter().filter(|scenario| is_wanted(scenario.name));
    let results: Vec<measure::Result> = chosen.map(|scenario| measure::measure(&mut driver, scenario, plan)).collect();
    assert!(!results.is_empty(), "no scenario is called {wanted:?}");
    let report = report::write(&results, plan);
    println!("{report}");
    let folder = world::target().join("bench");
    std::fs::create_dir_all(&folder).expect("target/bench");
    std::fs::write(folder.join("report.md"), report).expect("target/bench/report.md");
    std::fs::write(folder.join("report.svg"), plot::draw(&results)).expect("target/bench/report.svg");
    println!("Written to {}/report.md and report.svg", folder.display());
}
