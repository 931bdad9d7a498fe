//! From manifest to decision: what an `AgentVM` asks for and what an `AgentPolicy` rules, as
//! the types of `agentvm_policy`; and the manifest's durations as [`Duration`].
//!
//! The API server has refused what is malformed before anyone reads it here. Objects from an
//! older CRD or from a file have not passed it, so every method says what is wrong and where.

mod mount;
mod network;

use std::fmt::Display;
use std::time::Duration;

use agentvm_policy::{EgressAsk, LimitField, LimitRequest, Request};

pub use mount::{AskedFiles, AskedItem, AskedMount, AskedSource, ObjectKind};
pub(crate) use mount::{MOST_NAMES, SIZE_LIMIT};
pub(crate) use network::allowed;
pub use network::{AskedEgress, AskedInject, HOLE};

use crate::agentvm::{AgentVM, LimitsSpec, Quantity};
use crate::field::FieldError;
use crate::{duration, quantity};

/// Grace where a manifest names none.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// The longest grace.
pub const MAX_GRACE: Duration = agentvm_policy::budget::STOP_GRACE.duration();
/// The longest time for which an ended object is kept.
pub const MAX_TTL: Duration = agentvm_policy::budget::KEPT_AFTER_END.duration();

impl AgentVM {
    /// What the manifest asks for. Call `agentvm_policy::effective` with it.
    pub fn request(&self) -> Result<Request, FieldError> {
        let limits = self.limits()?;
        let clock = self
            .spec
            .capabilities
            .as_ref()
            .and_then(|capabilities| capabilities.clock.as_ref());
        let clock =
            clock.map(|clock| clock_step("spec.capabilities.clock.resolution", &clock.resolution));
        Ok(Request {
            limits,
            clock_resolution_ns: clock.transpose()?,
            secret_mounts: self
                .mounts()?
                .iter()
                .filter_map(AskedMount::secret_field)
                .collect(),
            egress: self.egress()?.iter().map(EgressAsk::from).collect(),
        })
    }

    /// The limits that it names, whatever is wrong with the rest.
    pub fn limits(&self) -> Result<LimitRequest, FieldError> {
        let limits = self.spec.limits.as_ref();
        let limits = limits.map(|limits| limit_request("spec.limits", limits));
        Ok(limits.transpose()?.unwrap_or_default())
    }

    /// Time between closing stdin and the stop; [`DEFAULT_GRACE`] where the manifest names none.
    pub fn grace_period(&self) -> Result<Duration, FieldError> {
        let text = self.spec.termination_grace_period.as_deref();
        let grace = text
            .map(|text| period("spec.terminationGracePeriod", text, MAX_GRACE))
            .transpose()?;
        Ok(grace.unwrap_or(DEFAULT_GRACE))
    }

    /// How long the object is kept after its end; `None` keeps it.
    pub fn ttl(&self) -> Result<Option<Duration>, FieldError> {
        let text = self.spec.ttl_after_finished.as_deref();
        text.map(|text| period("spec.ttlAfterFinished", text, MAX_TTL))
            .transpose()
    }

    /// Where the module comes from: exactly one of `image` and `module`.
    pub fn source(&self) -> Result<Source<'_>, FieldError> {
        match (&self.spec.image, &self.spec.module) {
            (Some(image), None) => Ok(Source::Image(image)),
            (None, Some(module)) => Ok(Source::ConfigMap(&module.config_map)),
            (Some(_), Some(_)) => Err(FieldError::new(
                "spec",
                "names both image and module, exactly one of them is allowed",
            )),
            (None, None) => Err(FieldError::new(
                "spec",
                "names neither image nor module, exactly one of them is needed",
            )),
        }
    }

    /// The node that the operator assigned, with the assignment's epoch.
    pub fn assignment(&self) -> Option<&crate::agentvm::Assignment> {
        self.status
            .as_ref()
            .and_then(|status| status.assignment.as_ref())
    }

    /// Its phase; `None` before anyone has written its status.
    pub fn phase(&self) -> Option<crate::agentvm::Phase> {
        self.status.as_ref().and_then(|status| status.phase)
    }
}

/// Where a module comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// An OCI reference.
    Image(&'a str),
    /// A key of a ConfigMap in the same namespace.
    ConfigMap(&'a crate::agentvm::ConfigMapKey),
}

/// The limits below `path` as numbers.
pub(crate) fn limit_request(path: &str, limits: &LimitsSpec) -> Result<LimitRequest, FieldError> {
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
    let path = |field: LimitField| format!("{path}.{}", field.name());
    Ok(LimitRequest {
        memory_bytes: number(path(LimitField::Memory), memory.as_ref(), quantity::whole)?,
        cpu_millicores: number(path(LimitField::Cpu), cpu.as_ref(), quantity::milli)?,
        fuel: number(path(LimitField::Fuel), fuel.as_ref(), quantity::whole)?,
        timeout_ms: timeout
            .as_deref()
            .map(|text| parsed(path(LimitField::Timeout), text, duration::milliseconds))
            .transpose()?,
        log_rate_bytes_per_second: number(
            path(LimitField::LogRate),
            log_rate.as_ref(),
            quantity::whole,
        )?,
        log_total_bytes: number(
            path(LimitField::LogTotal),
            log_total.as_ref(),
            quantity::whole,
        )?,
        storage_bytes: number(path(LimitField::Storage), storage.as_ref(), quantity::whole)?,
        inodes: number(path(LimitField::Inodes), inodes.as_ref(), quantity::whole)?,
        open_files: number(
            path(LimitField::OpenFiles),
            open_files.as_ref(),
            quantity::whole,
        )?,
        connections: number(
            path(LimitField::Connections),
            connections.as_ref(),
            quantity::whole,
        )?,
        egress_bytes: number(path(LimitField::Egress), egress.as_ref(), quantity::whole)?,
        egress_bytes_per_second: number(
            path(LimitField::EgressRate),
            egress_rate.as_ref(),
            quantity::whole,
        )?,
    })
}

/// The step of a clock in nanoseconds.
pub(crate) fn clock_step(path: &str, text: &str) -> Result<u64, FieldError> {
    parsed(path.to_owned(), text, duration::nanoseconds)
}

fn number<E: Display>(
    path: String,
    quantity: Option<&Quantity>,
    read: impl Fn(&str) -> Result<u64, E>,
) -> Result<Option<u64>, FieldError> {
    quantity
        .map(|quantity| parsed(path, &quantity.0, read))
        .transpose()
}

fn parsed<E: Display>(
    path: String,
    text: &str,
    read: impl Fn(&str) -> Result<u64, E>,
) -> Result<u64, FieldError> {
    read(text).map_err(|error| FieldError::new(path, format!("{:?} {error}", shortened(text))))
}

fn period(path: &str, text: &str, longest: Duration) -> Result<Duration, FieldError> {
    let period = Duration::from_millis(parsed(path.to_owned(), text, duration::milliseconds)?);
    if period > longest {
        let longest = agentvm_policy::human::duration_ms(longest.as_secs().saturating_mul(1_000));
        return Err(FieldError::new(
            path,
            format!("asks for {text}, the longest is {longest}"),
        ));
    }
    Ok(period)
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
