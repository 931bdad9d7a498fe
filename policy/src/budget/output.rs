//! Bounds on what comes of stdout and stderr.
//!
//! Two threads of a cell write each line, to a file and to stdout. What that took of a processor,
//! measured by `cell::log::tariff` on 2 cores of a virtual machine, ext4 and a pipe; in a cell
//! among thirty busy ones, with cold caches, long lines took twice that:
//!
//! | bytes of a line | while others are written | alone, so that the threads are woken | price |
//! | --- | --- | --- | --- |
//! | 200 | 2.2 to 2.6 us | 17 to 27 us | 3.6 us, 28 us |
//! | 1024 | 5.3 to 6.5 us | 18 to 26 us | 10 us, 34 us |
//! | 4096 | 15 to 18 us | 28 to 43 us | 34 us, 58 us |

use super::bound::bounds;

bounds! {
    "Output":
    LOG_LINE_BYTES = Bytes(4_096), "One line of a log, newline included", "goes on in the next line";
    UNFINISHED_LINE_BYTES = Bytes(3_072), "Text that waits for its newline", "written as it is";
    PARTIAL_LINE_AFTER = Milliseconds(100), "How long text waits for its newline", "written as it is";
    WRITE_LOG_BYTES = Bytes(256 << 10), "Lines that one call of a guest writes", "dropped, `agentvm_vm_log_dropped_bytes_total`";
    WAITING_LOG_BYTES = Bytes(1 << 20), "Lines of one VM that wait in each queue, and no more than there is room left in it", "dropped, `agentvm_vm_log_dropped_bytes_total`";
    QUEUED_LOG_BYTES = Bytes(16 << 20), "Lines of one cell that wait in each queue", "dropped, `agentvm_vm_log_dropped_bytes_total`";
    LOG_TURN_BYTES = Bytes(4_096), "Lines of one VM that are written before those of the next one", "they wait for their next turn";
    LOG_LINE_COST = Nanoseconds(2_000), "CPU time that a VM pays for each line of its log, besides that of its own calls", "`limits.cpu`";
    LOG_KIB_COST = Nanoseconds(12_000), "CPU time that it pays for each KiB of these lines", "`limits.cpu`";
    LOG_WAKE_COST = Nanoseconds(24_000), "CPU time that it pays for a line that comes while no other is being written", "`limits.cpu`";
    LOG_FILE_BYTES = Bytes(1 << 20), "The file with the newest lines of one VM", "the older half goes";
}
