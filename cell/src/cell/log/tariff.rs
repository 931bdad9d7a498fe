//! What a line costs its VM beyond its own poll: the work of the threads that write it.
//!
//! Cutting and encoding happen in the guest's poll, where they are measured. Two writes of each
//! line happen on threads that work for every VM, where measuring each would cost more than the
//! write: so lines have a price. The test `what_a_line_costs` is how it was found; for long lines
//! it is three times that, which is what they cost in a cell among thirty busy ones.

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
    use std::time::Instant;

    use agentvm_cell_api::log::Stream;
    use agentvm_policy::Limits;
    use agentvm_runtime::thread_cpu;

    use super::super::lane::lane;
    use super::super::writer::{Queues, write_files, write_stdout};
    use super::super::{Names, VmLog};
    use super::*;

    fn names() -> Names {
        Names {
            namespace: "team-a".to_owned(),
            vm: "heron".to_owned(),
            uid: "u-1".to_owned(),
        }
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
        let file = tempfile::tempfile().unwrap();
        let log = VmLog::new(names(), &Limits::default(), Some(file), queues.clone());
        let enough = match writers {
            Writers::Busy => 1 << 16,
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

    #[test]
    #[ignore = "measures: run it alone, with --nocapture, on a machine that does nothing else"]
    fn what_a_write_of_short_lines_takes_of_its_own_poll() {
        let (to_file, file) = lane();
        let (to_stdout, stdout) = lane();
        let queues = Queues {
            file: to_file,
            stdout: to_stdout,
        };
        let null = std::fs::File::create("/dev/null").unwrap();
        let threads = [
            std::thread::spawn(move || write_files(&file)),
            std::thread::spawn(move || write_stdout(&stdout, null)),
        ];
        let limits = Limits {
            log_rate_bytes_per_second: 1 << 40,
            log_total_bytes: 1 << 40,
            ..Limits::default()
        };
        let file = tempfile::tempfile().unwrap();
        let log = VmLog::new(names(), &limits, Some(file), queues);
        for line in ["\n", "one of thirty characters or so\n"] {
            let text = line.repeat(65_536 / line.len());
            let before = thread_cpu();
            for _ in 0..20 {
                log.write(Stream::Stdout, text.as_bytes(), Instant::now());
            }
            let took = thread_cpu().saturating_sub(before) / 20;
            let counts = log.counts();
            eprintln!("{line:?}: 64 KiB take {took:?}, {counts:?} so far");
        }
        drop(log);
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
