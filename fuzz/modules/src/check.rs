//! What a module must not bring about, whatever is in it.

use std::time::Duration;

use agentvm_policy::EndReason;
use agentvm_runtime::host_panics_total;

use crate::module::Module;
use crate::other;
use crate::outcome::Outcome;
use crate::shape::Shape;
use crate::vm::{self, Ran};

/// Time of a processor that any run may take: start, links and end.
const START: Duration = Duration::from_millis(50);
/// And what each unit of fuel may add.
const NANOSECONDS_PER_FUEL: u64 = 100;
/// How long after its deadline a VM may still be there: this machine does other things, too.
const LATE: Duration = Duration::from_secs(5);
/// Fuel above which the price of a unit says more about it than about the start.
const WORTH_PRICING: u64 = 100_000;

/// What was seen of a module that did nothing wrong.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What it was made for.
    pub shape: Shape,
    /// The reason of its end; none where it was refused, as a mangled one may be.
    pub reason: Option<EndReason>,
    /// Whether another engine came to the same; false where there was nothing to compare.
    pub compared: bool,
    /// Time of a processor from its start until all of it was dropped.
    pub cpu: Duration,
    /// Nanoseconds for each unit of fuel, where it used much.
    pub price: Option<u64>,
}

/// What a module brought about and should not have.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A valid module was not taken.
    #[error("a valid module was refused: {0:#}")]
    Refused(anyhow::Error),
    /// The other engine did not take it.
    #[error("the other engine refuses the module: {0}")]
    RefusedElsewhere(wasmi::Error),
    /// The host failed.
    #[error("the host failed: {0}")]
    Host(String),
    /// It used more of the processor than fuel can explain.
    #[error(
        "the host worked {cpu:?} for {fuel} units of fuel, more than {START:?} and \
         {NANOSECONDS_PER_FUEL} ns a unit"
    )]
    Expensive {
        /// Time of a processor.
        cpu: Duration,
        /// What was paid.
        fuel: u64,
    },
    /// It used more fuel than it had.
    #[error("it used {used} units of fuel and had {had}")]
    Fuel {
        /// What it used.
        used: u64,
        /// Its limit.
        had: u64,
    },
    /// It held more memory than it was given.
    #[error("it held {peak} bytes and its limit is {limit}")]
    Memory {
        /// The most that it held.
        peak: u64,
        /// Its limit.
        limit: u64,
    },
    /// It was there long after its deadline.
    #[error("it ran for {0:?}, long after its deadline")]
    Late(Duration),
    /// It ended otherwise than elsewhere.
    #[error("here it {ours}, elsewhere it {theirs}")]
    Differs {
        /// How it ended in a VM.
        ours: Outcome,
        /// How it ended in the other engine.
        theirs: Outcome,
    },
}

/// Runs a module and says what it should not have done.
///
/// # Errors
///
/// That, the first of it.
pub fn check(module: &Module) -> Result<Verdict, Failure> {
    let shape = module.shape;
    let program = match vm::load(module) {
        Err(_) if shape == Shape::Mangled => return Ok(refused(shape)),
        loaded => loaded.map_err(Failure::Refused)?,
    };
    let ran = vm::run(&program, shape).map_err(|error| Failure::Host(error.to_string()))?;
    within_limits(&ran, shape)?;
    let compared = shape == Shape::Pure && compare(module, &ran)?;
    let nanoseconds = u64::try_from(ran.cpu.as_nanos()).unwrap_or(u64::MAX);
    Ok(Verdict {
        shape,
        reason: Some(ran.ending.reason),
        compared,
        cpu: ran.cpu,
        price: (ran.usage.fuel >= WORTH_PRICING).then(|| nanoseconds / ran.usage.fuel.max(1)),
    })
}

fn refused(shape: Shape) -> Verdict {
    Verdict {
        shape,
        reason: None,
        compared: false,
        cpu: Duration::ZERO,
        price: None,
    }
}

