//! What the cell's own process uses, from a file that is opened before the jail closes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::time::{ClockId, clock_gettime};

/// Reads the process's figures.
#[derive(Debug)]
pub(super) struct Figures {
    stat: File,
    page_bytes: u64,
}

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) resident_bytes: u64,
    pub(super) threads: u32,
    pub(super) cpu_ns: u64,
}

impl Figures {
    /// Opens `/proc/self/stat` for later. The page size comes from a file as well.
    pub(super) fn open() -> io::Result<Self> {
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        Ok(Self {
            stat: File::open("/proc/self/stat")?,
            page_bytes,
        })
    }

    /// Reads them now.
    pub(super) fn read(&self) -> io::Result<Reading> {
        let mut text = [0; 1024];
        let length = self.stat.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_ns = u64::try_from(cpu.tv_sec).unwrap_or(0) * 1_000_000_000
            + u64::try_from(cpu.tv_nsec).unwrap_or(0);
        Ok(Reading {
            cpu_ns,
            ..parse(&text, self.page_bytes)
        })
    }
}

/// Threads and resident pages of `/proc/PID/stat`, counted after the name, which may hold
/// anything, in parentheses.
fn parse(stat: &str, page_bytes: u64) -> Reading {
    let numbers = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // The state is field 3, so field n is at n - 3.
    let field = |number: usize| numbers.split_ascii_whitespace().nth(number - 3);
    let pages: u64 = field(24).and_then(|text| text.parse().ok()).unwrap_or(0);
    Reading {
        resident_bytes: pages * page_bytes,
        threads: field(20).and_then(|text| text.parse().ok()).unwrap_or(0),
        cpu_ns: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "12 (a) b c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 500 21";
        let reading = parse(stat, 4096);
        assert_eq!(reading.threads, 17);
        assert_eq!(reading.resident_bytes, 21 * 4096);
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let reading = Figures::open().unwrap().read().unwrap();
        assert!(reading.threads >= 1 && reading.resident_bytes > 0 && reading.cpu_ns > 0);
    }
}
