//! What a line costs its VM beyond its own poll: the work of the threads that write it.
//!
//! Cutting and encoding happen in the guest's poll, where they are measured. Two writes of each
//! line happen on threads that work for every VM, where measuring each would cost more than the
//! write: so lines have a price. The test `what_a_line_costs` is how it was found.

use std::time::Duration;

use agentvm_policy::budget;

use super::writer::Writers;
use crate::guards::{Guard, is_on};

/// What writing a line of JSON of `bytes` costs.
pub(super) fn price(bytes: usize, writers: Writers) -> Duration {
    if !is_on(Guard::LogCharge) {
        return Duration::ZERO;
    }
    let by_length = super::wide(bytes).saturating_mul(budget::LOG_KIB_COST.value) / 1_024;
    let wake = match writers {
        Writers::Busy => 0,
        Writers::Asleep => budget::LOG_WAKE_COST.value,
    };
    let nanos = budget::LOG_LINE_COST.value.saturating_add(by_length);
    Duration::from_nanos(nanos.saturating_add(wake))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};

    use agentvm_policy::Limits;
    use rustix::time::{ClockId, clock_gettime};

    use super::super::lane::lane;
    use super::super::writer::{Queues, write_files, write_stdout};
    use super::super::{Names, VmLog};
    use super::*;

    fn thread_cpu() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.try_into().unwrap(),
            time.tv_nsec.try_into().unwrap(),
        )
    }

    /// CPU time of both threads for each of `lines` lines of `bytes`.
    fn measure(lines: u32, bytes: usize, writers: Writers) -> Duration {
        let (to_file, file) = lane();
        let (to_stdout, stdout) = lane();
        let (mut read_end, write_end) = pipe().unwrap();
        let files = std::thread::spawn(move || {
            write_files(&file);
            thread_cpu()
        });
        let stdout = std::thread::spawn(move || {
            write_stdout(&stdout, write_end);
            thread_cpu()
        });
        let reader = std::thread::spawn(move || {
            let mut chunk = vec![0; 65_536];
            while read_end.read(&mut chunk).unwrap() > 0 {}
        });
        let queues = Queues {
            file: to_file,
            stdout: to_stdout,
        };
        let names = Names {
            namespace: "team-a".to_owned(),
            vm: "heron".to_owned(),
            uid: "u-1".to_owned(),
        };
        let file = tempfile::tempfile().unwrap();
        let log = VmLog::new(names, &Limits::default(), Some(file), queues.clone());
        let enough = match writers {
            Writers::Busy => 100,
            Writers::Asleep => 0,
        };
        for _ in 0..lines {
            while queues.pending() > enough {
                std::thread::sleep(Duration::from_micros(100));
            }
            queues.line(&log, vec![b'x'; bytes]);
        }
        // The threads end with the last sender.
        drop((queues, log));
        let used = files.join().unwrap() + stdout.join().unwrap();
        reader.join().unwrap();
        used / lines
    }

    #[test]
    #[ignore = "measures: run it alone, with --nocapture, on a machine that does nothing else"]
    fn what_a_line_costs() {
        for writers in [Writers::Busy, Writers::Asleep] {
            for bytes in [200, 1_024, 4_096] {
                let cost = measure(20_000, bytes, writers);
                let price = price(bytes, writers);
                eprintln!("{writers:?}: {bytes} bytes: {cost:?}, price {price:?}");
            }
        }
    }
}
