//! `spec.mounts`: the directories that a VM sees, as users write them.

use agentvm_policy::budget;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agentvm::Quantity;
use crate::{cel, schema};

/// One directory that the VM sees. Exactly one of `emptyDir`, `configMap` and `secret`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::mount()))]
pub struct Mount {
    /// Where the VM sees it: absolute, such as `/work`; `/` is the whole tree.
    #[schemars(length(min = 1, max = budget::MOUNT_PATH_CHARS.value), extend("x-kubernetes-validations" = cel::mount_path()))]
    pub path: String,
    /// Refuses every write. Default false for `emptyDir`; `configMap` and `secret` are always
    /// read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// A directory in memory: empty when the VM starts, gone when its run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirMount>,
    /// The keys of a ConfigMap in the same namespace as files. A change reaches the VM while it
    /// runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapMount>,
    /// The keys of a Secret in the same namespace as files, where a policy allows it. A change
    /// reaches the VM while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretMount>,
}

/// A directory in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmptyDirMount {
    /// Bytes that it holds at most, such as `16Mi`; `limits.storage` bounds all mounts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::size_limit")]
    pub size_limit: Option<Quantity>,
}

/// The keys of a ConfigMap as files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapMount {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = cel::object_name()))]
    pub name: String,
    /// The keys to mount and their paths; absent mounts every key by its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::MOUNT_ITEMS.value), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub items: Vec<KeyToPath>,
    /// Mode of files that have none of their own, 0 to 511. Default 420, which is octal 0644.
    /// Of a mode only the owner's read bit is looked at: without it the file can't be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
    /// Starts the VM with an empty directory where the ConfigMap or a key in `items` does not
    /// exist. Default false: it waits until they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// The keys of a Secret as files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretMount {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = cel::object_name()))]
    pub secret_name: String,
    /// The keys to mount and their paths; absent mounts every key by its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::MOUNT_ITEMS.value), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub items: Vec<KeyToPath>,
    /// Mode of files that have none of their own, 0 to 511. Default 420, which is octal 0644.
    /// Of a mode only the owner's read bit is looked at: without it the file can't be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
    /// Starts the VM with an empty directory where the Secret or a key in `items` does not
    /// exist. Default false: it waits until they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// One key of a ConfigMap or Secret, and the file that shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyToPath {
    /// The key.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = cel::config_map_key()))]
    pub key: String,
    /// The file's path below the mount, such as `tls/server.crt`.
    #[schemars(length(min = 1, max = budget::ITEM_PATH_CHARS.value), extend("x-kubernetes-validations" = cel::item_path()))]
    pub path: String,
    /// The file's mode, 0 to 511: decimal 256 is octal 0400. Default `defaultMode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub mode: Option<i32>,
}
