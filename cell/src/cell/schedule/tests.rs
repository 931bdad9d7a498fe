//! The executor with real threads, and the order by itself.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::yield_now;

use super::order::Order;
use super::queue::Queue;
use super::task::Task;
use super::*;
use crate::guards::{Guard, switch_off};

/// How long a thing that has no bound of its own may take.
const WITHIN: Duration = Duration::from_secs(20);

/// Uses `cpu` of this thread without letting go of it.
fn burn(cpu: Duration) {
    let end = thread_cpu() + cpu;
    while thread_cpu() < end {}
}

const fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// One who has an account and is charged for nothing.
impl<F: Fn() -> Account + Send + Sync> Payer for F {
    fn account(&self) -> Account {
        self()
    }

    fn charge(&self, _used: Duration) {}
}

/// One who is charged here.
#[derive(Clone, Default)]
struct Charged(Arc<Mutex<Duration>>);

impl Payer for Charged {
    fn account(&self) -> Account {
        Account {
            charged: *self.0.lock().unwrap(),
            ..core()
        }
    }

    fn charge(&self, used: Duration) {
        *self.0.lock().unwrap() += used;
    }
}

/// Promised a whole core.
const fn core() -> Account {
    promised(1_000)
}

const fn promised(millicores: u64) -> Account {
    Account {
        millicores,
        charged: Duration::ZERO,
    }
}

#[track_caller]
fn wait<T>(running: Running<T>) -> Result<T, Lost> {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(WITHIN, running).await.unwrap() })
}

/// A task that uses `poll` in each of its polls until `all` is over; yields what it has used.
fn busy(guests: &Spawner, poll: Duration, all: Instant) -> Running<Duration> {
    guests.spawn(core, async move {
        let mut used = Duration::ZERO;
        while Instant::now() < all {
            burn(poll);
            used += poll;
            yield_now().await;
        }
        used
    })
}

#[test]
fn a_task_with_long_polls_gets_no_more_than_one_with_short_ones() {
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    let until = Instant::now() + ms(1_500);
    let long = busy(&guests, ms(20), until);
    let short: Vec<_> = (0..3)
        .map(|_| busy(&guests, Duration::from_micros(200), until))
        .collect();
    let long = wait(long).unwrap();
    for short in short {
        let short = wait(short).unwrap();
        assert!(
            short.mul_f64(1.5) + ms(40) > long && long.mul_f64(1.5) + ms(40) > short,
            "{long:?} and {short:?}"
        );
    }
}

/// Whether one that is promised a core gets several times as much of it as two together that are
/// promised an eighth each.
fn the_promised_core_is_had() -> bool {
    let mut order = Order::default();
    let queue = Arc::new(Queue::default());
    let task = |number, millicores| {
        Task::new(
            number,
            Box::new(move || promised(millicores)),
            Box::pin(async {}),
            queue.clone(),
        )
    };
    for task in [task(0, 1_000), task(1, 125), task(2, 125)] {
        order.push(task, Duration::ZERO);
    }
    let mut polls = [0; 3];
    for _ in 0..100 {
        let task = order.pop().unwrap();
        polls[usize::try_from(task.number()).unwrap()] += 1;
        task.charge(ms(1));
        let used = order.counted(task.used());
        order.push(task, used);
    }
    polls[0] >= 75 && polls[1].min(polls[2]) >= 8
}

#[test]
fn c12_where_there_is_not_enough_each_gets_as_much_of_what_it_is_promised() {
    assert!(the_promised_core_is_had());
    assert!(!switch_off(Guard::ShareByQuota, the_promised_core_is_had));
}

/// Whether one for which as much is done elsewhere as it does itself gets half of what the other
/// gets here.
fn work_elsewhere_counts() -> bool {
    let mut order = Order::default();
    let queue = Arc::new(Queue::default());
    let charged = Arc::new(AtomicUsize::new(0));
    let told = charged.clone();
    let written = move || Account {
        charged: ms(told.load(SeqCst).try_into().unwrap()),
        ..core()
    };
    let flood = Task::new(0, Box::new(written), Box::pin(async {}), queue.clone());
    let quiet = Task::new(1, Box::new(core), Box::pin(async {}), queue);
    for task in [flood, quiet] {
        order.push(task, Duration::ZERO);
    }
    let mut polls = [0; 2];
    for _ in 0..90 {
        let task = order.pop().unwrap();
        polls[usize::try_from(task.number()).unwrap()] += 1;
        if task.number() == 0 {
            charged.fetch_add(2, SeqCst);
        }
        task.charge(ms(1));
        let used = order.counted(task.used());
        order.push(task, used);
    }
    (28..=32).contains(&polls[0])
}

