//! Who gets how much, and who pays for it.

use super::*;

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
