//! `wasi:cli`: a command line with nothing on it. No environment, no arguments, no directory to be in, no terminal, an input
//! that is at its end; what is printed goes to the log ([`super::output`]), and `exit` ends the call as a fault.

use wasmtime::component::Resource;
use wasmtime_wasi::{
    cli::WasiCliCtxView,
    p2::bindings::cli::{
        environment, stderr, stdin, stdout,
        terminal_input::{HostTerminalInput, TerminalInput},
        terminal_output::{HostTerminalOutput, TerminalOutput},
        terminal_stderr, terminal_stdin, terminal_stdout,
    },
};

use super::{Link, Wasi, now};
use crate::error::{Fault, Setup};

fn cli(wasi: &mut Wasi) -> WasiCliCtxView<'_> {
    WasiCliCtxView { ctx: wasi.context.cli(), table: &mut wasi.table }
}

pub(super) fn link(link: &mut Link<'_>, interface: &str) -> Setup<()> {
    match interface {
        "wasi:cli/environment" => environment(link),
        "wasi:cli/exit" => exit(link),
        "wasi:cli/stdin" => {
            use stdin::Host;
            link.function("get-stdin", |wasi, (): ()| now(cli(wasi).get_stdin().map(|stream| (stream,))))
        }
        "wasi:cli/stdout" => {
            use stdout::Host;
            link.function("get-stdout", |wasi, (): ()| now(cli(wasi).get_stdout().map(|stream| (stream,))))
        }
        "wasi:cli/stderr" => {
            use stderr::Host;
            link.function("get-stderr", |wasi, (): ()| now(cli(wasi).get_stderr().map(|stream| (stream,))))
        }
        _ => terminal(link, interface),
    }
}

fn environment(link: &mut Link<'_>) -> Setup<()> {
    use environment::Host;
    link.function("get-environment", |wasi, (): ()| now(cli(wasi).get_environment().map(|pairs| (pairs,))))?;
    link.function("get-arguments", |wasi, (): ()| now(cli(wasi).get_arguments().map(|all| (all,))))?;
    link.function("initial-cwd", |wasi, (): ()| now(cli(wasi).initial_cwd().map(|path| (path,))))
}

fn exit(link: &mut Link<'_>) -> Setup<()> {
    let ended = || wasmtime::Error::msg("called `exit`, and a call ends by returning");
    link.function("exit", move |_, (_,): (Result<(), ()>,)| now::<()>(Err(ended())))
}

fn terminal(link: &mut Link<'_>, interface: &str) -> Setup<()> {
    match interface {
        "wasi:cli/terminal-input" => link.resource::<TerminalInput>("terminal-input", |wasi, handle| {
            now(HostTerminalInput::drop(&mut cli(wasi), Resource::new_own(handle)))
        }),
        "wasi:cli/terminal-output" => link.resource::<TerminalOutput>("terminal-output", |wasi, handle| {
            now(HostTerminalOutput::drop(&mut cli(wasi), Resource::new_own(handle)))
        }),
        "wasi:cli/terminal-stdin" => {
            use terminal_stdin::Host;
            link.function("get-terminal-stdin", |wasi, (): ()| now(cli(wasi).get_terminal_stdin().map(|it| (it,))))
        }
        "wasi:cli/terminal-stdout" => {
            use terminal_stdout::Host;
            link.function("get-terminal-stdout", |wasi, (): ()| now(cli(wasi).get_terminal_stdout().map(|it| (it,))))
        }
        "wasi:cli/terminal-stderr" => {
            use terminal_stderr::Host;
            link.function("get-terminal-stderr", |wasi, (): ()| now(cli(wasi).get_terminal_stderr().map(|it| (it,))))
        }
        other => Err(Fault::new(other, "is no interface of WASI that the host links")),
    }
}
