//! The allocator's free memory: the system gets it back when asked to.
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
