//! Bounds on what one VM is made of, and the tariff of what it makes the host do.

use super::bound::bounds;

bounds! {
    "One VM":
    LINEAR_MEMORY_BYTES = Bytes(1 << 30), "One linear memory, whatever `limits.memory` says", "`memory.grow` is -1; a module that declares more is refused, `InvalidModule`";
    MEMORIES = Count(2), "Linear memories", "refused, `InvalidModule`, or the start traps";
    TABLES = Count(16), "Tables", "refused, `InvalidModule`, or the start traps";
    TABLE_ELEMENTS = Count(1 << 16), "Elements of one table", "`table.grow` is -1; a module that declares more is refused, `InvalidModule`";
    TABLE_ELEMENT_BYTES = Bytes(8), "What one element of a table counts of `limits.memory`", "`table.grow` is -1";
    INSTANCES = Count(64), "Core instances of a component", "refused, `InvalidModule`, or the start traps";
    INSTANCE_BYTES = Bytes(1 << 20), "What the host keeps of one instance: its functions, globals, imports", "refused, `InvalidModule`, or the start traps";
    WASM_STACK_BYTES = Bytes(512 << 10), "The stack of the guest's functions", "traps";
    HOST_STACK_BYTES = Bytes(1 << 20), "That stack and the one of the host calls on it", "traps";
    HANDLES = Count(1_024), "Handles of the host that a component holds: descriptors, streams, pollables", "opening a file is `insufficient-memory`; else traps";
    OWN_HANDLES = Count(4_096), "Handles that all parts of a component hold, of the host and of each other", "traps";
    HOSTCALL_BYTES = Bytes(1 << 20), "Host memory that the arguments of one call of a component take", "traps";
    HOST_BYTES = Bytes(64 << 10), "What the host holds for a VM, besides memories and tables, before it counts of `limits.memory`", "it counts";
    STRING_BYTES = Bytes(64), "What an argument or a variable counts there besides its bytes", "`MemoryLimit`";
    OPEN_FILE_BYTES = Bytes(512), "What an open file counts there", "ENOMEM; a component: `insufficient-memory`";
    HANDLE_BYTES = Bytes(512), "What any other handle of a component counts there: a stream, or a pollable with its timer", "traps; a stream of a file: `insufficient-memory`";
    INSTANCE_OVERHEAD_BYTES = Bytes(512), "What an instance counts there besides its functions, globals, imports and passive elements", "`MemoryLimit`";
    PASSIVE_ELEMENT_BYTES = Bytes(16), "What an element of a passive segment counts there, for each instance", "`MemoryLimit`";
    LISTING_BYTES = Bytes(8 << 10), "What a listing of a directory counts there, of a component", "`insufficient-memory`";
    SUBSCRIPTION_BYTES = Bytes(256), "What a subscription counts there for as long as its poll waits", "ENOMEM; a component traps";
    CPU_BURST = Milliseconds(1_000), "How much unused CPU time a VM saves up, at its `limits.cpu`", "delayed, `agentvm_vm_cpu_throttled_seconds_total`";
    CPU_PERIOD = Milliseconds(100), "How long a VM that used up its CPU time waits at least", "delayed, `agentvm_vm_cpu_throttled_seconds_total`";
    FILLED_MIB_COST = Nanoseconds(450_000), "CPU time that a VM can use for each MiB it may have, by storing into all of it for the first time: where that is more than it saves up, it can be stopped more often", "others run";
    STORED_FUEL_COST = Nanoseconds(600), "CPU time that a unit of fuel takes then, at most: how much more often", "others run";
    POLL_COST_MOST = Nanoseconds(50_000), "CPU time of the host's between two turns of guests, or two of their timers, that counts as the second one's, at most", "`limits.cpu`";
    YIELD_FUEL = Fuel(1_000_000), "Fuel between two moments at which a guest can be stopped, and its turn can end", "it goes on while its turn lasts";
    TURN = Milliseconds(1), "The turn of a guest that computes: at the next of these moments others run", "others run";
    CALL_FUEL = Fuel(1_000), "Fuel that any host call costs: about 300 ns", "`limits.fuel`";
    BYTE_FUEL = Fuel(4), "Fuel that a byte costs which the host moves for a guest", "`limits.fuel`";
    STEP_FUEL = Fuel(400), "Fuel that a step of the filesystem costs: about 100 ns", "`limits.fuel`";
    BULK_FUEL = Fuel(100), "Fuel that an instruction costs which calls the host, such as `memory.fill`, besides the 1 for each byte or element", "`limits.fuel`";
    PIECE_BYTES = Bytes(1 << 20), "Bytes that such an instruction fills, copies or writes in one step; in between it pays, others run, and it can be stopped", "others run";
    GROWN_PAGE_FUEL = Fuel(64), "Fuel that each page costs by which a memory grows", "`limits.fuel`";
    TRAP_FRAMES = Count(8), "Functions that the message about a trap names", "the others are not named";
    FUNCTION_NAME_CHARS = Count(64), "Characters of a function's name in that message", "cut off";
}
