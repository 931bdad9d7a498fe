//! Waiting for clocks and descriptors, bounded in number and free to be cancelled.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, sleep_until};
use wasmtime::{Caller, Linker};

use super::MODULE;
use super::clock::Clock;
use super::descriptors::{Descriptor, Descriptors, Stream};
use super::errno::{Answer, Errno, code};
use super::http::Exchange;
use super::memory::{GuestMemory, offset, split};
use crate::charge::FUEL_PER_CALL;
use crate::guards::{Guard, is_on};
use crate::handle::Shared;
use crate::host::Host;
use crate::stdio::MAX_WRITE_BYTES;

/// The most subscriptions of one call.
const MAX_SUBSCRIPTIONS: u32 = agentvm_policy::budget::SUBSCRIPTIONS.u32();
/// What the host holds of one subscription while the guest waits.
const HELD_BYTES: u64 = agentvm_policy::budget::SUBSCRIPTION_BYTES.value;
/// Bytes of one in the guest's memory.
const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;
/// The other side has closed: what a reader at the end of its input is told.
const HANGUP: u16 = 1;
/// The time of a clock's subscription is a moment, not a duration.
const ABSOLUTE: u16 = 1;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |mut caller: Caller<'_, Host>, (list, events, count, ready): (u32, u32, u32, u32)| {
            Box::new(async move { code(poll(&mut caller, list, events, count, ready).await) })
        },
    )?;
    Ok(())
}

/// One thing that is waited for, tagged with what the guest wants to recognise it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subscription {
    userdata: u64,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// A moment; `None` never comes.
    Time(Option<Instant>),
    /// Input, which is there once stdin is closed.
    Stdin,
    /// This many bytes of a file, which never has to be waited for.
    Bytes(u64),
    /// The answer of an exchange, or more of its body.
    Answer(u32),
    /// Room for the body of an exchange's request.
    Request(u32),
    /// Room for this many bytes of output, which is there.
    Room(usize),
    /// Nothing: the subscription itself is wrong.
    Wrong(Errno, Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clock,
    Read,
    Write,
}

impl Kind {
    const fn tag(self) -> u8 {
        match self {
            Self::Clock => 0,
            Self::Read => 1,
            Self::Write => 2,
        }
    }
}

async fn poll(
    caller: &mut Caller<'_, Host>,
    list: u32,
    events: u32,
    count: u32,
    ready_at: u32,
) -> Answer {
    let shared = Arc::clone(&caller.data().shared);
    if count == 0 || (count > MAX_SUBSCRIPTIONS && is_on(Guard::PollBound)) {
        return Err(Errno::INVAL);
    }
    let bytes = u64::from(count).saturating_mul(HELD_BYTES);
    let _held = shared.budget.memory.hold(bytes).ok_or(Errno::NOMEM)?;
    let subscriptions = subscriptions(caller, list, count)?;
    wait(caller, &shared, &subscriptions).await;
    let (mut memory, host) = split(caller)?;
    let closed = host.shared.stdin.is_open();
    let now = Instant::now();
    let mut written = 0;
    for subscription in subscriptions {
        let known = settled(subscription, &host.descriptors);
        if let Some(event) = event(known, now, closed) {
            memory.write(offset(events, written * EVENT_BYTES)?, &event)?;
            written += 1;
        }
    }
    memory.write_u32(ready_at, written)
}

