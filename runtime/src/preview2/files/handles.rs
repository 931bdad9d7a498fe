//! Our own open files and listings, behind handles that bear the names of wasmtime-wasi's types.
//!
//! The traits of `wasi:filesystem` are generated over wasmtime-wasi's `Descriptor` and
//! `ReaddirIterator`, which can only be made from files of the host. A [`Resource`] however is
//! nothing but an index into the component's table and a type that is looked at when the table
//! is asked. So our types lie in the table; here, and only here, an index changes between the
//! name that the generated code has for it and the type of what lies there. An index of anything
//! else is answered with a trap by the table, and wasmtime-wasi's two types are never made.

use std::any::Any;
use std::sync::Arc;

use agentvm_vfs::{Error, Kind, Node};
use wasmtime::component::{Resource, ResourceTableError};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DirectoryEntryStream, ErrorCode,
};
use wasmtime_wasi::p2::{FsError, FsResult};

use super::super::handles::HANDLE_BYTES;
use super::listing::Listing;
use crate::guards::{Guard, is_on};
use crate::host::Host;
use crate::preview1::OPEN_FILE_BYTES;

/// What a listing counts of a component's memory.
const LISTING_BYTES: u64 = agentvm_policy::budget::LISTING_BYTES.value;

/// An open file or directory.
pub(super) struct Opened {
    pub(super) node: Node,
    /// What it was opened for.
    pub(super) flags: DescriptorFlags,
    /// Whether it takes one of the VM's `limits.openFiles`; what it starts with does not.
    counts: bool,
}

impl Opened {
    /// Fails unless its content can be read.
    pub(super) fn readable(&self) -> FsResult<()> {
        if self.node.kind() == Kind::Directory {
            return Err(ErrorCode::IsDirectory.into());
        }
        if !self.flags.contains(DescriptorFlags::READ) {
            return Err(ErrorCode::BadDescriptor.into());
        }
        Ok(())
    }

    /// Fails with `code` unless its content can be written; a read-only mount says so first, by
    /// an empty write, which changes nothing.
    pub(super) fn writable(&self, code: ErrorCode) -> FsResult<()> {
        if self.flags.contains(DescriptorFlags::WRITE) {
            return Ok(());
        }
        match self.node.write_at(0, &[], 0) {
            Err(Error::ReadOnly) => Err(ErrorCode::ReadOnly.into()),
            Ok(_) | Err(_) => Err(code.into()),
        }
    }
}

impl Host {
    /// The directory that a component starts with, each time that it asks for it.
    pub(super) fn add_root(&mut self) -> wasmtime::Result<Resource<Descriptor>> {
        self.take_handle()?;
        let root = Arc::new(Opened {
            node: self.filesystem.root(),
            flags: DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
            counts: false,
        });
        Ok(named(&self.ctx().table.push(root)?))
    }

    pub(super) fn opened(
        &mut self,
        fd: &Resource<Descriptor>,
    ) -> Result<Arc<Opened>, ResourceTableError> {
        Ok(Arc::clone(self.ctx().table.get(&meant(fd))?))
    }

    /// Takes a handle, then opens: where none is left, nothing has been made or emptied.
    pub(super) fn add_opened(
        &mut self,
        base: &Arc<Opened>,
        flags: DescriptorFlags,
        open: impl FnOnce(&Self) -> FsResult<Node>,
    ) -> FsResult<Resource<Descriptor>> {
        if self.preview2().open_files >= self.open_files && is_on(Guard::OpenFiles) {
            return Err(ErrorCode::InsufficientMemory.into());
        }
        self.take_host_memory(OPEN_FILE_BYTES)?;
        let added = self.add_open(base, flags, open);
        if added.is_err() {
            self.shared.budget.memory.give_host_back(OPEN_FILE_BYTES);
        }
        added
    }

