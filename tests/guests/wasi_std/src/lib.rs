//! A plugin that uses the standard library as if there were an operating system: what is there is what its bundles give.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _, Write as _},
    time::{Duration, Instant, SystemTime},
};

use dinehub_sdk::{
    conflict,
    types::{Caller, Problem},
};

use crate::bindings::exports::dinehub::wasi_std::api::{Guest, Place};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

fn refused(error: io::Error) -> Problem {
    conflict("refused", &format!("{:?}", error.kind()))
}

impl Guest for Component {
    fn answer(_caller: Caller) -> Result<i32, Problem> {
        Ok(42)
    }

    fn hashed(_caller: Caller, entries: u32) -> Result<Vec<u32>, Problem> {
        let map: HashMap<u32, ()> = (0..entries).map(|entry| (entry, ())).collect();
        Ok(map.into_keys().collect())
    }

    fn now(_caller: Caller) -> Result<(u64, u32), Problem> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok((time.as_millis() as u64, time.subsec_nanos() % 1_000_000))
    }

    fn sleep(_caller: Caller, ms: u32) -> Result<u64, Problem> {
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(ms.into()));
        Ok(start.elapsed().as_nanos() as u64)
    }

    fn surroundings(_caller: Caller) -> Result<Place, Problem> {
        let mut input = Vec::new();
        let _ = io::stdin().read_to_end(&mut input);
        Ok(Place {
            variables: std::env::vars_os().count() as u32,
            arguments: std::env::args_os().count() as u32,
            has_directory: std::env::current_dir().is_ok_and(|directory| directory.as_os_str() != "/"),
            input_bytes: input.len() as u32,
        })
    }

    fn print(_caller: Caller, body: String) -> Result<(), Problem> {
        println!("{body}");
        eprint!("{body}");
        io::stdout().flush().map_err(refused)
    }

    fn exit(_caller: Caller) -> Result<(), Problem> {
        std::process::exit(0)
    }

    fn read(_caller: Caller, path: String) -> Result<String, Problem> {
        fs::read_to_string(path).map_err(refused)
    }

    fn write(_caller: Caller, path: String, body: String) -> Result<(), Problem> {
        fs::write(path, body).map_err(refused)
    }

    fn append(_caller: Caller, path: String, body: String) -> Result<(), Problem> {
        let file = fs::OpenOptions::new().append(true).open(path);
        file.and_then(|mut file| file.write_all(body.as_bytes())).map_err(refused)
    }

    fn remove(_caller: Caller, path: String) -> Result<(), Problem> {
        fs::remove_file(path).map_err(refused)
    }

    fn list(_caller: Caller, path: String) -> Result<Vec<String>, Problem> {
        let names = fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()
        });
        names.map_err(refused)
    }

    fn make_directory(_caller: Caller, path: String) -> Result<(), Problem> {
        fs::create_dir(path).map_err(refused)
    }

    fn rename(_caller: Caller, from: String, to: String) -> Result<(), Problem> {
        fs::rename(from, to).map_err(refused)
    }

    fn link(_caller: Caller, from: String, to: String) -> Result<(), Problem> {
        fs::hard_link(from, to).map_err(refused)
    }

    fn resize(_caller: Caller, path: String, bytes: u32) -> Result<(), Problem> {
        let file = fs::OpenOptions::new().write(true).open(path);
        file.and_then(|file| file.set_len(bytes.into())).map_err(refused)
    }
}
