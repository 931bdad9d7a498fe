//! The rules of the schemas in CEL, each with the sentence that a user reads.
//!
//! The numbers come from the same table as the decisions (`agentvm_policy::LimitField`), so the
//! API server, `agentvm validate` and the operator refuse the same values. Every list and
//! string that a rule looks at is bounded in the schema, which keeps the estimated cost within
//! the API server's budget.

mod network;

use agentvm_policy::{LimitField, human};
use serde_json::{Value, json};

pub(crate) use network::{
    egress_rule, host, injected_header, methods, network, rule_path, template,
};

use crate::asked::{MAX_GRACE, MAX_TTL, MOST_NAMES, SIZE_LIMIT};

/// Hours to milliseconds, each unit at most once, largest first: what `crate::duration` reads
/// down to a millisecond, without room for an overflow in CEL's own parser.
const DURATION: &str = "^([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$";
/// A path of names that are not empty, hold no control characters and are not `.` or `..`.
const NAMES: &str = "[^/\\\\x00-\\\\x1f\\\\x7f]+(/[^/\\\\x00-\\\\x1f\\\\x7f]+)*";
const DOTS: &str = "(^|/)[.]{1,2}(/|$)";
const CLOCK_STEP: &str = "^[0-9]{1,7}(ms|us|ns)$";

/// The rules of one limit, wherever it is written.
pub(crate) fn limit(field: LimitField) -> Value {
    let (min, max) = (field.show(field.min()), field.show(field.max()));
    match field {
        LimitField::Timeout => duration(&min, &max, "10m or 1h30m"),
        LimitField::Memory | LimitField::LogTotal | LimitField::Storage | LimitField::Egress => {
            quantity(&min, &max, "a quantity of bytes", "64Mi")
        }
        LimitField::Cpu => quantity(&min, &max, "a quantity of cores", "250m"),
        LimitField::Fuel => quantity(&min, &max, "a quantity of fuel units", "5G"),
        LimitField::LogRate | LimitField::EgressRate => {
            quantity(&min, &max, "a quantity of bytes per second", "64Ki")
        }
        LimitField::Inodes => quantity(&min, &max, "a number of inodes", "16k"),
        LimitField::OpenFiles => quantity(&min, &max, "a number of open files", "128"),
        LimitField::Connections => quantity(&min, &max, "a number of requests in flight", "32"),
    }
}

/// The rules of a quantity that has no bounds of its own.
pub(crate) fn any_quantity() -> Value {
    one(
        "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('0')) >= 0",
        "must be a quantity that is not negative, such as 64Mi or 250m",
    )
}

pub(crate) fn grace() -> Value {
    duration("0s", &hours(MAX_GRACE), "10s")
}

pub(crate) fn ttl() -> Value {
    duration("0s", &hours(MAX_TTL), "1h")
}

pub(crate) fn clock_step() -> Value {
    one(
        &format!(
            "self.matches('{CLOCK_STEP}') && duration(self) >= duration('1ns') && duration(self) <= duration('1ms')"
        ),
        "must be a duration from 1ns to 1ms with one unit, such as 1us",
    )
}

/// The rules over a whole `AgentVM` spec.
pub(crate) fn spec() -> Value {
    json!([
        {
            "rule": "has(self.image) != has(self.module)",
            "message": "exactly one of image and module must be set",
        },
        {
            "rule": "has(self.image) == has(oldSelf.image) && (!has(self.image) || self.image == oldSelf.image)",
            "message": "image is immutable, delete the AgentVM and create another to run another module",
            "fieldPath": ".image",
        },
        {
            "rule": "has(self.module) == has(oldSelf.module) && (!has(self.module) || self.module == oldSelf.module)",
            "message": "module is immutable, delete the AgentVM and create another to run another module",
            "fieldPath": ".module",
        },
        {
            "rule": "self.restartPolicy == oldSelf.restartPolicy",
            "message": "restartPolicy is immutable, delete the AgentVM and create another",
            "fieldPath": ".restartPolicy",
        },
    ])
}

pub(crate) fn image() -> Value {
    one(
        "self.matches('^[A-Za-z0-9\\\\[][A-Za-z0-9._:/@+\\\\[\\\\]-]*$') && !self.contains('://')",
        "must be an OCI reference without a scheme, such as registry.example/agent:1 or registry.example/agent@sha256:...",
    )
}