    fn add_open(
        &mut self,
        base: &Arc<Opened>,
        flags: DescriptorFlags,
        open: impl FnOnce(&Self) -> FsResult<Node>,
    ) -> FsResult<Resource<Descriptor>> {
        let handle = self.add(Arc::clone(base))?;
        match open(self) {
            Ok(node) => {
                let counts = true;
                let flags = flags_of(&node, flags);
                *self.ctx().table.get_mut(&handle)? = Arc::new(Opened {
                    node,
                    flags,
                    counts,
                });
                self.preview2().open_files += 1;
                Ok(named(&handle))
            }
            Err(error) => {
                self.ctx().table.delete(handle)?;
                Err(error)
            }
        }
    }

    pub(super) fn drop_opened(&mut self, fd: &Resource<Descriptor>) -> wasmtime::Result<()> {
        let opened: Arc<Opened> = self.ctx().table.delete(named(fd))?;
        if opened.counts {
            self.preview2().open_files -= 1;
            self.shared.budget.memory.give_host_back(OPEN_FILE_BYTES);
        } else {
            self.give_handle_back();
        }
        drop(opened); // before it is charged for
        self.charge_files(0);
        Ok(())
    }

    pub(super) fn add_listing(
        &mut self,
        listing: Listing,
    ) -> FsResult<Resource<DirectoryEntryStream>> {
        self.take_host_memory(LISTING_BYTES)?;
        match self.add(listing) {
            Ok(handle) => Ok(named(&handle)),
            Err(error) => {
                self.shared.budget.memory.give_host_back(LISTING_BYTES);
                Err(error)
            }
        }
    }

    pub(super) fn listing(
        &mut self,
        stream: &Resource<DirectoryEntryStream>,
    ) -> Result<&mut Listing, ResourceTableError> {
        self.ctx().table.get_mut(&meant(stream))
    }

    pub(super) fn drop_listing(
        &mut self,
        stream: &Resource<DirectoryEntryStream>,
    ) -> wasmtime::Result<()> {
        self.ctx().table.delete::<Listing>(named(stream))?;
        self.shared.budget.memory.give_host_back(LISTING_BYTES);
        Ok(())
    }

    /// Adds a stream over a file.
    pub(super) fn add_stream<T: Any + Send>(&mut self, stream: T) -> FsResult<Resource<T>> {
        if is_on(Guard::HandleCharge) {
            self.take_host_memory(HANDLE_BYTES)?;
        }
        let added = self.add(stream);
        if added.is_err() {
            self.give_handle_back();
        }
        added
    }

    fn take_host_memory(&self, bytes: u64) -> FsResult<()> {
        if self.shared.budget.memory.take_host(bytes) {
            return Ok(());
        }
        Err(ErrorCode::InsufficientMemory.into())
    }

    /// Adds to the table; where it is full the guest is told, and goes on.
    pub(super) fn add<T: Any + Send>(&mut self, what: T) -> FsResult<Resource<T>> {
        match self.ctx().table.push(what) {
            Ok(handle) => Ok(handle),
            Err(ResourceTableError::Full) => Err(ErrorCode::InsufficientMemory.into()),
            Err(error) => Err(FsError::trap(error)),
        }
    }
}

/// The same handle under the other type's name, to be given to the guest or up.
fn named<From: 'static, To: 'static>(handle: &Resource<From>) -> Resource<To> {
    Resource::new_own(handle.rep())
}

/// What lies in the table under a handle of the generated code, to be looked at.
fn meant<Theirs: 'static, Ours: 'static>(handle: &Resource<Theirs>) -> Resource<Ours> {
    Resource::new_borrow(handle.rep())
}

/// Through any directory its content can be changed, as on Linux: whether a mount can be is not
/// a matter of descriptors, and toolchains that go through preview1 never ask for it.
fn flags_of(node: &Node, asked: DescriptorFlags) -> DescriptorFlags {
    match node.kind() {
        Kind::Directory => asked | DescriptorFlags::MUTATE_DIRECTORY,
        Kind::File | Kind::Symlink => asked & !DescriptorFlags::MUTATE_DIRECTORY,
    }
}