#[test]
fn b11_what_others_do_for_a_flood_counts_as_its_own() {
    assert!(work_elsewhere_counts());
    assert!(!switch_off(
        Guard::WorkElsewhereCounts,
        work_elsewhere_counts
    ));
}

/// Whether a VM pays for the 5 ms of each poll, of which it has charged itself 3.
fn the_queue_is_paid_for() -> bool {
    let payer = Charged::default();
    let queue = Arc::new(Queue::default());
    let task = Task::new(0, Box::new(payer.clone()), Box::pin(async {}), queue);
    for _ in 0..10 {
        payer.charge(ms(3));
        task.charge(ms(5));
    }
    payer.account().charged == ms(50)
}

#[test]
fn b11_a_vm_pays_for_what_the_queue_takes_as_well() {
    assert!(the_queue_is_paid_for());
    assert!(!switch_off(Guard::QueueCharge, the_queue_is_paid_for));
}

/// What a VM pays for a wake by the thread of the timers, on which 2 ms went by.
fn paid_for_a_wake() -> Duration {
    let payer = Charged::default();
    let queue = Arc::new(Queue::default());
    let task = Task::new(0, Box::new(payer.clone()), Box::pin(async {}), queue);
    std::thread::scope(|threads| {
        let timers = || {
            task::charge_wakes();
            burn(ms(2));
            std::task::Waker::from(task.clone()).wake();
        };
        threads.spawn(timers);
    });
    task.charge(Duration::ZERO);
    payer.account().charged
}

#[test]
fn c07_a_vm_pays_for_its_timers_and_no_more_than_one_can_take() {
    let most = Duration::from_nanos(agentvm_policy::budget::POLL_COST_MOST.value);
    assert_eq!(paid_for_a_wake(), most);
    let without = switch_off(Guard::TimerCharge, paid_for_a_wake);
    assert_eq!(without, Duration::ZERO);
}

#[test]
fn a_sleeper_that_wakes_is_polled_next() {
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    let polled: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (alarm_tx, alarm_rx) = oneshot::channel::<()>();
    let sleeper = {
        let polled = polled.clone();
        guests.spawn(core, async move {
            alarm_rx.await.unwrap();
            polled.lock().unwrap().push(usize::MAX);
        })
    };
    let mut alarm_tx = Some(alarm_tx);
    let spinners: Vec<_> = (0..10)
        .map(|number| {
            let polled = polled.clone();
            let mut alarm_tx = (number == 5).then(|| alarm_tx.take().unwrap());
            guests.spawn(core, async move {
                for round in 0..20 {
                    burn(ms(1));
                    polled.lock().unwrap().push(number);
                    if round == 10
                        && let Some(alarm_tx) = alarm_tx.take()
                    {
                        alarm_tx.send(()).unwrap();
                    }
                    yield_now().await;
                }
            })
        })
        .collect();
    for spinner in spinners {
        wait(spinner).unwrap();
    }
    wait(sleeper).unwrap();
    let polled = polled.lock().unwrap();
    let woken_at = polled.iter().position(|number| *number == usize::MAX);
    let of_the_waker: Vec<usize> = (0..polled.len())
        .filter(|position| polled[*position] == 5)
        .collect();
    // The stand-in may have polled another meanwhile, where this machine does much else.
    let soon = of_the_waker[10] + 1..of_the_waker[10] + 4;
    assert!(woken_at.is_some_and(|at| soon.contains(&at)), "{polled:?}");
}

#[test]
fn c04_a_task_that_wakes_does_not_wait_for_long_polls() {
    let scheduler = Scheduler::start(2).unwrap();
    let guests = scheduler.spawner();
    let (alarm_tx, alarm_rx) = oneshot::channel::<()>();
    let polled = Arc::new(AtomicUsize::new(0));
    let woken = {
        let polled = polled.clone();
        guests.spawn(core, async move {
            alarm_rx.await.unwrap();
            // It gets all its polls, not the first one alone.
            for _ in 0..50 {
                polled.fetch_add(1, SeqCst);
                yield_now().await;
            }
        })
    };
    let stuck = Arc::new(AtomicUsize::new(0));
    let long: Vec<_> = (0..2)
        .map(|_| {
            let (stuck, polled) = (stuck.clone(), polled.clone());
            guests.spawn(core, async move {
                stuck.fetch_add(1, SeqCst);
                until("it is polled meanwhile", || polled.load(SeqCst) == 50);
            })
        })
        .collect();
    until("every worker is in a long poll", || stuck.load(SeqCst) == 2);
    alarm_tx.send(()).unwrap();
    wait(woken).unwrap();
    for long in long {
        wait(long).unwrap();
    }
}

