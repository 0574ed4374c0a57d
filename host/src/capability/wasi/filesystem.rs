//! `wasi:filesystem` over the directories of `[files.*]`: `[files.templates]` is `/templates` to the guest. Read-only unless
//! `quota_bytes` grants writing, and then within the quota ([`super::room`]). Whatever leads out of the directory is refused
//! by cap-primitives, which opens every path step by step. Links and directories are made by the operator alone.

use std::{mem, sync::Arc};

use wasmtime::component::Resource;
use wasmtime_wasi::{
    FsPerms, OpenMode,
    filesystem::{Descriptor, Dir, WasiFilesystemCtxView},
    p2::{
        DynOutputStream, FsResult, IoError,
        bindings::filesystem::types::{
            Advice, DescriptorFlags, DirectoryEntryStream, ErrorCode, Host as _, HostDescriptor,
            HostDirectoryEntryStream, NewTimestamp, OpenFlags, PathFlags,
        },
        pipe::ClosedOutputStream,
    },
};

use super::{
    Link, Wasi, now,
    room::{Bounded, Room},
};
use crate::{
    capability::files,
    error::{Fault, Setup},
};

type Handle = Resource<Descriptor>;
type Answer<T> = (Result<T, ErrorCode>,);

/// One granted directory.
#[derive(Clone)]
pub(super) struct Root {
    /// As the guest sees it: `/templates`.
    path: String,
    directory: Dir,
    /// Of the largest file.
    bytes_max: u64,
    /// None when nothing may be written.
    room: Option<Arc<Room>>,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Root {
    /// The directory that `[files.<name>]` asks for, opened before.
    pub(super) fn open(name: &str, spec: &files::Spec, opened: &Arc<cap_std::fs::Dir>) -> Setup<Self> {
        let file = opened.try_clone().map_err(Fault::at(name))?.into_std_file();
        let (perms, mode) = match spec.quota_bytes {
            None => (FsPerms::ReadOnly, OpenMode::READ),
            Some(_) => (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE),
        };
        Ok(Self {
            path: format!("/{name}"),
            directory: Dir::new(file, perms, mode, false),
            bytes_max: spec.bytes_max.min(files::FILE_BYTES_MAX).into(),
            room: spec.quota_bytes.map(|quota| Room::new(opened, quota)),
        })
    }
}

impl Wasi {
    fn filesystem(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView { ctx: self.context.filesystem(), table: &mut self.table }
    }

    /// The root in which an open file or directory lies.
    fn root(&self, handle: &Handle) -> FsResult<Root> {
        let root = self.owners.get(&handle.rep()).and_then(|at| self.roots.get(*at));
        root.cloned().ok_or_else(|| ErrorCode::BadDescriptor.into())
    }

    /// The room to write in, or the refusal where nothing may be written.
    fn room(&self, handle: &Handle) -> FsResult<(Root, Arc<Room>)> {
        let root = self.root(handle)?;
        let room = root.room.clone().ok_or(ErrorCode::ReadOnly)?;
        Ok((root, room))
    }

    /// The size of an open file.
    fn size(&mut self, handle: &Handle) -> FsResult<u64> {
        match self.table.get(handle)? {
            Descriptor::File(file) => Ok(file.file.metadata()?.len()),
            Descriptor::Dir(_) => Err(ErrorCode::IsDirectory.into()),
        }
    }

