//! `wasi:io`: waiting and streams, for what the other bundles give out.

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, IoError, StreamResult,
    bindings::io::{
        error::HostError,
        poll::{Host as _, HostPollable},
        streams::{Host as _, HostInputStream, HostOutputStream, StreamError},
    },
};

use super::{Link, now};
use crate::error::Setup;

type Input = Resource<DynInputStream>;
type Output = Resource<DynOutputStream>;

pub(super) fn error(link: &mut Link<'_>) -> Setup<()> {
    link.resource::<IoError>("error", |wasi, handle| now(HostError::drop(&mut wasi.table, Resource::new_own(handle))))?;
    link.function("[method]error.to-debug-string", |wasi, (error,): (Resource<IoError>,)| {
        // The first sentence only: causes and backtraces are the host's.
        let said = wasi.table.get(&error).map(|error| (error.to_string(),));
        now(said.map_err(Into::into))
    })
}

pub(super) fn poll(link: &mut Link<'_>) -> Setup<()> {
    link.resource::<DynPollable>("pollable", |wasi, handle| {
        now(HostPollable::drop(&mut wasi.table, Resource::new_own(handle)))
    })?;
    link.function("[method]pollable.ready", |wasi, (it,): (Resource<DynPollable>,)| {
        Box::pin(async move { Ok((wasi.table.ready(it).await?,)) })
    })?;
    link.function("[method]pollable.block", |wasi, (it,): (Resource<DynPollable>,)| {
        Box::pin(async move { wasi.table.block(it).await })
    })?;
    link.function("poll", |wasi, (all,): (Vec<Resource<DynPollable>>,)| {
        Box::pin(async move { Ok((wasi.table.poll(all).await?,)) })
    })
}

pub(super) fn streams(link: &mut Link<'_>) -> Setup<()> {
    input(link)?;
    output(link)
}

type Answer<T> = (Result<T, StreamError>,);

fn answer<T>(table: &mut ResourceTable, done: StreamResult<T>) -> wasmtime::Result<Answer<T>> {
    Ok((match done {
        Ok(value) => Ok(value),
        Err(error) => Err(table.convert_stream_error(error)?),
    },))
}

fn input(link: &mut Link<'_>) -> Setup<()> {
    link.resource::<DynInputStream>("input-stream", |wasi, handle| {
        Box::pin(async move { HostInputStream::drop(&mut wasi.table, Resource::new_own(handle)).await })
    })?;
    link.function("[method]input-stream.read", |wasi, (it, bytes): (Input, u64)| {
        let done = wasi.table.read(it, bytes);
        now(answer(&mut wasi.table, done))
    })?;
    link.function("[method]input-stream.blocking-read", |wasi, (it, bytes): (Input, u64)| {
        Box::pin(async move {
            let done = wasi.table.blocking_read(it, bytes).await;
            answer(&mut wasi.table, done)
        })
    })?;
    link.function("[method]input-stream.skip", |wasi, (it, bytes): (Input, u64)| {
        let done = wasi.table.skip(it, bytes);
        now(answer(&mut wasi.table, done))
    })?;
    link.function("[method]input-stream.blocking-skip", |wasi, (it, bytes): (Input, u64)| {
        Box::pin(async move {
            let done = wasi.table.blocking_skip(it, bytes).await;
            answer(&mut wasi.table, done)
        })
    })?;
    link.function("[method]input-stream.subscribe", |wasi, (it,): (Input,)| {
        now(HostInputStream::subscribe(&mut wasi.table, it).map(|pollable| (pollable,)))
    })
}

fn output(link: &mut Link<'_>) -> Setup<()> {
    link.resource::<DynOutputStream>("output-stream", |wasi, handle| {
        Box::pin(async move { HostOutputStream::drop(&mut wasi.table, Resource::new_own(handle)).await })
    })?;
    link.function("[method]output-stream.check-write", |wasi, (it,): (Output,)| {
        let done = wasi.table.check_write(it);
        now(answer(&mut wasi.table, done))
    })?;
    link.function("[method]output-stream.write", |wasi, (it, bytes): (Output, Vec<u8>)| {
        let done = wasi.table.write(it, bytes);
        now(answer(&mut wasi.table, done))
    })?;
    link.function("[method]output-stream.blocking-write-and-flush", |wasi, (it, bytes): (Output, Vec<u8>)| {
        Box::pin(async move {
            let done = wasi.table.blocking_write_and_flush(it, bytes).await;
            answer(&mut wasi.table, done)
        })
    })?;
    link.function("[method]output-stream.flush", |wasi, (it,): (Output,)| {
        let done = wasi.table.flush(it);
        now(answer(&mut wasi.table, done))
    })?;
    link.function("[method]output-stream.blocking-flush", |wasi, (it,): (Output,)| {
        Box::pin(async move {
            let done = wasi.table.blocking_flush(it).await;
            answer(&mut wasi.table, done)
        })
    })?;
    link.function("[method]output-stream.subscribe", |wasi, (it,): (Output,)| {
        now(HostOutputStream::subscribe(&mut wasi.table, it).map(|pollable| (pollable,)))
    })?;
    link.function("[method]output-stream.write-zeroes", |wasi, (it, bytes): (Output, u64)| {
        let done = wasi.table.write_zeroes(it, bytes);
        now(answer(&mut wasi.table, done))
    })?;
    link.function("[method]output-stream.blocking-write-zeroes-and-flush", |wasi, (it, bytes): (Output, u64)| {
        Box::pin(async move {
            let done = wasi.table.blocking_write_zeroes_and_flush(it, bytes).await;
            answer(&mut wasi.table, done)
        })
    })?;
    link.function("[method]output-stream.splice", |wasi, (it, from, bytes): (Output, Input, u64)| {
        let done = wasi.table.splice(it, from, bytes);
        now(answer(&mut wasi.table, done))
    })?;
    link.function("[method]output-stream.blocking-splice", |wasi, (it, from, bytes): (Output, Input, u64)| {
        Box::pin(async move {
            let done = wasi.table.blocking_splice(it, from, bytes).await;
            answer(&mut wasi.table, done)
        })
    })
}