/// Of so many milliseconds of work after a sleep beside spinners on every worker, how many are done
/// by the first thread.
fn by_the_first_thread(work: u32) -> u32 {
    let scheduler = Scheduler::start(2).unwrap();
    let guests = scheduler.spawner();
    let over = Arc::new(AtomicBool::new(false));
    let spinners: Vec<_> = (0..4)
        .map(|_| {
            let over = over.clone();
            guests.spawn(core, async move {
                while !over.load(SeqCst) {
                    burn(ms(1));
                    yield_now().await;
                }
            })
        })
        .collect();
    let sleeper = guests.spawn(core, async move {
        tokio::time::sleep(ms(100)).await;
        let mut first = 0;
        for _ in 0..work {
            burn(ms(1));
            let is_first = std::thread::current().name() == Some("guest-first");
            first += u32::from(is_first);
            yield_now().await;
        }
        first
    });
    let first = wait(sleeper).unwrap();
    over.store(true, SeqCst);
    for spinner in spinners {
        wait(spinner).unwrap();
    }
    first
}

#[test]
fn c09_a_task_that_wakes_goes_to_the_first_thread_until_it_has_caught_up() {
    assert!(by_the_first_thread(8) >= 6);
    let of_many = by_the_first_thread(80);
    assert!((8..80).contains(&of_many), "{of_many} of 80");
}

/// Whether a task that slept is left for the first thread, beside one that has used 100 ms.
fn one_that_slept_is_for_the_first_thread() -> bool {
    let queue = Arc::<Queue>::default();
    let never = || Box::pin(std::future::pending());
    Queue::add(&queue, Box::new(core), never());
    let busy = queue.next(None).unwrap();
    busy.charge(ms(100));
    assert_eq!(queue.next(Some(busy)).unwrap().number(), 0);
    Queue::add(&queue, Box::new(core), never());
    queue.behind() == 1
}

#[test]
fn c09_a_task_that_slept_is_left_for_the_first_thread() {
    assert!(one_that_slept_is_for_the_first_thread());
    assert!(!switch_off(
        Guard::SleepersFirst,
        one_that_slept_is_for_the_first_thread
    ));
}

/// Of ten short pieces of work that a guest does alone in its cell, each after a rest, how many the
/// first thread does.
fn alone_by_the_first_thread() -> usize {
    let scheduler = Scheduler::start(2).unwrap();
    let (thread_tx, thread_rx) = channel();
    let alone = scheduler.spawner().spawn(core, async move {
        for _ in 0..10 {
            tokio::time::sleep(ms(20)).await;
            burn(ms(1));
            let name = std::thread::current().name().map(str::to_owned);
            thread_tx.send(name).unwrap();
        }
    });
    wait(alone).unwrap();
    let first = thread_rx
        .iter()
        .filter(|name| name.as_deref() == Some("guest-first"));
    first.count()
}

#[test]
fn c09_a_guest_that_computes_now_and_then_is_behind_alone_as_well() {
    assert!(alone_by_the_first_thread() >= 8);
}

/// Whether one that used 3 ms of each 50 is behind the next time, and one that used 50 is not.
fn those_that_rest_are_behind() -> bool {
    let mut order = Order::default();
    let used = order.counted(Duration::ZERO);
    order.push("alone", used);
    order.pop();
    order.rest(ms(47));
    let is_behind = |used| order.is_behind(order.counted(used));
    assert!(!is_behind(used + ms(50)));
    is_behind(used + ms(3))
}

#[test]
fn c09_time_in_which_nobody_is_ready_counts() {
    assert!(those_that_rest_are_behind());
    assert!(!switch_off(Guard::RestCounts, those_that_rest_are_behind));
}

