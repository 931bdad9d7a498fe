//! One rule for the network as a manifest asks for it, and whether it can be asked for at all.

use crate::egress::{BadRule, Rule, RuleText};
use crate::guards::{Guard, is_on};

/// One entry of `spec.capabilities.network.egress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressAsk {
    /// What it allows.
    pub rule: RuleText,
    /// Whether it adds a key to what it allows.
    pub injects: bool,
}

/// Why an entry can't be asked for, whatever a policy says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct BadAsk {
    /// The field within the entry, such as `host` or `paths[2]`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl EgressAsk {
    /// Reads the rule, whose key may only go to one host by TLS.
    ///
    /// # Errors
    ///
    /// [`BadAsk`] with the field.
    pub fn read(&self) -> Result<Rule, BadAsk> {
        let rule = Rule::parse(&self.rule).map_err(|bad| BadAsk::of(&bad))?;
        if self.injects && !rule.is_one_origin() && is_on(Guard::OneOrigin) {
            return Err(BadAsk {
                field: "inject".to_owned(),
                message: "a key goes to one host by TLS alone: write host without a * and not as \
                          an address, and leave scheme out or at https"
                    .to_owned(),
            });
        }
        Ok(rule)
    }
}

impl BadAsk {
    /// What is wrong with a rule, without the field that it names first.
    pub fn of(bad: &BadRule) -> Self {
        let field = match bad {
            BadRule::Host(_) => "host".to_owned(),
            BadRule::Scheme(_) => "scheme".to_owned(),
            BadRule::Port => "ports".to_owned(),
            BadRule::Methods(_) => "methods".to_owned(),
            BadRule::Path { index, why: _ } => format!("paths[{index}]"),
            BadRule::NoPaths => "paths".to_owned(),
            BadRule::TooMany { field, .. } => (*field).to_owned(),
        };
        let whole = bad.to_string();
        let message = whole.strip_prefix(&field).unwrap_or(&whole);
        Self {
            message: message.trim_start_matches([':', ' ']).to_owned(),
            field,
        }
    }
}
