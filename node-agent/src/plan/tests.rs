//! The table of the plan: what was wanted, what was seen, what is done.

