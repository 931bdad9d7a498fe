//! The verdict on every object, as a person and as a program reads it.

use std::fmt;

use agentvm_crds::FieldError;
use agentvm_crds::agentvm::{EffectiveStatus, LimitsSpec};
use serde::Serialize;

/// The verdict on all objects.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// False where any object is refused.
    pub(crate) accepted: bool,
    /// In the order of the files.
    pub(crate) objects: Vec<Judged>,
}

/// The verdict on one object.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Judged {
    /// The file it stands in.
    pub(crate) file: String,
    /// Its kind.
    pub(crate) kind: String,
    /// Its namespace, where its kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// Accepted, refused or not checked.
    pub(crate) outcome: Outcome,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Problem>,
    /// What is worth knowing and no reason to refuse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// What an AgentVM would be granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) granted: Option<EffectiveStatus>,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    /// A cluster would take it.
    Accepted,
    /// A cluster, or its policies, would refuse it.
    Refused,
    /// It is of a kind that is not ours.
    NotChecked,
}

/// One reason to refuse an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// Path of the field.
    pub(crate) field: String,
    /// One sentence.
    pub(crate) message: String,
}

impl From<FieldError> for Problem {
    fn from(FieldError { field, message }: FieldError) -> Self {
        Self { field, message }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.iter().try_for_each(|object| object.fmt(f))
    }
}

impl fmt::Display for Judged {
    /// One line for each thing to say, each of which names file and object: made for `grep`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            kind,
            namespace,
            name,
            outcome,
            problems,
            notes,
            granted,
        } = self;
        let place = namespace
            .as_ref()
            .map(|namespace| format!("{namespace}/"))
            .unwrap_or_default();
        let object = format!("{file}: {kind} {place}{name}");
        match outcome {
            Outcome::Accepted => writeln!(
                f,
                "{object}: OK{}",
                granted.as_ref().map(grants).unwrap_or_default()
            )?,
            Outcome::NotChecked => writeln!(f, "{object}: not checked, its kind is not ours")?,
            Outcome::Refused => {
                for Problem { field, message } in problems {
                    writeln!(f, "{object}: refused: {field}: {message}")?;
                }
            }
        }
        notes
            .iter()
            .try_for_each(|note| writeln!(f, "{object}: note: {note}"))
    }
}

/// `, gets memory 64Mi, cpu 250m, ...; may ask GET https://api.example.com:443 /v1/*`.
fn grants(granted: &EffectiveStatus) -> String {
    let EffectiveStatus {
        limits,
        clock_resolution,
        egress: rules,
        refused: _,
    } = granted;
    let LimitsSpec {
        memory,
        cpu,
        fuel,
        timeout,
        log_rate,
        log_total,
        storage,
        inodes,
        open_files,
        connections,
        egress,
        egress_rate,
    } = limits;
    let quantity = |quantity: &Option<agentvm_crds::agentvm::Quantity>| {
        quantity.as_ref().map(|quantity| quantity.0.clone())
    };
    let computes = [
        ("memory", quantity(memory), "unlimited"),
        ("cpu", quantity(cpu), "unlimited"),
        ("fuel", quantity(fuel), "unlimited"),
        ("timeout", timeout.clone(), "none"),
        ("log rate", quantity(log_rate), "unlimited"),
        ("log total", quantity(log_total), "unlimited"),
        ("storage", quantity(storage), "none"),
        ("inodes", quantity(inodes), "none"),
        ("open files", quantity(open_files), "none"),
        ("clock", clock_resolution.clone(), "1ms"),
    ];
    let asks = [
        ("connections", quantity(connections), "none"),
        ("egress", quantity(egress), "none"),
        ("egress rate", quantity(egress_rate), "none"),
    ];
    let has_network = !rules.is_empty();
    let parts: Vec<String> = computes
        .into_iter()
        .chain(asks.into_iter().filter(|_| has_network))
        .map(|(name, value, absent)| format!("{name} {}", value.as_deref().unwrap_or(absent)))
        .collect();
    let mut text = format!(", gets {}", parts.join(", "));
    if has_network {
        text.push_str("; may ask ");
        text.push_str(&rules.join("; "));
    }
    text
}
