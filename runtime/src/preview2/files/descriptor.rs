//! Everything that can be done with an open file or directory.

use agentvm_vfs::Kind;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntryStream,
    ErrorCode, Filesize, HostDescriptor, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult};

use super::listing::Listing;
use super::metadata::{descriptor_type, hash, stat};
use super::request::{follow, how, relative, times};
use super::streams::{Place, Reader, Writer, read, wanted};
use crate::host::Host;
use crate::stdio::MAX_WRITE_BYTES;

impl HostDescriptor for Host {
    fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let opened = self.opened(&fd)?;
        opened.readable()?;
        let stream: DynInputStream = Box::new(Reader::new(self, opened, offset));
        self.add_stream(stream)
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd, Place::At(offset))
    }

    fn append_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd, Place::End)
    }

    /// Nothing is gained by advice on memory.
    async fn advise(
        &mut self,
        fd: Resource<Descriptor>,
        _offset: Filesize,
        _length: Filesize,
        _advice: Advice,
    ) -> FsResult<()> {
        match self.opened(&fd)?.node.kind() {
            Kind::Directory => Err(ErrorCode::BadDescriptor.into()),
            Kind::File | Kind::Symlink => Ok(()),
        }
    }

    /// Every write is as durable as it will ever be.
    async fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.opened(&fd)?;
        Ok(())
    }

    async fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        self.opened(&fd)?;
        Ok(())
    }

    async fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        Ok(self.opened(&fd)?.flags)
    }

    async fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        Ok(descriptor_type(self.opened(&fd)?.node.kind()))
    }

    async fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        let opened = self.opened(&fd)?;
        opened.writable(ErrorCode::Invalid)?; // as ftruncate has it
        self.charged(0, opened.node.set_size(size, self.now()))
    }

    async fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let opened = self.opened(&fd)?;
        let now = self.now();
        let set = times(accessed, modified)
            .and_then(|(accessed, modified)| opened.node.set_times(accessed, modified, now));
        self.charged(0, set)
    }

    async fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let opened = self.opened(&fd)?;
        opened.readable()?;
        let asked = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = read(&opened, offset, asked);
        let bytes = self.charged(bytes.as_ref().map_or(0, Vec::len), bytes)?;
        let at_end = bytes.len() < wanted(asked);
        Ok((bytes, at_end))
    }

    async fn write(
        &mut self,
        fd: Resource<Descriptor>,
        buffer: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        self.charge_bytes(buffer.len()); // all of it was copied out of the guest
        let opened = self.opened(&fd)?;
        opened.writable(ErrorCode::BadDescriptor)?;
        let bytes = buffer.get(..MAX_WRITE_BYTES).unwrap_or(&buffer);
        let written = opened.node.write_at(offset, bytes, self.now());
        let written = self.charged(0, written)?;
        Ok(u64::try_from(written).unwrap_or(u64::MAX))
    }

    async fn read_directory(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<DirectoryEntryStream>> {
        let opened = self.opened(&fd)?;
        if opened.node.kind() != Kind::Directory {
            return Err(ErrorCode::NotDirectory.into());
        }
        self.add_listing(Listing::new(opened))
    }

    async fn create_directory_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        let base = self.opened(&fd)?;
        let made = base.node.create_directory(&path, self.now());
        self.charged(path.len(), made)
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        Ok(stat(&self.opened(&fd)?.node.metadata()))
    }

    async fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let base = self.opened(&fd)?;
        let found = base.node.metadata_of(&path, follow(flags));
        Ok(stat(&self.charged(path.len(), found)?))
    }

    async fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let base = self.opened(&fd)?;
        let now = self.now();
        let set = times(accessed, modified).and_then(|(accessed, modified)| {
            let follow = follow(flags);
            base.node
                .set_times_of(&path, follow, accessed, modified, now)
        });
        self.charged(path.len(), set)
    }

    async fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (base, to) = (self.opened(&fd)?, self.opened(&new_fd)?);
        let (follow, now) = (follow(flags), self.now());
        let linked = base.node.link(&old_path, follow, &to.node, &new_path, now);
        self.charged(old_path.len() + new_path.len(), linked)
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let base = self.opened(&fd)?;
        self.charge_bytes(path.len());
        let (follow, how) = (follow(path_flags), how(open_flags, flags));
        self.add_opened(&base, flags, |host| {
            host.charged(0, base.node.open(&path, follow, how, host.now()))
        })
    }

    async fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        let base = self.opened(&fd)?;
        let target = self.charged(path.len(), base.node.read_link_of(&path))?;
        self.charge_bytes(target.len());
        relative(target)
    }

    async fn remove_directory_at(
        &mut self,
        fd: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        let base = self.opened(&fd)?;
        let removed = base.node.remove_directory(&path, self.now());
        self.charged(path.len(), removed)
    }

    async fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (base, to) = (self.opened(&fd)?, self.opened(&new_fd)?);
        let renamed = base.node.rename(&old_path, &to.node, &new_path, self.now());
        self.charged(old_path.len() + new_path.len(), renamed)
    }

    async fn symlink_at(
        &mut self,
        fd: Resource<Descriptor>,
        target: String,
        path: String,
    ) -> FsResult<()> {
        self.charge_bytes(target.len() + path.len());
        let base = self.opened(&fd)?;
        let target = relative(target)?;
        let made = base.node.symlink(&target, &path, self.now());
        self.charged(0, made)
    }

    async fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        let base = self.opened(&fd)?;
        let removed = base.node.unlink(&path, self.now());
        self.charged(path.len(), removed)
    }

    async fn is_same_object(
        &mut self,
        one: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        let (one, other) = (self.opened(&one)?, self.opened(&other)?);
        Ok(one.node.is_same(&other.node))
    }

    async fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        let metadata = self.opened(&fd)?.node.metadata();
        Ok(hash(&self.preview2().hash_key, &metadata))
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let base = self.opened(&fd)?;
        let found = base.node.metadata_of(&path, follow(flags));
        let metadata = self.charged(path.len(), found)?;
        Ok(hash(&self.preview2().hash_key, &metadata))
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.drop_opened(&fd)
    }
}

impl Host {
    fn writer(
        &mut self,
        fd: &Resource<Descriptor>,
        place: Place,
    ) -> FsResult<Resource<DynOutputStream>> {
        let opened = self.opened(fd)?;
        opened.writable(ErrorCode::BadDescriptor)?;
        let stream: DynOutputStream = Box::new(Writer::new(self, opened, place));
        self.add_stream(stream)
    }
}
