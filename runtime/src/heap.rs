//! The allocator: what it has handed out, and its free memory, which the system gets when asked to.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the allocator is asked through its C function")
)]

/// Gives the allocator's free memory back to the system.
///
/// Walks the whole heap and holds up other threads that allocate meanwhile, for milliseconds where
/// it is large: call it after much was freed, never on a thread that polls guests. Does nothing
/// where the allocator has no such function.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes no pointer, may be called from any thread at any time, and
    // touches nothing but memory that is free.
    let _given_back = unsafe { libc::malloc_trim(0) };
}

/// Bytes that the allocator has handed out and not got back, what its caches for each thread hold
/// included; 0 where it has no such function.
///
/// Walks the lists of what is free, which takes milliseconds where the heap is large.
pub fn heap_bytes() -> u64 {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `mallinfo2` takes nothing, may be called from any thread at any time, and returns
        // numbers.
        let held = unsafe { libc::mallinfo2() };
        let bytes = held.uordblks.saturating_add(held.hblkhd);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    0
}
