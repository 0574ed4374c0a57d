//! A plugin that takes as much of each bundle as it is given.

use std::{fs, mem, time::Duration};

use dinehub_sdk::{
    conflict,
    types::{Caller, Problem},
};

use crate::bindings::{
    exports::dinehub::wasi_greedy::api::Guest,
    wasi::{cli::stdout, random::random},
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Guest for Component {
    fn answer(_caller: Caller) -> Result<i32, Problem> {
        Ok(42)
    }

    fn handles(_caller: Caller, times: u32) -> Result<u32, Problem> {
        for opened in 0..times {
            match fs::File::open("/shelf/one.txt") {
                Ok(file) => mem::forget(file),
                Err(_) => return Ok(opened),
            }
        }
        Ok(times)
    }

    fn lines(_caller: Caller, times: u32) -> Result<(), Problem> {
        for at in 0..times {
            println!("{at}");
            eprintln!("{at}");
        }
        Ok(())
    }

    fn random(_caller: Caller, bytes: u64) -> Result<u64, Problem> {
        Ok(random::get_random_bytes(bytes).len() as u64)
    }

    fn sleep(_caller: Caller) -> Result<(), Problem> {
        std::thread::sleep(Duration::from_secs(3_600));
        Ok(())
    }

    fn zeroes(_caller: Caller, bytes: u64) -> Result<(), Problem> {
        stdout::get_stdout().write_zeroes(bytes).map_err(|_| conflict("refused", "The stream said no."))
    }
}
