//! Guests that work on memory and tables in bulk, or want ever more of them.

use super::{again, module};

/// Fills `mib` MiB in one instruction, for ever.
pub(crate) fn fills(mib: u32) -> Vec<u8> {
    let bytes = mib << 20;
    let fill = format!("(memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes}))");
    module(mib * 16, "", &again(&fill))
}

/// Fills `mib` MiB once, and ends.
pub(crate) fn fills_once(mib: u32) -> Vec<u8> {
    let bytes = mib << 20;
    let fill = format!("(memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes}))");
    module(mib * 16, "", &fill)
}

/// Copies `mib` MiB onto itself, shifted, for ever.
pub(crate) fn copies(mib: u32) -> Vec<u8> {
    let bytes = (mib << 20) - 1;
    let copy = format!("(memory.copy (i32.const 1) (i32.const 0) (i32.const {bytes}))");
    module(mib * 16, "", &again(&copy))
}

/// Stores into each page of `mib` MiB, for ever.
pub(crate) fn stores(mib: u32) -> Vec<u8> {
    let store = format!(
        "(local.set $at (i32.const 0))
         (loop $page
           (i32.store (local.get $at) (i32.const 1))
           (local.set $at (i32.add (local.get $at) (i32.const 4096)))
           (br_if $page (i32.lt_u (local.get $at) (i32.const {}))))",
        mib << 20
    );
    module(mib * 16, "", &format!("(local $at i32) {}", again(&store)))
}

/// Fills and copies a table as large as may be, for ever.
pub(crate) fn fills_tables() -> Vec<u8> {
    let body = again(
        "(table.fill $t (i32.const 0) (ref.func $f) (i32.const 60000))
         (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 59999))",
    );
    let table = "(table $t 60000 funcref) (func $f) (elem declare func $f)";
    module(1, table, &body)
}

/// Grows and fills its memory, and grows a table, for ever.
pub(crate) fn grows() -> Vec<u8> {
    let body = again(
        "(drop (memory.grow (i32.const 100)))
         (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65535)))
         (drop (table.grow $t (ref.null func) (i32.const 1000000)))
         (drop (table.grow $t (ref.null func) (i32.const 1000)))",
    );
    module(1, "(table $t 1 funcref)", &body)
}

/// Grows 8 tables as far as it gets, for ever.
pub(crate) fn grows_tables() -> Vec<u8> {
    let grow: Vec<String> = (0..8)
        .map(|table| {
            format!(
                "(drop (table.grow {table} (ref.func $f) (i32.const 1000000)))
                 (drop (table.grow {table} (ref.func $f) (i32.const 10000)))"
            )
        })
        .collect();
    let tables = "(table 1 funcref)".repeat(8);
    let declared = format!("{tables} (func $f) (elem declare func $f)");
    module(1, &declared, &again(&grow.concat()))
}

/// Grows by a page as often as it gets one and fills each, then traps.
pub(crate) fn grows_until_it_traps() -> Vec<u8> {
    let body = again(
        "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
         (memory.fill (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536))
           (i32.const 1) (i32.const 65536))",
    );
    module(1, "", &body)
}
