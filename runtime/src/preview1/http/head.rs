//! What is told of an answer as text: its status and headers, its trailers, why it failed.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use http::HeaderMap;
use wasmtime::{Caller, Linker};

use super::MODULE;
use crate::host::Host;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::memory::split;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "head",
        |mut caller: Caller<'_, Host>, (fd, at, len, whole_at): (u32, u32, u32, u32)| {
            let text = Text { at, len, whole_at };
            Box::new(async move { code(head(&mut caller, fd, text).await) })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "trailers",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32, len: u32, whole_at: u32| {
            code(trailers(&mut caller, fd, Text { at, len, whole_at }))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "failure",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32, len: u32, whole_at: u32| {
            code(failure(&mut caller, fd, Text { at, len, whole_at }))
        },
    )?;
    Ok(())
}

/// Where the guest wants a text, how much of it there is room for, and where it wants to know
/// how long the whole is.
#[derive(Clone, Copy)]
struct Text {
    at: u32,
    len: u32,
    whole_at: u32,
}

impl Text {
    /// Writes all of `text`, or only how long it is where there is no room for it.
    fn tell(self, caller: &mut Caller<'_, Host>, text: &[u8]) -> Answer {
        let (mut memory, host) = split(caller)?;
        host.charge_bytes(text.len());
        let whole = u32::try_from(text.len())?;
        memory.write_u32(self.whole_at, whole)?;
        if whole > self.len {
            return Err(Errno::RANGE);
        }
        memory.write(self.at, text)
    }
}

async fn head(caller: &mut Caller<'_, Host>, fd: u32, text: Text) -> Answer {
    let exchange = caller.data_mut().descriptors.exchange_mut(fd)?;
    let now = exchange.poll_head(&mut Context::from_waker(Waker::noop()));
    if now.is_pending() {
        if exchange.nonblocking {
            return Err(Errno::AGAIN);
        }
        poll_fn(
            |context| match caller.data_mut().descriptors.exchange_mut(fd) {
                Ok(exchange) => exchange.poll_head(context),
                Err(_) => Poll::Ready(()),
            },
        )
        .await;
    }
    let (status, headers) = caller.data_mut().descriptors.exchange_mut(fd)?.head()?;
    let mut told = format!("{}\n", status.as_u16()).into_bytes();
    write_lines(&mut told, headers);
    text.tell(caller, &told)
}

fn trailers(caller: &mut Caller<'_, Host>, fd: u32, text: Text) -> Answer {
    let mut told = Vec::new();
    write_lines(
        &mut told,
        caller.data_mut().descriptors.exchange_mut(fd)?.trailers()?,
    );
    text.tell(caller, &told)
}

fn failure(caller: &mut Caller<'_, Host>, fd: u32, text: Text) -> Answer {
    let exchange = caller.data_mut().descriptors.exchange_mut(fd)?;
    let name = exchange.failure().map_or("", |code| code.as_str());
    text.tell(caller, name.as_bytes())
}

/// As requests have them: `name: value` and a line feed, each.
fn write_lines(text: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"] {
            text.extend_from_slice(part);
        }
    }
}
