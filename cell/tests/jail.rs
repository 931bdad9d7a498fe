//! L10: what a process can do that took over a cell.

fn main() {}
