//! A lane that is read by the test itself.

use std::any::Any;

use super::*;
use crate::guards::switch_off;

const KIB: usize = 1 << 10;

/// Lines of 1 KiB that one VM gets in beside `floods` others that put in all they can.
fn room_beside(floods: usize) -> usize {
    let (lane, _end) = lane();
    let put = |place: &Arc<Place<()>>| lane.line(place, KIB, ());
    let others: Vec<Arc<Place<()>>> = (0..floods).map(|_| Arc::default()).collect();
    // All at the same time: a line of each, and again.
    while others.iter().filter(|place| put(place)).count() > 0 {}
    let mine = Arc::default();
    (0..MAX_QUEUED_BYTES).take_while(|_| put(&mine)).count()
}

#[test]
fn b11_a_flood_of_many_vms_leaves_room_for_the_lines_of_another() {
    assert_eq!(room_beside(0), MAX_WAITING_BYTES / KIB);
    assert!(room_beside(5) >= MAX_WAITING_BYTES / (2 * KIB));
    assert!(room_beside(20) >= 256);
    assert!(room_beside(400) >= 16);
    assert_eq!(switch_off(Guard::LogRoom, || room_beside(20)), 0);
}

#[test]
fn what_is_written_makes_room() {
    let (lane, end) = lane();
    let mine = Arc::default();
    while lane.line(&mine, 4_096, ()) {}
    assert_eq!(mine.bytes(), MAX_WAITING_BYTES);
    end.done(&mine, 4_096);
    assert!(lane.line(&mine, 4_096, ()) && !lane.line(&mine, 1, ()));
}

/// Bytes that are written before the last of a few lines, which were put in behind the backlog of
/// `floods` VMs.
fn before_a_few_lines(floods: usize) -> usize {
    const FEW: usize = 40;
    let (lane, end) = lane();
    let others: Vec<Arc<Place<&'static str>>> = (0..floods).map(|_| Arc::default()).collect();
    let put = |place: &&Arc<Place<&'static str>>| lane.line(place, 150, "theirs");
    while others.iter().filter(put).count() > 0 {}
    let mine = Arc::default();
    for _ in 0..FEW {
        assert!(lane.line(&mine, 200, "mine"));
    }
    let (mut written, mut left) = (0, FEW);
    let mut batch = Vec::new();
    while left > 0 {
        assert_eq!(end.take(None, &mut batch), Came::Batch);
        for line in batch.drain(..) {
            written += if line == "mine" { 0 } else { 150 };
            left -= usize::from(line == "mine");
        }
    }
    written
}

#[test]
fn b11_lines_wait_for_a_turn_of_each_flood_and_not_for_its_backlog() {
    // Two turns for 8,000 bytes, and as many of each flood at most before the second.
    assert!(before_a_few_lines(8) <= 8 * 2 * 4_096);
    assert!(before_a_few_lines(100) <= 100 * 2 * 4_096);
    let in_the_order_of_all = switch_off(Guard::LogTurns, || before_a_few_lines(8));
    assert!(in_the_order_of_all > 4 << 20, "{in_the_order_of_all}");
}

#[test]
fn lines_of_one_vm_keep_their_order_and_what_is_no_line_goes_first() {
    let (lane, end) = lane();
    let (one, two) = (Arc::default(), Arc::default());
    for line in 1..=3 {
        assert!(lane.line(&one, 2_000, line));
    }
    assert!(lane.line(&two, 9_000, 10));
    assert!(lane.note(100));
    let batches: Vec<Vec<i32>> = std::iter::from_fn(|| {
        let mut batch = Vec::new();
        (end.take(Some(Instant::now()), &mut batch) == Came::Batch).then_some(batch)
    })
    .collect();
    assert_eq!(batches, [vec![100], vec![1, 2], vec![10], vec![3]]);
}

#[test]
fn a_thread_that_waits_is_woken_by_a_line_and_by_the_end_of_all() {
    let (lane, end) = lane();
    let thread = std::thread::spawn(move || {
        let mut batch = Vec::new();
        (
            end.take(None, &mut batch),
            end.take(None, &mut batch),
            batch,
        )
    });
    let place = Arc::default();
    assert!(lane.clone().line(&place, 5, "line"));
    drop(lane);
    let came = thread.join().unwrap();
    assert_eq!(came, (Came::Batch, Came::Closed, vec!["line"]));
}

#[test]
fn nothing_is_kept_for_a_thread_that_is_gone() {
    let (near, end) = lane::<Arc<dyn Any + Send + Sync>>();
    let place = Arc::default();
    // As a line owns its VM's log, and that a near end.
    let line: Arc<dyn Any + Send + Sync> = Arc::new(near.clone());
    assert!(near.line(&place, 5, line.clone()));
    drop(end);
    assert_eq!(Arc::strong_count(&line), 1);
    assert!(!near.line(&place, 5, line.clone()) && !near.note(line));
}
