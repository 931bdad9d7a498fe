//! A guard is off for one thread, while one function runs, and never after it.

mod guards {
    /// Two guards of nothing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Guard {
        /// One.
        Outer,
        /// Another.
        Inner,
    }

    agentvm_guards::switch!(pub(crate) when test);
}

mod shipped {
    /// A guard that nobody can switch.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Guard {
        /// It.
        Only,
    }

    agentvm_guards::switch!(pub(crate) when not(test));
}

use guards::{Guard, is_on, switch_off};

fn both() -> (bool, bool) {
    (is_on(Guard::Outer), is_on(Guard::Inner))
}

#[test]
fn a_guard_is_off_while_the_function_runs_and_on_before_and_after() {
    assert_eq!(both(), (true, true));
    assert_eq!(switch_off(Guard::Outer, both), (false, true));
    assert_eq!(both(), (true, true));
}

#[test]
fn an_inner_guard_leaves_the_outer_one_off() {
    let seen = switch_off(Guard::Outer, || (switch_off(Guard::Inner, both), both()));
    assert_eq!(seen, ((false, false), (false, true)));
}

#[test]
fn a_panic_switches_the_guard_on_again() {
    let panicked = std::panic::catch_unwind(|| {
        switch_off(Guard::Outer, || std::panic::panic_any("for a test"));
    });
    assert!(panicked.is_err());
    assert_eq!(both(), (true, true));
}

#[test]
fn another_threads_guard_stays_on() {
    let elsewhere = || std::thread::spawn(both).join().ok();
    assert_eq!(switch_off(Guard::Outer, elsewhere), Some((true, true)));
}

#[test]
fn where_there_is_no_switch_the_guard_is_on() {
    const { assert!(shipped::is_on(shipped::Guard::Only)) }
}