    async fn open_at(
        &mut self,
        at: Handle,
        follow: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Handle> {
        let owner = self.owners.get(&at.rep()).copied().ok_or(ErrorCode::BadDescriptor)?;
        let bytes_max = self.root(&at)?.bytes_max;
        if how.contains(OpenFlags::CREATE) {
            // Also an empty file needs a place.
            let (_, room) = self.room(&at)?;
            room.promise(0).await?;
        }
        let opened = self.filesystem().open_at(at, follow, path, how, flags).await?;
        if matches!(self.size(&opened), Ok(bytes) if bytes > bytes_max) {
            self.table.delete(opened)?;
            return Err(ErrorCode::FileTooLarge.into());
        }
        self.owners.insert(opened.rep(), owner);
        Ok(opened)
    }

    async fn stream_to(&mut self, to: Handle, from: Option<u64>) -> FsResult<Resource<DynOutputStream>> {
        let (root, room) = self.room(&to)?;
        let start = match from {
            Some(offset) => offset,
            None => self.size(&to)?,
        };
        let left = root.bytes_max.checked_sub(start).filter(|left| *left > 0).ok_or(ErrorCode::FileTooLarge)?;
        let promise = room.promise_up_to(left).await?;
        let stream = match from {
            Some(offset) => self.filesystem().write_via_stream(to, offset),
            None => self.filesystem().append_via_stream(to),
        }?;
        let slot = self.table.get_mut(&stream)?;
        let unbounded = mem::replace(slot, Box::new(ClosedOutputStream));
        *slot = Box::new(Bounded::new(unbounded, promise, left));
        Ok(stream)
    }

    async fn write(&mut self, to: Handle, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        let (root, room) = self.room(&to)?;
        let length = bytes.len() as u64;
        if offset.checked_add(length).is_none_or(|end| end > root.bytes_max) {
            return Err(ErrorCode::FileTooLarge.into());
        }
        let _promise = room.promise(length).await?;
        self.filesystem().write(to, bytes, offset).await
    }

    async fn set_size(&mut self, of: Handle, bytes: u64) -> FsResult<()> {
        let (root, room) = self.room(&of)?;
        if bytes > root.bytes_max {
            return Err(ErrorCode::FileTooLarge.into());
        }
        let more = bytes.saturating_sub(self.size(&of)?);
        let _promise = room.promise(more).await?;
        self.filesystem().set_size(of, bytes).await
    }

    async fn rename_at(&mut self, at: Handle, from: String, to: Handle, path: String) -> FsResult<()> {
        self.room(&at)?;
        if self.owners.get(&at.rep()) != self.owners.get(&to.rep()) {
            return Err(ErrorCode::CrossDevice.into());
        }
        self.filesystem().rename_at(at, from, to, path).await
    }
}

fn answer<T>(done: FsResult<T>) -> wasmtime::Result<Answer<T>> {
    Ok((match done {
        Ok(value) => Ok(value),
        Err(error) => Err(error.downcast()?),
    },))
}

pub(super) fn preopens(link: &mut Link<'_>) -> Setup<()> {
    link.function("get-directories", |wasi, (): ()| {
        let roots = Arc::clone(&wasi.roots);
        let mut open = |(at, root): (usize, &Root)| {
            let handle = wasi.table.push(Descriptor::Dir(root.directory.clone()))?;
            wasi.owners.insert(handle.rep(), at);
            Ok((handle, root.path.clone()))
        };
        let all: wasmtime::Result<Vec<(Handle, String)>> = roots.iter().enumerate().map(&mut open).collect();
        now(all.map(|all| (all,)))
    })
}

/// Functions whose whole work is the library's.
macro_rules! plain {
    ($link:ident: $($name:literal $method:ident($($argument:ident: $type:ty),*);)*) => {
        $($link.function($name, |wasi, (it, $($argument,)*): (Handle, $($type,)*)| {
            Box::pin(async move { answer(HostDescriptor::$method(&mut wasi.filesystem(), it, $($argument),*).await) })
        })?;)*
    };
}

/// Functions that no plugin may use, whatever it was granted: they answer `unsupported`.
macro_rules! never {
    ($link:ident: $($name:literal($($type:ty),*);)*) => {
        $($link.function($name, |_, _: (Handle, $($type,)*)| now(Ok((Err::<(), ErrorCode>(ErrorCode::Unsupported),))))?;)*
    };
}

pub(super) fn types(link: &mut Link<'_>) -> Setup<()> {
    link.resource::<Descriptor>("descriptor", |wasi, handle| {
        wasi.owners.remove(&handle);
        now(HostDescriptor::drop(&mut wasi.filesystem(), Resource::new_own(handle)))
    })?;
    plain! { link:
        "[method]descriptor.advise" advise(offset: u64, length: u64, advice: Advice);
        "[method]descriptor.sync-data" sync_data();
        "[method]descriptor.sync" sync();
        "[method]descriptor.get-flags" get_flags();
        "[method]descriptor.get-type" get_type();
        "[method]descriptor.set-times" set_times(accessed: NewTimestamp, modified: NewTimestamp);
        "[method]descriptor.read" read(length: u64, offset: u64);
        "[method]descriptor.read-directory" read_directory();
        "[method]descriptor.stat" stat();
        "[method]descriptor.stat-at" stat_at(follow: PathFlags, path: String);
        "[method]descriptor.set-times-at"
            set_times_at(follow: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp);
        "[method]descriptor.readlink-at" readlink_at(path: String);
        "[method]descriptor.unlink-file-at" unlink_file_at(path: String);
        "[method]descriptor.metadata-hash" metadata_hash();
        "[method]descriptor.metadata-hash-at" metadata_hash_at(follow: PathFlags, path: String);
    }
    never! { link:
        "[method]descriptor.create-directory-at"(String);
        "[method]descriptor.remove-directory-at"(String);
        "[method]descriptor.link-at"(PathFlags, String, Handle, String);
        "[method]descriptor.symlink-at"(String, String);
    }
    bounded(link)?;
    link.function("[method]descriptor.is-same-object", |wasi, (it, other): (Handle, Handle)| {
        Box::pin(async move { Ok((wasi.filesystem().is_same_object(it, other).await?,)) })
    })?;
    link.function("filesystem-error-code", |wasi, (error,): (Resource<IoError>,)| {
        now(wasi.filesystem().filesystem_error_code(error).map(|code| (code,)))
    })?;
    link.resource::<DirectoryEntryStream>("directory-entry-stream", |wasi, handle| {
        now(HostDirectoryEntryStream::drop(&mut wasi.filesystem(), Resource::new_own(handle)))
    })?;
    link.function(
        "[method]directory-entry-stream.read-directory-entry",
        |wasi, (it,): (Resource<DirectoryEntryStream>,)| {
            Box::pin(async move { answer(wasi.filesystem().read_directory_entry(it).await) })
        },
    )
}

/// Functions that open, and those that need room.
fn bounded(link: &mut Link<'_>) -> Setup<()> {
    link.function("[method]descriptor.read-via-stream", |wasi, (it, offset): (Handle, u64)| {
        now(answer(wasi.filesystem().read_via_stream(it, offset)))
    })?;
    link.function(
        "[method]descriptor.open-at",
        |wasi, (at, follow, path, how, flags): (Handle, PathFlags, String, OpenFlags, DescriptorFlags)| {
            Box::pin(async move { answer(wasi.open_at(at, follow, path, how, flags).await) })
        },
    )?;
    link.function("[method]descriptor.write-via-stream", |wasi, (to, offset): (Handle, u64)| {
        Box::pin(async move { answer(wasi.stream_to(to, Some(offset)).await) })
    })?;
    link.function("[method]descriptor.append-via-stream", |wasi, (to,): (Handle,)| {
        Box::pin(async move { answer(wasi.stream_to(to, None).await) })
    })?;
    link.function("[method]descriptor.write", |wasi, (to, bytes, offset): (Handle, Vec<u8>, u64)| {
        Box::pin(async move { answer(wasi.write(to, bytes, offset).await) })
    })?;
    link.function("[method]descriptor.set-size", |wasi, (of, bytes): (Handle, u64)| {
        Box::pin(async move { answer(wasi.set_size(of, bytes).await) })
    })?;
    link.function("[method]descriptor.rename-at", |wasi, (at, from, to, path): (Handle, String, Handle, String)| {
        Box::pin(async move { answer(wasi.rename_at(at, from, to, path).await) })
    })
}