/// Waits until at least one of `subscriptions` is ready, and lets others run in any case.
async fn wait(caller: &mut Caller<'_, Host>, shared: &Shared, subscriptions: &[Subscription]) {
    let ready = |s: &Subscription| {
        matches!(
            s.wanted,
            Wanted::Bytes(_) | Wanted::Room(_) | Wanted::Wrong(..)
        )
    };
    let stdin = subscriptions.iter().any(|s| s.wanted == Wanted::Stdin);
    let first = subscriptions.iter().filter_map(|s| match s.wanted {
        Wanted::Time(at) => at,
        Wanted::Stdin
        | Wanted::Answer(_)
        | Wanted::Request(_)
        | Wanted::Bytes(_)
        | Wanted::Room(_)
        | Wanted::Wrong(..) => None,
    });
    let first = first.min();
    let one_is_ready = exchanges(
        &mut caller.data_mut().descriptors,
        subscriptions,
        &mut Context::from_waker(Waker::noop()),
    );
    if one_is_ready.is_ready()
        || subscriptions.iter().any(ready)
        || first.is_some_and(|at| at <= Instant::now())
    {
        tokio::task::yield_now().await;
        return;
    }
    let time = async {
        match first {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    };
    let input = async {
        if stdin {
            shared.stdin.opened().await;
        } else {
            pending::<()>().await;
        }
    };
    let descriptors = &mut caller.data_mut().descriptors;
    tokio::select! {
        () = time => (),
        () = input => (),
        () = poll_fn(|context| exchanges(descriptors, subscriptions, context)) => (),
    }
}

/// Ready where one of the exchanges that are waited for is; all of them are looked at.
fn exchanges(
    descriptors: &mut Descriptors,
    subscriptions: &[Subscription],
    context: &mut Context<'_>,
) -> Poll<()> {
    let mut polled = Poll::Pending;
    for subscription in subscriptions {
        let one = match subscription.wanted {
            Wanted::Answer(fd) => descriptors.exchange_mut(fd).map(|it| it.poll_read(context)),
            Wanted::Request(fd) => descriptors
                .exchange_mut(fd)
                .map(|it| it.poll_write(context)),
            Wanted::Time(_)
            | Wanted::Stdin
            | Wanted::Bytes(_)
            | Wanted::Room(_)
            | Wanted::Wrong(..) => continue,
        };
        if one.is_ok_and(|one| one.is_ready()) {
            polled = Poll::Ready(());
        }
    }
    polled
}

fn subscriptions(
    caller: &mut Caller<'_, Host>,
    list: u32,
    count: u32,
) -> Result<Vec<Subscription>, Errno> {
    let (memory, host) = split(caller)?;
    host.shared
        .budget
        .fuel
        .owe(u64::from(count).saturating_mul(FUEL_PER_CALL));
    (0..count)
        .map(|index| subscription(&memory, host, list, index))
        .collect()
}

fn subscription(
    memory: &GuestMemory<'_>,
    host: &Host,
    list: u32,
    index: u32,
) -> Result<Subscription, Errno> {
    let start = index.checked_mul(SUBSCRIPTION_BYTES).ok_or(Errno::FAULT)?;
    let at = offset(list, start)?;
    let userdata = u64::from_le_bytes(memory.read(at)?);
    let [tag] = memory.read(offset(at, 8)?)?;
    let body = offset(at, 16)?;
    let wanted = match tag {
        0 => clock(memory, host, body)?,
        1 => readable(&host.descriptors, memory.read_u32(body)?),
        2 => writable(&host.descriptors, memory.read_u32(body)?),
        _ => return Err(Errno::INVAL),
    };
    Ok(Subscription { userdata, wanted })
}

fn clock(memory: &GuestMemory<'_>, host: &Host, at: u32) -> Result<Wanted, Errno> {
    let id = memory.read_u32(at)?;
    let time = u64::from_le_bytes(memory.read(offset(at, 8)?)?);
    let flags = u16::from_le_bytes(memory.read(offset(at, 24)?)?);
    let clock = match Clock::from_id(id) {
        Ok(clock) => clock,
        Err(errno) => return Ok(Wanted::Wrong(errno, Kind::Clock)),
    };
    let moment = match (clock, flags & ABSOLUTE != 0) {
        (Clock::Processor, _) => return Ok(Wanted::Wrong(Errno::INVAL, Kind::Clock)),
        (Clock::Monotonic, true) => host.clocks.when_monotonic(time),
        (Clock::Realtime, true) => host
            .clocks
            .after(time.saturating_sub(host.clocks.realtime_ns())),
        (Clock::Monotonic | Clock::Realtime, false) => host.clocks.after(time),
    };
    Ok(Wanted::Time(moment))
}

fn readable(descriptors: &Descriptors, fd: u32) -> Wanted {
    match descriptors.get(fd) {
        Ok(Descriptor::Stream { stream, .. }) => match stream {
            Stream::Stdin => Wanted::Stdin,
            Stream::Stdout | Stream::Stderr => Wanted::Wrong(Errno::BADF, Kind::Read),
        },
        Ok(Descriptor::Exchange(_)) => Wanted::Answer(fd),
        Ok(Descriptor::File(file)) => {
            let size = file.node.metadata().size;
            Wanted::Bytes(size.saturating_sub(file.position))
        }
        Ok(Descriptor::Directory(_)) => Wanted::Bytes(0),
        Err(errno) => Wanted::Wrong(errno, Kind::Read),
    }
}

fn writable(descriptors: &Descriptors, fd: u32) -> Wanted {
    match descriptors.get(fd) {
        Ok(Descriptor::Stream { stream, .. }) => match stream {
            Stream::Stdin => Wanted::Wrong(Errno::BADF, Kind::Write),
            Stream::Stdout | Stream::Stderr => Wanted::Room(MAX_WRITE_BYTES),
        },
        Ok(Descriptor::Exchange(_)) => Wanted::Request(fd),
        Ok(Descriptor::File(_) | Descriptor::Directory(_)) => Wanted::Room(MAX_WRITE_BYTES),
        Err(errno) => Wanted::Wrong(errno, Kind::Write),
    }
}

/// `subscription` of an exchange that is ready as what it is ready for.
fn settled(subscription: Subscription, descriptors: &Descriptors) -> Subscription {
    let now = &Context::from_waker(Waker::noop());
    let known = match subscription.wanted {
        Wanted::Answer(fd) => descriptors
            .exchange(fd)
            .ok()
            .and_then(Exchange::readable)
            .map(|bytes| Wanted::Bytes(wide(bytes))),
        Wanted::Request(fd) => match descriptors.exchange(fd).map(|it| it.poll_write(now)) {
            Ok(Poll::Ready(room)) => Some(Wanted::Room(room)),
            Ok(Poll::Pending) | Err(_) => None,
        },
        Wanted::Time(_)
        | Wanted::Stdin
        | Wanted::Bytes(_)
        | Wanted::Room(_)
        | Wanted::Wrong(..) => None,
    };
    Subscription {
        wanted: known.unwrap_or(subscription.wanted),
        ..subscription
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What the guest is told of `subscription`, where there is something to tell.
fn event(subscription: Subscription, now: Instant, stdin_closed: bool) -> Option<[u8; 32]> {
    let (errno, kind, bytes, flags) = match subscription.wanted {
        Wanted::Time(Some(at)) if at <= now => (0, Kind::Clock, 0, 0),
        Wanted::Stdin if stdin_closed => (0, Kind::Read, 0, HANGUP),
        Wanted::Bytes(bytes) => (0, Kind::Read, bytes, 0),
        Wanted::Room(bytes) => (0, Kind::Write, wide(bytes), 0),
        Wanted::Wrong(errno, kind) => (
            u16::try_from(errno.number()).unwrap_or_default(),
            kind,
            0,
            0,
        ),
        Wanted::Time(_) | Wanted::Stdin | Wanted::Answer(_) | Wanted::Request(_) => return None,
    };
    let mut event = [0; 32];
    let fields: [(usize, &[u8]); 5] = [
        (0, &subscription.userdata.to_le_bytes()),
        (8, &errno.to_le_bytes()),
        (10, &[kind.tag()]),
        (16, &bytes.to_le_bytes()),
        (24, &flags.to_le_bytes()),
    ];
    for (at, field) in fields {
        if let Some(place) = event.get_mut(at..at + field.len()) {
            place.copy_from_slice(field);
        }
    }
    Some(event)
}
