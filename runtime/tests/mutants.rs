//! Shows that each guard holds something back.
