//! Reading a directory: a page of entries at a time, however many there are.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use agentvm_vfs::Error;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DirectoryEntry, DirectoryEntryStream, HostDirectoryEntryStream,
};

use super::handles::Opened;
use super::metadata::descriptor_type;
use crate::host::Host;

/// Entries that are held for a guest at once: at most 4 KiB of names.
const PAGE_ENTRIES: usize = agentvm_policy::budget::HELD_ENTRIES.usize();

/// A directory that is being read.
pub(super) struct Listing {
    directory: Arc<Opened>,
    /// Where the next page begins; `None` once the end was seen.
    next: Option<u64>,
    page: VecDeque<DirectoryEntry>,
}

impl Listing {
    pub(super) fn new(directory: Arc<Opened>) -> Self {
        Self {
            directory,
            next: Some(0),
            page: VecDeque::new(),
        }
    }

    fn take(&mut self) -> Result<Option<DirectoryEntry>, Error> {
        if self.page.is_empty()
            && let Some(cookie) = self.next
        {
            self.next = self.read_page(cookie)?;
        }
        Ok(self.page.pop_front())
    }

    /// Reads the page after `cookie`, and says where the one after it begins.
    fn read_page(&mut self, cookie: u64) -> Result<Option<u64>, Error> {
        let page = &mut self.page;
        let mut next = None;
        self.directory.node.read_dir(cookie, &mut |entry| {
            if page.len() == PAGE_ENTRIES {
                return ControlFlow::Break(());
            }
            if entry.name != "." && entry.name != ".." {
                page.push_back(DirectoryEntry {
                    type_: descriptor_type(entry.kind),
                    name: entry.name.to_owned(),
                });
            }
            if page.len() == PAGE_ENTRIES {
                next = Some(entry.next);
            }
            ControlFlow::Continue(())
        })?;
        Ok(next)
    }
}

impl HostDirectoryEntryStream for Host {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let entry = self.listing(&stream)?.take();
        let bytes = match &entry {
            Ok(Some(entry)) => entry.name.len(),
            Ok(None) | Err(_) => 0,
        };
        self.charged(bytes, entry)
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.drop_listing(&stream)
    }
}
