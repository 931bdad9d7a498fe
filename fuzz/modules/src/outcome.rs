//! What came of a module, in words that both engines share.

use std::fmt;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this digest of its state.
    Completed(Vec<u8>),
    /// By a trap.
    Trapped(TrapKind),
    /// Its fuel was used up: a matter of prices, which differ.
    OutOfFuel,
    /// By something that only one of them knows, such as an exit code or a deadline.
    Otherwise(String),
}

impl Outcome {
    /// Whether another engine has to come to the same.
    pub fn is_comparable(&self) -> bool {
        match self {
            Self::Completed(_) => true,
            Self::Trapped(kind) => *kind != TrapKind::StackExhausted,
            Self::OutOfFuel | Self::Otherwise(_) => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(digest) => write!(f, "completed with {digest:02x?}"),
            Self::Trapped(kind) => write!(f, "trapped: {kind:?}"),
            Self::OutOfFuel => f.write_str("out of fuel"),
            Self::Otherwise(what) => f.write_str(what),
        }
    }
}

/// The ways to trap that programs have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapKind {
    /// `unreachable`.
    Unreachable,
    /// An access outside of a memory.
    MemoryOutOfBounds,
    /// An access outside of a table.
    TableOutOfBounds,
    /// A call of an element that is null.
    NullElement,
    /// A call of an element of another type.
    WrongType,
    /// A division by zero.
    DivisionByZero,
    /// An integer that does not fit.
    IntegerOverflow,
    /// A float that is no integer.
    NoInteger,
    /// Too many calls in each other: how many that is differs.
    StackExhausted,
}

impl TrapKind {
    /// The kind that a message of the runtime begins with.
    pub(crate) fn of_message(message: &str) -> Option<Self> {
        let known = [
            ("wasm `unreachable` instruction", Self::Unreachable),
            ("out of bounds memory access", Self::MemoryOutOfBounds),
            ("undefined element", Self::TableOutOfBounds),
            ("out of bounds table access", Self::TableOutOfBounds),
            ("uninitialized element", Self::NullElement),
            ("indirect call type mismatch", Self::WrongType),
            ("integer divide by zero", Self::DivisionByZero),
            ("integer overflow", Self::IntegerOverflow),
            ("invalid conversion to integer", Self::NoInteger),
            ("call stack exhausted", Self::StackExhausted),
        ];
        let trap = message.strip_prefix("the program trapped: ")?;
        let found = known.into_iter().find(|(text, _)| trap.starts_with(text));
        found.map(|(_, kind)| kind)
    }
}