pub(crate) fn env_name() -> Value {
    one(
        "self.matches('^[A-Za-z_][A-Za-z0-9_.-]*$')",
        "must start with a letter or _ and hold letters, digits, _, . and - alone",
    )
}

pub(crate) fn env_source() -> Value {
    one(
        "has(self.value) != has(self.valueFrom)",
        "exactly one of value and valueFrom must be set",
    )
}

pub(crate) fn object_name() -> Value {
    one(
        "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
        "must be the name of an object: lower-case letters, digits, - and ., starting and ending with a letter or digit",
    )
}

pub(crate) fn config_map_key() -> Value {
    one(
        "self.matches('^[A-Za-z0-9._-]+$')",
        "must be a key of a ConfigMap or Secret: letters, digits, -, _ and . alone",
    )
}

pub(crate) fn mount() -> Value {
    json!([
        {
            "rule": "[has(self.emptyDir), has(self.configMap), has(self.secret)].filter(set, set).size() == 1",
            "message": "exactly one of emptyDir, configMap and secret must be set",
        },
        {
            "rule": "!has(self.readOnly) || self.readOnly || has(self.emptyDir)",
            "message": "a configMap or secret is always read-only, leave readOnly out or set it to true",
            "fieldPath": ".readOnly",
        },
    ])
}

pub(crate) fn mount_path() -> Value {
    json!([
        {
            "rule": format!("self == '/' || (self.matches('^/{NAMES}$') && !self.matches('{DOTS}'))"),
            "message": "must be an absolute path without ., .., // and control characters, not ending with /, such as /work",
        },
        short_names(),
        few_names(MOST_NAMES + 1),
    ])
}

pub(crate) fn item_path() -> Value {
    json!([
        {
            "rule": format!("self.matches('^{NAMES}$') && !self.matches('{DOTS}')"),
            "message": "must be a relative path without ., .., // and control characters, not ending with /, such as tls/server.crt",
        },
        {
            "rule": "!self.startsWith('..')",
            "message": "must not begin with .., such names are the mount's own",
        },
        short_names(),
        few_names(MOST_NAMES),
    ])
}

fn short_names() -> Value {
    json!({
        "rule": "!self.matches('[^/]{256}')",
        "message": "must be of names of at most 255 bytes",
    })
}

/// As many slashes stand in the first path that has too many names.
fn few_names(slashes: usize) -> Value {
    json!({
        "rule": format!("!self.matches('(/[^/]+){{{slashes}}}')"),
        "message": format!("must be of at most {MOST_NAMES} names"),
    })
}

pub(crate) fn size_limit() -> Value {
    let (min, max) = (
        human::bytes(*SIZE_LIMIT.start()),
        human::bytes(*SIZE_LIMIT.end()),
    );
    quantity(&min, &max, "a quantity of bytes", "16Mi")
}

pub(crate) fn node_selector() -> Value {
    one(
        "self.all(key, size(key) <= 317)",
        "a label's key has at most 317 characters",
    )
}

pub(crate) fn match_labels() -> Value {
    node_selector()
}

pub(crate) fn toleration() -> Value {
    json!([
        {
            "rule": "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
            "message": "a toleration without a key tolerates every taint and needs operator Exists",
        },
        {
            "rule": "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "message": "a toleration with operator Exists has no value",
        },
    ])
}

pub(crate) fn selector_requirement() -> Value {
    one(
        "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        "In and NotIn need values, Exists and DoesNotExist have none",
    )
}

fn quantity(min: &str, max: &str, what: &str, example: &str) -> Value {
    one(
        &format!(
            "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('{min}')) >= 0 \
             && quantity(string(self)).compareTo(quantity('{max}')) <= 0"
        ),
        &format!("must be {what} from {min} to {max}, such as {example}"),
    )
}

fn duration(min: &str, max: &str, example: &str) -> Value {
    one(
        &format!(
            "self.matches('{DURATION}') && duration(self) >= duration('{min}') && duration(self) <= duration('{max}')"
        ),
        &format!("must be a duration from {min} to {max} in h, m, s and ms, such as {example}"),
    )
}

fn hours(duration: std::time::Duration) -> String {
    human::duration_ms(duration.as_secs().saturating_mul(1_000))
}

fn one(rule: &str, message: &str) -> Value {
    json!([{ "rule": rule, "message": message }])
}
