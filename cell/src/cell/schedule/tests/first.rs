//! Who goes first, and on which thread.

use super::*;

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
