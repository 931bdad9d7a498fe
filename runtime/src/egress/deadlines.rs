//! How long a guest is ready to wait for an answer, within what the host is.

use std::time::Duration;

use agentvm_policy::budget;

const CONNECT_WITHIN: Duration = budget::CONNECT_WITHIN.duration();
const FIRST_BYTE_WITHIN: Duration = budget::FIRST_BYTE_WITHIN.duration();
const BODY_IDLE: Duration = budget::BODY_IDLE.duration();
/// The shortest wait: a guest that waits for nothing still gets what is there.
const SHORTEST: Duration = budget::SHORTEST_WAIT.duration();

/// When a guest gives a request up; `None` leaves it to whoever carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// From the request to the headers of the answer.
    pub(crate) answer: Option<Duration>,
    /// Between two pieces of its body.
    pub(crate) idle: Option<Duration>,
}

impl Deadlines {
    /// What a guest asks for, each between [`SHORTEST`] and what the host waits at most.
    pub(crate) fn new(
        connect: Option<Duration>,
        first_byte: Option<Duration>,
        between: Option<Duration>,
    ) -> Self {
        let within = |asked: Option<Duration>, most: Duration| {
            asked.map_or(most, |asked| asked.clamp(SHORTEST, most))
        };
        let asked = connect.or(first_byte).is_some();
        Self {
            answer: asked
                .then(|| within(connect, CONNECT_WITHIN) + within(first_byte, FIRST_BYTE_WITHIN)),
            idle: between.map(|asked| within(Some(asked), BODY_IDLE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f28_times_that_a_guest_names_are_clamped() {
        let (none, all) = (Some(Duration::ZERO), Some(Duration::from_nanos(u64::MAX)));
        assert_eq!(Deadlines::new(None, None, None), Deadlines::default());
        assert_eq!(
            Deadlines::new(none, none, none),
            Deadlines {
                answer: Some(2 * SHORTEST),
                idle: Some(SHORTEST),
            }
        );
        assert_eq!(
            Deadlines::new(all, all, all),
            Deadlines {
                answer: Some(CONNECT_WITHIN + FIRST_BYTE_WITHIN),
                idle: Some(BODY_IDLE),
            }
        );
        let second = Duration::from_secs(1);
        let first = Deadlines::new(None, Some(second), None);
        assert_eq!(first.answer, Some(CONNECT_WITHIN + second));
    }
}