#[test]
fn c04_who_is_known_for_long_polls_leaves_the_stand_in_to_others() {
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    let (long_tx, long_rx) = channel();
    let rounds = 5;
    let long: Vec<_> = (0..2)
        .map(|number| {
            let long_tx = long_tx.clone();
            guests.spawn(core, async move {
                for _ in 0..rounds {
                    burn(ms(30));
                    let thread = std::thread::current().name().map(str::to_owned);
                    long_tx.send((number, thread)).unwrap();
                    yield_now().await;
                }
            })
        })
        .collect();
    for long in long {
        wait(long).unwrap();
    }
    drop(long_tx);
    let by_the_stand_in = long_rx
        .iter()
        .filter(|(_, thread)| thread.as_deref() == Some("guest-first"));
    assert!(
        by_the_stand_in.count() <= 1,
        "only where it is not known yet"
    );
}

#[test]
fn ten_thousand_parked_tasks_cost_no_thread() {
    let scheduler = Scheduler::start(2).unwrap();
    let guests = scheduler.spawner();
    let threads: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let parked = Arc::new(AtomicUsize::new(0));
    let (go_tx, go_rx) = watch::channel(false);
    let tasks: Vec<_> = (0..10_000)
        .map(|_| {
            let (threads, parked, mut go_rx) = (threads.clone(), parked.clone(), go_rx.clone());
            guests.spawn(core, async move {
                let seen = |thread: ThreadId| {
                    threads.lock().unwrap().insert(format!("{thread:?}"));
                };
                seen(std::thread::current().id());
                parked.fetch_add(1, SeqCst);
                go_rx.wait_for(|go| *go).await.unwrap();
                seen(std::thread::current().id());
            })
        })
        .collect();
    until("all are parked", || parked.load(SeqCst) == 10_000);
    go_tx.send(true).unwrap();
    for task in tasks {
        wait(task).unwrap();
    }
    assert!(threads.lock().unwrap().len() <= 3);
}

#[test]
fn a_task_that_is_woken_while_it_is_polled_is_polled_again() {
    let scheduler = Scheduler::start(2).unwrap();
    let guests = scheduler.spawner();
    let mut polls = 0;
    let woken = guests.spawn(
        core,
        std::future::poll_fn(move |cx| {
            polls += 1;
            if polls == 100 {
                return Poll::Ready(polls);
            }
            let waker = cx.waker().clone();
            // From another thread, and joined: the poll has not returned when the wake has.
            std::thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        }),
    );
    assert_eq!(wait(woken), Ok(100));
}

#[test]
fn timers_of_tokio_work_and_an_idle_scheduler_wakes_for_them() {
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    let slept = guests.spawn(core, async {
        let before = Instant::now();
        for _ in 0..5 {
            tokio::time::sleep(ms(10)).await;
        }
        before.elapsed()
    });
    assert!(wait(slept).unwrap() >= ms(50));
    let late = guests.spawn(core, async {
        tokio::time::timeout(ms(20), std::future::pending::<()>()).await
    });
    assert!(wait(late).unwrap().is_err());
}

#[test]
fn a_panic_ends_its_task_and_no_other() {
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    let broken = guests.spawn(core, async {
        yield_now().await;
        panic!("a bug of ours")
    });
    let whole = guests.spawn(core, async {
        yield_now().await;
        7
    });
    let lost: Result<(), Lost> = wait(broken);
    assert_eq!(lost, Err(Lost::Panicked("a bug of ours".to_owned())));
    assert_eq!(wait(whole), Ok(7));
    assert_eq!(guests.panics_total(), 1);
}

#[test]
fn a_panic_while_a_task_is_freed_stops_no_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("freed badly");
        }
    }
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    let bomb = Bomb;
    let broken = guests.spawn(
        core,
        std::future::poll_fn(move |_| {
            let _held = &bomb;
            Poll::Ready(1)
        }),
    );
    let _whether_it_was_heard = wait(broken);
    assert_eq!(wait(guests.spawn(core, async { 2 })), Ok(2));
    until("it is counted", || guests.panics_total() == 1);
}

/// Says when it is dropped.
struct Witness(Sender<&'static str>, &'static str);

impl Drop for Witness {
    fn drop(&mut self) {
        let _unheard = self.0.send(self.1);
    }
}

