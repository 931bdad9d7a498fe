//! What an archive may do in a mount.
