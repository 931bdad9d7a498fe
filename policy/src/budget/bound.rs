//! One row of the table, and the macro that keeps constants and rows the same.

use std::time::Duration;

use crate::human;

/// A second in milliseconds, as the rows count time.
pub(super) const SECOND: u64 = 1_000;
/// A minute.
pub(super) const MINUTE: u64 = 60 * SECOND;
/// An hour.
pub(super) const HOUR: u64 = 60 * MINUTE;

/// What a bound counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Milliseconds of the clock on the wall.
    Milliseconds,
    /// Nanoseconds of a processor.
    Nanoseconds,
    /// Units of fuel.
    Fuel,
}

/// A bound that nobody sets for one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The constant's name in [`crate::budget`].
    pub name: &'static str,
    /// How much.
    pub value: u64,
    /// Of what.
    pub unit: Unit,
    /// What it bounds, as a sentence without its end.
    pub what: &'static str,
    /// What the guest or its user sees there.
    pub seen: &'static str,
}

/// Bounds on one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// Its rows, in the order of the document.
    pub bounds: &'static [Bound],
}

impl Bound {
    /// The value, for sizes and lengths in memory.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "there is no other way in a constant; all supported machines have 64 bits"
    )]
    pub const fn usize(self) -> usize {
        self.value as usize
    }

    /// The value, where an interface counts in 32 bits; one above them is the largest of them.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "there is no other way in a constant, and the line above makes it fit"
    )]
    pub const fn u32(self) -> u32 {
        const MOST: u64 = u32::MAX as u64;
        if self.value > MOST {
            u32::MAX
        } else {
            self.value as u32
        }
    }

    /// The value, where an interface counts in 8 bits; one above them is the largest of them.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "there is no other way in a constant, and the line above makes it fit"
    )]
    pub const fn u8(self) -> u8 {
        const MOST: u64 = u8::MAX as u64;
        if self.value > MOST {
            u8::MAX
        } else {
            self.value as u8
        }
    }

    /// The value in MiB, for settings that are written so.
    pub const fn mib(self) -> u64 {
        self.value >> 20
    }

    /// The value in whole seconds, for settings that are written so.
    pub const fn seconds(self) -> u64 {
        self.value / 1_000
    }

    /// The value as a time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.value)
    }

    /// The value as people write it: `64Ki`, `10m`, `1024`.
    pub fn show(self) -> String {
        match self.unit {
            Unit::Bytes => human::bytes(self.value),
            Unit::Count => self.value.to_string(),
            Unit::Milliseconds => human::duration_ms(self.value),
            Unit::Nanoseconds => human::duration_ns(self.value),
            Unit::Fuel => human::count(self.value),
        }
    }
}

/// Makes a constant and a row of the section of each line: name, unit and value, what it bounds,
/// what is seen at the bound.
macro_rules! bounds {
    ($title:literal: $($name:ident = $unit:ident($value:expr), $what:literal, $seen:literal;)+) => {
        $(
            #[doc = concat!($what, ". At the limit: ", $seen, ".")]
            pub const $name: $crate::budget::Bound = $crate::budget::Bound {
                name: stringify!($name),
                value: $value,
                unit: $crate::budget::Unit::$unit,
                what: $what,
                seen: $seen,
            };
        )+

        pub(super) const SECTION: $crate::budget::Section = $crate::budget::Section {
            title: $title,
            bounds: &[$($name),+],
        };
    };
}
pub(super) use bounds;
