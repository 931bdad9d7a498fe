//! Fairness and bounds of the queue, each with the guard that makes it.

use super::*;
use crate::guards::switch_off;

const BOMB: Duration = Duration::from_secs(10);
const HELLO: Duration = Duration::from_millis(50);

fn queue(at_once: usize) -> Queue {
    Queue::new(Bounds {
        at_once,
        waiting: 100,
        total: 103,
        waiting_bytes: 1000,
        total_bytes: 1500,
    })
}

fn name(namespace: &str) -> Name {
    Name(Some(namespace.to_owned()))
}

/// Puts a module of its own in the queue.
fn put(queue: &mut Queue, namespace: &str, module: &str) -> Ticket {
    let ticket = queue.enter(name(namespace)).unwrap();
    queue.wait(ticket, Digest::of(module.as_bytes()));
    ticket
}

fn put_bombs(queue: &mut Queue, namespace: &str, count: usize) -> Vec<Ticket> {
    let bomb = |number| put(queue, namespace, &format!("{namespace} bomb {number}"));
    (0..count).map(bomb).collect()
}

/// How many bombs are compiled before the neighbour's module has its compiler.
fn bombs_before_hello(at_once: usize) -> usize {
    let mut queue = queue(at_once);
    let mut now = Instant::now();
    put_bombs(&mut queue, "hostile", 100);
    let mut running: Vec<Ticket> = std::iter::from_fn(|| queue.start_next(now)).collect();
    let hello = put(&mut queue, "neighbour", "hello");
    running.extend(std::iter::from_fn(|| queue.start_next(now)));
    let mut compiled = 0;
    while !running.contains(&hello) {
        now += BOMB;
        queue.leave(running.remove(0), now);
        compiled += 1;
        running.extend(std::iter::from_fn(|| queue.start_next(now)));
    }
    compiled
}

#[test]
fn e02_a_hundred_bombs_leave_a_neighbours_module_next() {
    assert_eq!(bombs_before_hello(2), 0, "one compiler is left for it");
    assert_eq!(bombs_before_hello(1), 1, "the one that was under way");
}

#[test]
fn e02_mutant_first_come_first_served_makes_the_neighbour_wait_for_all_bombs() {
    let waited = switch_off(Guard::LeastCompiledFirst, || bombs_before_hello(1));
    assert_eq!(waited, 100);
}

#[test]
fn e02_mutant_without_a_compiler_left_the_neighbour_waits_for_a_bomb() {
    let waited = switch_off(Guard::CompilerLeft, || bombs_before_hello(2));
    assert_eq!(waited, 1);
}

#[test]
fn two_namespaces_with_bombs_take_turns_and_a_third_is_next() {
    let mut queue = queue(1);
    let mut now = Instant::now();
    put_bombs(&mut queue, "a", 3);
    put_bombs(&mut queue, "b", 3);
    let mut order = Vec::new();
    while let Some(ticket) = queue.start_next(now) {
        let namespace = queue.places[&ticket].namespace.clone();
        if order.len() == 2 {
            put(&mut queue, "c", "hello");
        }
        now += if namespace == name("c") { HELLO } else { BOMB };
        queue.leave(ticket, now);
        order.push(namespace.0.unwrap());
    }
    assert_eq!(order, ["a", "b", "a", "c", "b", "a", "b"]);
}

#[test]
fn what_was_used_long_ago_does_not_count() {
    let mut queue = queue(1);
    let now = Instant::now();
    put(&mut queue, "a", "bomb");
    let ticket = queue.start_next(now).unwrap();
    queue.leave(ticket, now + BOMB);
    let used = |queue: &Queue, later: Duration| queue.used_by(&name("a"), now + BOMB + later);
    assert_eq!(used(&queue, Duration::ZERO), BOMB);
    assert_eq!(used(&queue, HALF_LIFE), BOMB / 2);
    assert!(used(&queue, HALF_LIFE * 14) < NOTHING);
    put(&mut queue, "b", "hello");
    let ticket = queue.start_next(now + BOMB).unwrap();
    queue.leave(ticket, now + BOMB + HALF_LIFE * 20);
    assert!(!queue.used.contains_key(&name("a")), "it is forgotten");
}

#[test]
fn a_namespace_can_use_all_compilers_but_one() {
    let mut queue = queue(3);
    let now = Instant::now();
    put_bombs(&mut queue, "a", 5);
    let running: Vec<Ticket> = std::iter::from_fn(|| queue.start_next(now)).collect();
    assert_eq!(running.len(), 2);
    put_bombs(&mut queue, "b", 5);
    assert!(queue.start_next(now).is_some());
    assert_eq!(queue.start_next(now), None, "three is the bound");
    assert_eq!((queue.running(), queue.waiting_total()), (3, 7));
}

#[test]
fn the_same_bytes_are_not_compiled_twice_at_once() {
    let mut queue = queue(2);
    let now = Instant::now();
    let first = put(&mut queue, "a", "shared");
    let second = put(&mut queue, "b", "shared");
    assert_eq!(queue.start_next(now), Some(first));
    assert_eq!(queue.start_next(now), None);
    queue.leave(first, now + HELLO);
    assert_eq!(queue.start_next(now + HELLO), Some(second));
}

#[test]
fn too_many_modules_of_one_namespace_are_refused_and_the_refusal_names_the_bound() {
    let mut queue = queue(1);
    put_bombs(&mut queue, "hostile", 100);
    let refused = queue.enter(name("hostile")).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("namespace hostile has 100 modules that wait for a compiler, the most"),
        "{refused}"
    );
    assert!(queue.enter(name("neighbour")).is_ok());
    assert!(queue.enter(Name(None)).is_ok());
    switch_off(Guard::CompileQueueBound, || {
        assert!(queue.enter(name("hostile")).is_ok());
    });
    let refused = queue.enter(name("b")).unwrap_err();
    assert_eq!(refused, Full::TotalModules { most: 103 });
    let first = queue.start_next(Instant::now()).unwrap();
    queue.leave(first, Instant::now());
    queue.start_next(Instant::now()).unwrap();
    assert!(
        queue.enter(name("hostile")).is_ok(),
        "one has had its compiler, and one has it"
    );
}

#[test]
fn too_many_bytes_of_one_namespace_or_of_all_are_refused() {
    let mut queue = queue(1);
    let alone = queue.enter(name("a")).unwrap();
    queue.grow(alone, 1200).unwrap();
    let second = queue.enter(name("a")).unwrap();
    let refused = queue.grow(second, 1).unwrap_err();
    assert_eq!(
        refused,
        Full::Bytes {
            namespace: name("a"),
            most: 1000
        }
    );
    queue.leave(second, Instant::now());
    let other = queue.enter(name("b")).unwrap();
    queue.grow(other, 200).unwrap();
    queue.grow(other, 100).unwrap();
    assert_eq!(queue.grow(other, 1), Err(Full::Total { most: 1500 }));
    queue.leave(alone, Instant::now());
    queue.grow(other, 700).unwrap();
}