fn within_limits(ran: &Ran, shape: Shape) -> Result<(), Failure> {
    let limits = shape.limits();
    if ran.ending.reason == EndReason::HostError || host_panics_total() > 0 {
        return Err(Failure::Host(ran.ending.message.clone()));
    }
    let fuel = ran.usage.fuel;
    if let Some(had) = limits.fuel
        && fuel > had
    {
        return Err(Failure::Fuel { used: fuel, had });
    }
    if ran.cpu > START + Duration::from_nanos(fuel.saturating_mul(NANOSECONDS_PER_FUEL)) {
        return Err(Failure::Expensive { cpu: ran.cpu, fuel });
    }
    let (peak, limit) = (ran.usage.memory_peak_bytes, limits.memory_bytes);
    if peak > limit {
        return Err(Failure::Memory { peak, limit });
    }
    let deadline = Duration::from_millis(limits.timeout_ms.unwrap_or(u64::MAX));
    if ran.wall > deadline.saturating_add(LATE) {
        return Err(Failure::Late(ran.wall));
    }
    Ok(())
}

/// Whether the other engine came to the same; false where one of them came to nothing that the
/// other has to come to.
fn compare(module: &Module, ran: &Ran) -> Result<bool, Failure> {
    let ours = ran.outcome();
    if !ours.is_comparable() {
        return Ok(false);
    }
    let fuel = module.shape.limits().fuel.unwrap_or(u64::MAX);
    let theirs = other::run(&module.wasm, fuel).map_err(Failure::RefusedElsewhere)?;
    if ours == theirs {
        return Ok(true);
    }
    if matches!(theirs, Outcome::Otherwise(_)) || theirs.is_comparable() {
        return Err(Failure::Differs { ours, theirs });
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use agentvm_runtime::{Ending, Usage};

    use super::*;
    use crate::numbers::bytes;

    fn ran(reason: EndReason, usage: Usage, cpu: Duration, wall: Duration) -> Ran {
        Ran {
            ending: Ending {
                reason,
                exit_code: None,
                message: String::new(),
            },
            usage,
            written: Vec::new(),
            cpu,
            wall,
        }
    }

    #[test]
    fn whatever_a_module_must_not_do_is_seen() {
        let second = Duration::from_secs(1);
        let fuel = |fuel| Usage {
            fuel,
            ..Usage::default()
        };
        let memory = |memory_peak_bytes| Usage {
            memory_peak_bytes,
            ..Usage::default()
        };
        let check = |reason, usage, cpu, wall| {
            let seen = within_limits(&ran(reason, usage, cpu, wall), Shape::Wild);
            seen.err().map(|failure| failure.to_string())
        };
        let short = Duration::from_millis(1);
        assert_eq!(check(EndReason::Completed, fuel(9), short, short), None);
        for (reason, usage, cpu, wall, expected) in [
            (
                EndReason::HostError,
                fuel(9),
                short,
                short,
                "the host failed",
            ),
            (
                EndReason::Completed,
                fuel(9),
                second,
                short,
                "the host worked",
            ),
            (
                EndReason::Completed,
                fuel(9_000_000),
                short,
                short,
                "fuel and had",
            ),
            (
                EndReason::Completed,
                memory(9 << 20),
                short,
                short,
                "its limit is",
            ),
            (
                EndReason::Completed,
                fuel(9),
                short,
                60 * second,
                "its deadline",
            ),
        ] {
            let seen = check(reason, usage, cpu, wall).unwrap_or_default();
            assert!(seen.contains(expected), "{expected}: {seen}");
        }
    }

    #[test]
    fn the_digest_of_one_module_is_not_that_of_another() {
        let mut completed = 0;
        let mut digests = BTreeSet::new();
        for seed in 0..100 {
            let module = Module::of(&bytes(seed)).unwrap();
            if module.shape == Shape::Pure {
                let ran = vm::run(&vm::load(&module).unwrap(), module.shape).unwrap();
                if let Outcome::Completed(digest) = ran.outcome() {
                    assert_eq!(digest.len(), 8);
                    completed += 1;
                    digests.insert(digest);
                }
            }
        }
        assert!(completed > 10, "{completed}");
        assert!(digests.len() * 10 > completed * 9, "{digests:?}");
    }

    #[test]
    fn an_end_that_differs_from_that_of_another_module_is_seen() {
        let modules: Vec<Module> = (0..40)
            .filter_map(|seed| Module::of(&bytes(seed)))
            .filter(|module| module.shape == Shape::Pure)
            .collect();
        let swapped = modules
            .iter()
            .zip(modules.iter().skip(1))
            .any(|(one, other)| {
                let ran = vm::run(&vm::load(one).unwrap(), one.shape).unwrap();
                matches!(compare(other, &ran), Err(Failure::Differs { .. }))
            });
        assert!(swapped);
    }
}
