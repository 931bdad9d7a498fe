//! Reading the body of an answer and writing the body of a request.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use wasmtime::Caller;

use crate::host::Host;
use crate::preview1::errno::{Answer, Errno};
use crate::preview1::iovec::{self, Buffers};
use crate::preview1::memory::split;

/// What the guest waits for.
#[derive(Clone, Copy)]
enum Side {
    Read,
    Write,
}

/// Reads what is there, waiting for the first byte of it; 0 is the end.
pub(in crate::preview1) async fn read(caller: &mut Caller<'_, Host>, buffers: Buffers) -> Answer {
    let (mut memory, host) = split(caller)?;
    host.charge_bytes(iovec::list_bytes(buffers.count));
    memory.write_u32(buffers.done_at, 0)?;
    let wanted = iovec::total(&memory, buffers.list, buffers.count)?;
    if wanted == 0 {
        return Ok(());
    }
    wait(caller, buffers.fd, Side::Read).await?;
    let (mut memory, host) = split(caller)?;
    let most = usize::try_from(wanted).unwrap_or(usize::MAX);
    let bytes = host.descriptors.exchange_mut(buffers.fd)?.read(most)?;
    host.charge_bytes(bytes.len());
    iovec::scatter(&mut memory, buffers.list, buffers.count, &bytes)?;
    memory.write_u32(buffers.done_at, u32::try_from(bytes.len())?)
}

/// Writes what there is room for, waiting for some.
pub(in crate::preview1) async fn write(caller: &mut Caller<'_, Host>, buffers: Buffers) -> Answer {
    let (mut memory, host) = split(caller)?;
    host.charge_bytes(iovec::list_bytes(buffers.count));
    memory.write_u32(buffers.done_at, 0)?;
    wait(caller, buffers.fd, Side::Write).await?;
    let (mut memory, host) = split(caller)?;
    let bytes = iovec::gather(&memory, buffers.list, buffers.count)?;
    let written = host.descriptors.exchange_mut(buffers.fd)?.write(&bytes)?;
    host.charge_bytes(written);
    memory.write_u32(buffers.done_at, u32::try_from(written)?)
}

/// Waits until `side` would not wait any more; AGAIN where the exchange never does.
async fn wait(caller: &mut Caller<'_, Host>, fd: u32, side: Side) -> Answer {
    let mut poll = |context: &mut Context<'_>| {
        let exchange = caller.data_mut().descriptors.exchange_mut(fd);
        exchange.map(|exchange| {
            let polled = match side {
                Side::Read => exchange.poll_read_on(context),
                Side::Write => exchange.poll_write(context),
            };
            (polled.is_ready(), exchange.nonblocking)
        })
    };
    match poll(&mut Context::from_waker(Waker::noop()))? {
        (true, _) => return Ok(()),
        (false, true) => return Err(Errno::AGAIN),
        (false, false) => (),
    }
    poll_fn(|context| match poll(context) {
        Ok((false, _)) => Poll::Pending,
        Ok((true, _)) => Poll::Ready(Ok(())),
        Err(errno) => Poll::Ready(Err(errno)),
    })
    .await
}
