//! Holds both guest interfaces against the filesystem itself and the model of it.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use agentvm_vfs::{Entry, Filesystem, Follow, Kind, Node, Open};

use crate::backend::{Backend, Reading};
use crate::operation::{Operation, Paths, decode};
use crate::outcome::Outcome;
use crate::preview1::operations::Preview1;
use crate::preview2::operations::Preview2;
use crate::reference::{Reference, filesystem};
use crate::run::{Guest, Interface, Ran, limits};
use crate::script::{Arg, Script};

/// An operation, what it is to come to, and where to read what it came to.
struct Step {
    operation: Operation,
    expected: Outcome,
    reading: Reading,
}

/// Makes the operations that `bytes` stand for through both interfaces, and says how many
/// calls that were.
///
/// # Panics
///
/// Where a guest is told anything else than the filesystem says without a guest, where that is
/// not what the model says, or where what is left in the end differs.
pub fn check(bytes: &[u8]) -> usize {
    let (paths, operations) = decode(bytes);
    let made = [Interface::Preview1, Interface::Preview2]
        .map(|interface| check_one(interface, paths, &operations));
    made.into_iter().sum()
}

fn check_one(interface: Interface, paths: Paths, operations: &[Operation]) -> usize {
    let mut reference = Reference::new(paths, interface);
    let mut script = Script::default();
    let steps = match interface {
        Interface::Preview1 => steps(&mut reference, &mut script, operations, &Preview1),
        Interface::Preview2 => {
            let root = script.root();
            steps(&mut reference, &mut script, operations, &Preview2 { root })
        }
    };
    let guests = filesystem(paths);
    let ran = Guest::of(interface).run(script, &guests, limits());
    compare(interface, &steps, &ran);
    reference.finish();
    compare_filesystems(&guests, reference.filesystem());
    steps.len()
}

/// Operations of one sequence that may answer at length: a guest's memory is not endless.
const MOST_AT_LENGTH: usize = 8;

/// The steps that operations become, known in advance by the filesystem without a guest.
fn steps(
    reference: &mut Reference,
    script: &mut Script,
    operations: &[Operation],
    backend: &dyn Backend,
) -> Vec<Step> {
    let mut nodes: Vec<Arg> = Vec::new();
    let mut steps = Vec::new();
    let mut at_length = 0;
    for operation in operations {
        let Some(operation) = reference.resolve(operation) else {
            continue;
        };
        if let Operation::List(_) | Operation::ReadLink(_) = operation {
            at_length += 1;
            if at_length > MOST_AT_LENGTH {
                continue;
            }
        }
        let expected = reference.perform(&operation);
        let (reading, opened) = backend.add(script, &operation, &nodes, &expected);
        match (&operation, &expected, opened) {
            (_, Outcome::Opened(_), Some(opened)) => nodes.push(opened),
            (Operation::Close(node), ..) => {
                nodes.swap_remove(*node);
            }
            _ => {}
        }
        steps.push(Step {
            operation,
            expected,
            reading,
        });
    }
    steps
}

fn compare(interface: Interface, steps: &[Step], ran: &Ran) {
    let mut differs = ran.ending.exit_code != Some(0);
    let mut told = String::new();
    for step in steps {
        let outcome = (step.reading)(&ran.memory);
        let agrees = step.expected.agrees(&outcome);
        differs |= !agrees;
        let mark = if agrees { ' ' } else { '!' };
        let (operation, expected) = (&step.operation, &step.expected);
        // A String takes everything.
        let _ = writeln!(
            told,
            "{mark} {operation:?}\n    is {expected:?}\n    told {outcome:?}"
        );
    }
    assert!(
        !differs,
        "{interface:?} ended {:?} after\n{told}",
        ran.ending
    );
}

/// The same is left, and counted, behind the guest and without one.
fn compare_filesystems(guests: &Filesystem, own: &Filesystem) {
    for filesystem in [guests, own] {
        assert_eq!(filesystem.faults(), Vec::<String>::new());
    }
    let [theirs, ours] = [guests, own].map(Filesystem::usage);
    assert_eq!(
        (theirs.bytes, theirs.inodes),
        (ours.bytes, ours.inodes),
        "what is held behind the guest, and without one"
    );
    let [theirs, ours] = [guests, own].map(|filesystem| tree(&filesystem.root()));
    assert_eq!(theirs, ours, "what is left by the guest, and without one");
}

/// All that is below a directory: paths with kind, size and links.
fn tree(root: &Node) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![(".".to_owned(), root.clone())];
    while let Some((path, directory)) = left.pop() {
        let mut names = Vec::new();
        let read = directory.read_dir(0, &mut |entry: Entry<'_>| {
            if entry.name != "." && entry.name != ".." {
                names.push(entry.name.to_owned());
            }
            ControlFlow::Continue(())
        });
        found.push(format!("{path} {read:?}"));
        names.sort();
        for name in names {
            let path = format!("{path}/{name}");
            let metadata = directory.metadata_of(&name, Follow::No);
            let shown = metadata.map(|it| (it.kind, it.size, it.links));
            found.push(format!(
                "{path} {shown:?} {:?}",
                directory.read_link_of(&name)
            ));
            let is_directory = metadata.is_ok_and(|it| it.kind == Kind::Directory);
            if is_directory && let Ok(open) = directory.open(&name, Follow::No, Open::default(), 0)
            {
                left.push((path, open));
            }
        }
    }
    found
}
