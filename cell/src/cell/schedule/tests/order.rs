//! The order by itself.

use super::*;

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
