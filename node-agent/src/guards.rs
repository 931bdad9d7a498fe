//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between what was said and what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing is stopped because its object left the watch before a live read agrees.
    LiveRead,
    /// The agent cuts the request with the policies itself.
    OwnCut,
    /// Nothing starts before every rule that may hold is known.
    KnownRules,
    /// Nothing is done before every cell that runs has been listed.
    Survey,
    /// An older epoch than the one that runs changes nothing.
    Epoch,
    /// No VM that may ask for network starts before the gateway has its rules.
    RulesFirst,
    /// No namespace fetches and compiles in all places.
    FetchLeft,
}

agentvm_guards::switch!(pub(crate) when test);