#[test]
fn dropping_the_scheduler_ends_tasks_and_threads() {
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    let (gone_tx, gone_rx): (_, Receiver<&str>) = channel();
    let is_polled = Arc::new(AtomicBool::new(false));
    let parked = {
        let held = Witness(gone_tx.clone(), "parked");
        guests.spawn(core, async move {
            let _held = held;
            std::future::pending::<()>().await;
        })
    };
    let spinning = {
        let (held, is_polled) = (Witness(gone_tx.clone(), "spinning"), is_polled.clone());
        guests.spawn(core, async move {
            let _held = held;
            loop {
                is_polled.store(true, SeqCst);
                burn(ms(1));
                yield_now().await;
            }
        })
    };
    until("it is polled", || is_polled.load(SeqCst));
    drop(scheduler);
    let gone = BTreeSet::from([(); 2].map(|()| gone_rx.recv_timeout(WITHIN).unwrap()));
    assert_eq!(gone, BTreeSet::from(["parked", "spinning"]));
    assert_eq!(wait(parked), Err(Lost::Stopped));
    let spun: Result<(), Lost> = wait(spinning);
    assert_eq!(spun, Err(Lost::Stopped));
    // The threads hold the queue, and so does the spawner.
    until("the thread has ended", || {
        Arc::strong_count(&guests.queue) == 1
    });
    let late = guests.spawn(core, async { 1 });
    assert_eq!(wait(late), Err(Lost::Stopped));
}

#[test]
fn a_task_that_ended_is_not_kept() {
    let scheduler = Scheduler::start(1).unwrap();
    let guests = scheduler.spawner();
    for _ in 0..10 {
        assert_eq!(wait(guests.spawn(core, async { 1 })), Ok(1));
    }
    until("none is left", || guests.queue.tasks() == 0);
}

/// The sum of what each of `polls` has used after `total` of one thread.
fn shared(polls: &[Duration], total: Duration) -> Vec<Duration> {
    let mut order = Order::default();
    let mut used = vec![Duration::ZERO; polls.len()];
    for task in 0..polls.len() {
        order.push(task, Duration::ZERO);
    }
    while used.iter().sum::<Duration>() < total {
        let task = order.pop().unwrap();
        used[task] += polls[task];
        order.push(task, used[task]);
    }
    used
}

fn long_polls_gain_nothing() -> bool {
    let used = shared(&[ms(100), ms(1), ms(1)], ms(3_000));
    used.iter().all(|used| (ms(850)..ms(1_150)).contains(used))
}

#[test]
fn c04_long_polls_gain_nothing() {
    assert!(long_polls_gain_nothing());
    assert!(!switch_off(Guard::LeastUsedFirst, long_polls_gain_nothing));
}

/// How long the others wait for one that slept while they used `busy` each.
fn wait_for_one_that_slept(busy: Duration) -> Duration {
    let mut order = Order::default();
    for task in ["a", "b"] {
        order.push(task, busy);
    }
    order.pop();
    order.push("a", busy);
    let mut used = order.counted(Duration::ZERO);
    order.push("slept", used);
    let mut waited = Duration::ZERO;
    while order.pop() == Some("slept") {
        waited += ms(1);
        used = order.counted(used + ms(1));
        order.push("slept", used);
    }
    waited
}

fn one_that_slept_keeps_nobody_waiting() -> bool {
    wait_for_one_that_slept(Duration::from_mins(1)) <= ms(20)
}

#[test]
fn c12_one_that_slept_goes_first_and_keeps_nobody_waiting() {
    assert!(one_that_slept_keeps_nobody_waiting());
    assert!(wait_for_one_that_slept(Duration::from_mins(1)) >= ms(1));
    assert!(!switch_off(
        Guard::SleepEarnsNothing,
        one_that_slept_keeps_nobody_waiting
    ));
}

#[test]
fn one_that_does_not_fit_is_passed_over_and_stays_first() {
    let mut order = Order::default();
    for task in 0..4 {
        order.push(task, Duration::from_millis(task));
    }
    assert_eq!(order.pop_where(|task| *task >= 2), Some(2));
    assert_eq!(order.pop_where(|task| *task > 3), None);
    let left: Vec<_> = std::iter::from_fn(|| order.pop()).collect();
    assert_eq!(left, [0, 1, 3]);
}

#[test]
fn those_that_have_used_the_same_take_turns() {
    let mut order = Order::default();
    for task in 0..4 {
        order.push(task, ms(7));
    }
    let turns: Vec<_> = std::iter::from_fn(|| order.pop()).collect();
    assert_eq!(turns, [0, 1, 2, 3]);
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}
