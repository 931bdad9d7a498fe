//! Bounds on what comes of stdout and stderr.

use super::bound::bounds;

bounds! {
    "Output":
    LOG_LINE_BYTES = Bytes(4_096), "One line of a log, newline included", "goes on in the next line";
    UNFINISHED_LINE_BYTES = Bytes(3_072), "Text that waits for its newline", "written as it is";
    PARTIAL_LINE_AFTER = Milliseconds(100), "How long text waits for its newline", "written as it is";
    WAITING_LINES = Count(256), "Lines of one VM that wait to be written", "dropped, `agentvm_vm_log_dropped_bytes_total`";
    QUEUED_LINES = Count(4_096), "Lines of one cell that wait in each queue", "dropped, `agentvm_vm_log_dropped_bytes_total`";
    LOG_FILE_BYTES = Bytes(1 << 20), "The file with the newest lines of one VM", "the older half goes";
}
