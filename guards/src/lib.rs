//! Switches for guards: each thing that stands between an attack and its success can be switched
//! off by a test, which then shows that the attack succeeds, so that the guard's own test can fail.
//!
//! A crate lists its guards in an enum named `Guard` and makes the switch beside it:
//!
//! ```
//! #[derive(Clone, Copy, Debug, PartialEq, Eq)]
//! pub enum Guard {
//!     /// A name over 255 bytes is refused.
//!     NameLength,
//! }
//!
//! agentvm_guards::switch!(pub when feature = "mutants");
//!
//! fn accepts(name: &str) -> bool {
//!     name.len() <= 255 || !is_on(Guard::NameLength)
//! }
//! # assert!(!accepts(&"x".repeat(256)));
//! ```
//!
//! Where the condition after `when` does not hold, as in every shipped build, `is_on` is a constant
//! and there is nothing to switch.

/// Makes `is_on(Guard) -> bool`, and `switch_off(Guard, during)` where the configuration after
/// `when` holds in the calling crate: `when test`, or `when feature = "mutants"`.
///
/// `switch_off` runs `during` and returns what it returns. The guard is off for that thread alone,
/// and on again afterwards, even where `during` panics. Guards nest: the ones further out stay off.
#[macro_export]
macro_rules! switch {
    ($visibility:vis when $($condition:tt)+) => {
        #[cfg($($condition)+)]
        mod switch {
            use std::cell::RefCell;

            use super::Guard;

            thread_local! {
                static OFF: RefCell<Vec<Guard>> = const { RefCell::new(Vec::new()) };
            }

            /// Switches the guard on again, however its time ends.
            struct Off;

            impl Drop for Off {
                fn drop(&mut self) {
                    OFF.with_borrow_mut(Vec::pop);
                }
            }

            /// Switches `guard` off for whatever this thread does while `during` runs.
            $visibility fn switch_off<T>(guard: Guard, during: impl FnOnce() -> T) -> T {
                OFF.with_borrow_mut(|off| off.push(guard));
                let _off = Off;
                during()
            }

            pub(crate) fn is_on(guard: Guard) -> bool {
                OFF.with_borrow(|off| !off.contains(&guard))
            }
        }

        #[cfg($($condition)+)]
        $visibility use switch::switch_off;

        #[cfg($($condition)+)]
        pub(crate) use switch::is_on;

        #[cfg(not($($condition)+))]
        pub(crate) const fn is_on(_guard: Guard) -> bool {
            true
        }
    };
}
