//! Bounds on the processes of a node and on what they take from each other.

use super::bound::{HOUR, MINUTE, SECOND, bounds};

bounds! {
    "Cells, warden and compilers":
    VMS_PER_CELL = Count(1_000), "VMs of one namespace on one node, unless `--max-vms-per-cell` of the warden says otherwise", "waits for a node with room, `Unschedulable`";
    CELLS = Count(200), "Cells, and so namespaces, that run at once on one node, or as many as the container's memory and threads hold, unless `--max-cells` of the warden says otherwise", "waits for a node with room, `Unschedulable`";
    EMPTY_CELL_BYTES = Bytes(4 << 20), "Memory of a cell without VMs; all cells get an eighth of the container's memory for that", "fewer cells run on the node";
    WARDEN_THREADS = Count(32), "Threads of the warden beside its own, which read and write machine code", "waits";
    ENDED_CELLS = Count(128), "Ended cells that a node remembers", "the oldest end is forgotten";
    CELL_OWN_BYTES = Bytes(48 << 20), "Memory of a cell beyond what its VMs were promised", "under memory pressure the cell that is most over is ended, `Evicted`";
    MAPS_PER_VM = Count(6), "Memory maps of one VM, which `vm.max_map_count` must have", "fewer VMs fit on the node";
    MAPS_PER_CELL = Count(128), "Memory maps of a cell without VMs", "fewer VMs fit on the node";
    CELL_SPARE_FILES = Count(256), "Descriptors of a cell beyond those of its VMs", "connections to it are refused";
    CELL_FILES_PER_VM = Count(5), "Descriptors of a cell for each VM that it may hold", "starting is refused";
    CELL_HELPERS = Count(4), "Threads of a cell that load modules, read logs and work on archives; besides them it has one for each core and five for itself", "waits";
    CONTROL_MILLICORES = Count(250), "Thousandths of a core that a cell's own tasks use while VMs are to be started", "starts wait";
    CONTROL_SAVED = Milliseconds(200), "The time over which that is counted", "starts wait";
    REQUEST_BYTES = Bytes(32 << 20), "The body of a `PUT` of a VM, its mounted files included", "refused, `BadRequest`";
    READ_AT_ONCE_BYTES = Bytes(256 << 10), "A body that is read where requests are answered; a longer one is read elsewhere", "nothing";
    ANSWER_BYTES = Bytes(64 << 20), "One answer of a cell", "the answer is not read";
    CHANGE_WAIT = Milliseconds(5 * MINUTE), "The longest wait for a change", "answered without one";
    GRACE = Milliseconds(24 * HOUR), "The longest grace over a cell's socket", "cut";
    LOG_SETTLES = Milliseconds(200), "How long a reader of a log waits for its newest lines", "read without them";
    CONTROL_BYTES = Bytes(16 << 10), "One message between a warden and its cell", "the cell is ended";
    CONTROL_DESCRIPTORS = Count(2), "Descriptors of one such message", "the cell is ended";
    CELL_REQUESTS = Count(8), "Requests of one cell that the warden works on at once", "waits";
    CODE_READ_BYTES = Bytes(256 << 10), "Bytes of machine code that the warden reads at once", "the next piece follows";
    CELL_START = Milliseconds(20 * SECOND), "From the start of a cell to its serving", "ended and started again";
    CELL_MARGIN = Milliseconds(3 * SECOND), "What cells get beyond the grace of their VMs", "ended";
    HOST_REFUSAL = Milliseconds(30 * SECOND), "How long `StoragePressure` stays after the host's last refusal", "the condition is False";
}
