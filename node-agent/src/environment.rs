//! A guest's arguments and environment: what the manifest declares, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use agentvm_cell_api::cell::VmSpec;
use agentvm_crds::agentvm::{AgentVMSpec, EnvVar};
use agentvm_crds::conditions::ImageReason;

use crate::desired::Want;
use crate::expand::expand;
use crate::mounts::{self, Contents};
use crate::plan::Start;
use crate::problem::{Problem, StartReason};

/// Text values of the `ConfigMap`s that an environment names, by name; `None` where there is
/// no such `ConfigMap`.
pub type ConfigMaps = BTreeMap<String, Option<BTreeMap<String, String>>>;

/// Names of the `ConfigMap`s that the environment reads.
pub fn config_maps(spec: &AgentVMSpec) -> BTreeSet<&str> {
    let sources = spec
        .env
        .iter()
        .filter_map(|variable| variable.value_from.as_ref());
    sources
        .map(|source| source.config_map_key_ref.name.as_str())
        .collect()
}

/// What the cell is given for a start.
pub fn vm_spec(start: &Start, maps: &ConfigMaps, contents: &Contents) -> Result<VmSpec, Problem> {
    let want = &start.want;
    let env = variables(&want.namespace, &want.spec.env, maps)?;
    Ok(VmSpec {
        name: want.name.clone(),
        epoch: want.epoch,
        attempt: start.attempt,
        fence_deadline_boottime_ms: None,
        module: start.module.sha256.clone(),
        kind: start.module.kind,
        args: arguments(want, &env),
        env,
        grants: start.grants,
        mounts: mounts::mounts(&want.namespace, &want.mounts, contents)?,
        keep_files: false,
    })
}

/// True where a run with `spec`, started by another agent, does not follow `want`.
///
/// Values that came from a `ConfigMap` are taken as they were: a run keeps what it read. Mounted
/// files follow their objects while it runs.
pub fn runs_otherwise(spec: &VmSpec, want: &Want) -> bool {
    let declared = &want.spec.env;
    let names: BTreeSet<&str> = declared
        .iter()
        .map(|variable| variable.name.as_str())
        .collect();
    let same_names = names
        .iter()
        .copied()
        .eq(spec.env.keys().map(String::as_str));
    let same_values = last_values(declared)
        .iter()
        .all(|(name, value)| spec.env.get(*name).map(String::as_str) == Some(*value));
    let same_args = spec.args == arguments(want, &spec.env);
    let same_grants = want.grants().is_none_or(|wanted| {
        let (old, new) = (&spec.grants, wanted);
        (
            old.limits.memory_bytes,
            old.limits.fuel,
            old.limits.timeout_ms,
            old.limits.storage_bytes,
            old.limits.inodes,
            old.limits.open_files,
            old.clock,
        ) == (
            new.limits.memory_bytes,
            new.limits.fuel,
            new.limits.timeout_ms,
            new.limits.storage_bytes,
            new.limits.inodes,
            new.limits.open_files,
            new.clock,
        )
    });
    let same_mounts = mounts::are_as_asked(&spec.mounts, &want.mounts);
    !(same_names && same_values && same_args && same_grants && same_mounts)
}

/// Literal values by name, where the last declaration of the name is literal.
fn last_values(declared: &[EnvVar]) -> BTreeMap<&str, &str> {
    let mut values = BTreeMap::new();
    for variable in declared {
        match (&variable.value, &variable.value_from) {
            (Some(value), None) => values.insert(variable.name.as_str(), value.as_str()),
            (None | Some(_), _) => values.remove(variable.name.as_str()),
        };
    }
    values
}

fn arguments(want: &Want, env: &BTreeMap<String, String>) -> Vec<String> {
    let program = want
        .source
        .as_ref()
        .map_or("agentvm", |source| source.program_name());
    let arguments = want.spec.args.iter().map(|argument| expand(argument, env));
    std::iter::once(program.to_owned())
        .chain(arguments)
        .collect()
}

fn variables(
    namespace: &str,
    declared: &[EnvVar],
    maps: &ConfigMaps,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut env = BTreeMap::new();
    for (index, variable) in declared.iter().enumerate() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), None) => value.clone(),
            (None, Some(source)) => {
                let key = &source.config_map_key_ref;
                from_config_map(namespace, index, &key.name, &key.key, maps)?
            }
            (Some(_), Some(_)) | (None, None) => {
                let message =
                    format!("spec.env[{index}]: exactly one of value and valueFrom is needed");
                return Err(Problem::new(StartReason::InvalidSpec, message));
            }
        };
        env.insert(variable.name.clone(), value);
    }
    Ok(env)
}

fn from_config_map(
    namespace: &str,
    index: usize,
    name: &str,
    key: &str,
    maps: &ConfigMaps,
) -> Result<String, Problem> {
    let at = format!("spec.env[{index}].valueFrom.configMapKeyRef");
    let Some(Some(map)) = maps.get(name) else {
        let message =
            format!("{at}: there is no ConfigMap {name} in namespace {namespace}; create it");
        return Err(Problem::new(
            StartReason::Image(ImageReason::ConfigMapNotFound),
            message,
        ));
    };
    map.get(key).cloned().ok_or_else(|| {
        let keys: Vec<&str> = map.keys().map(String::as_str).take(10).collect();
        let message = format!(
            "{at}: ConfigMap {namespace}/{name} has no key {key} under data, it has {keys:?}"
        );
        Problem::new(StartReason::Image(ImageReason::KeyNotFound), message)
    })
}
