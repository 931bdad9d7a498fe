//! What becomes of tasks: woken, parked, ended, dropped.

use super::*;

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
