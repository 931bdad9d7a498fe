//! The channel between the warden and one of its children: messages that carry descriptors.
//!
//! It is a `SOCK_SEQPACKET` pair, so one send is one message and its descriptors belong to it.
//! The child has its end as stdin. A child never sends descriptors: its jail has no `sendmsg`.

mod message;

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;

pub(crate) use message::{
    Answer, FromCell, FromCompiler, Outcome, Request, ToCell, ToCompiler, Verdict,
};

/// The longest message; a longer one is the other side's fault.
const MAX_MESSAGE_BYTES: usize = agentvm_policy::budget::CONTROL_BYTES.usize();

/// The most descriptors that one message carries.
const MAX_DESCRIPTORS: usize = agentvm_policy::budget::CONTROL_DESCRIPTORS.usize();

/// Why a message did not go through.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The kernel refused.
    #[error("the control channel failed")]
    System(#[from] std::io::Error),
    /// The message is not one of the agreed ones.
    #[error("a message on the control channel does not decode")]
    Decode(#[from] serde_json::Error),
    /// The message was cut.
    #[error(
        "a message on the control channel is longer than {MAX_MESSAGE_BYTES} bytes or carries more than {MAX_DESCRIPTORS} descriptors"
    )]
    TooLong,
}

impl From<rustix::io::Errno> for ControlError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::System(errno.into())
    }
}

/// A connected pair: the warden's end and the child's, both blocking and close-on-exec.
pub(crate) fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends one message; blocks where `socket` does.
pub(crate) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ControlError> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_MESSAGE_BYTES || descriptors.len() > MAX_DESCRIPTORS {
        return Err(ControlError::TooLong);
    }
    if descriptors.is_empty() {
        rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL)?;
        return Ok(());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(ControlError::TooLong);
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone. Blocks where `socket` does.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> Result<Option<(T, Vec<OwnedFd>)>, ControlError> {
    let mut bytes = vec![0; MAX_MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    );
    let received = match received {
        Ok(received) if received.bytes == 0 => return Ok(None),
        Ok(received) => received,
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    // Descriptors that found no room (at the limit of open ones) are lost, and missed by whoever
    // waits for them; a message that was cut is of no use to anybody.
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(ControlError::TooLong);
    }
    bytes.truncate(received.bytes);
    Ok(Some((serde_json::from_slice(&bytes)?, descriptors)))
}

/// One end, for use in a tokio runtime.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Of another socket type than its name says; only readiness is asked of it.
    socket: UnixStream,
}

impl Channel {
    /// Takes an end over; it becomes non-blocking.
    pub(crate) fn new(socket: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: UnixStream::from_std(socket.into())?,
        })
    }

    /// Sends one message.
    pub(crate) async fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ControlError> {
        let send = || when_ready(send(&self.socket, message, descriptors));
        self.socket.async_io(Interest::WRITABLE, send).await?
    }

    /// Receives one message; `None` when the other side is gone. Loses nothing when dropped.
    pub(crate) async fn receive<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<(T, Vec<OwnedFd>)>, ControlError> {
        let receive = || when_ready(receive(&self.socket));
        self.socket.async_io(Interest::READABLE, receive).await?
    }
}

/// Separates "not ready yet", which is waited for, from what is returned.
fn when_ready<T>(result: Result<T, ControlError>) -> std::io::Result<Result<T, ControlError>> {
    match result {
        Err(ControlError::System(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(error)
        }
        result => Ok(result),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn a_message_arrives_whole_and_with_its_descriptor() {
        let (ours, theirs) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"heron").unwrap();
        file.rewind().unwrap();
        send(&ours, &"first", &[file.as_fd()]).unwrap();
        send(&ours, &"second", &[]).unwrap();

        let (message, mut descriptors) = receive::<String>(&theirs).unwrap().unwrap();
        assert_eq!(message, "first");
        let mut text = String::new();
        std::fs::File::from(descriptors.remove(0))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "heron");
        let (message, descriptors) = receive::<String>(&theirs).unwrap().unwrap();
        assert_eq!((message.as_str(), descriptors.len()), ("second", 0));
    }

    #[test]
    fn a_closed_channel_reads_as_none() {
        let (ours, theirs) = pair().unwrap();
        drop(ours);
        assert!(receive::<String>(&theirs).unwrap().is_none());
    }
}
