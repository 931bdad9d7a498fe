//! Bounds on what a manifest says, which the API server holds everybody to.

use super::bound::{HOUR, bounds};

bounds! {
    "A manifest":
    IMAGE_CHARS = Count(512), "Characters of `spec.image`", "the manifest is refused";
    ARGS = Count(128), "Items of `spec.args`", "the manifest is refused";
    ARG_CHARS = Count(32_768), "Characters of one argument", "the manifest is refused";
    ENV = Count(128), "Items of `spec.env`", "the manifest is refused";
    ENV_NAME_CHARS = Count(256), "Characters of a variable's name", "the manifest is refused";
    ENV_VALUE_CHARS = Count(32_768), "Characters of a variable's value", "the manifest is refused";
    MOUNT_PATH_CHARS = Count(1_024), "Characters of a mount's path", "the manifest is refused";
    MOUNT_ITEMS = Count(64), "Items of a mounted ConfigMap or Secret", "the manifest is refused";
    ITEM_PATH_CHARS = Count(512), "Characters of an item's path", "the manifest is refused";
    EGRESS_RULES = Count(32), "Items of `capabilities.network.egress`, of a VM or a policy", "the manifest is refused";
    RULE_HOST_CHARS = Count(255), "Characters of a rule's host", "the manifest is refused";
    RULE_PATH_CHARS = Count(1_024), "Characters of a rule's path", "the manifest is refused";
    INJECTED_HEADERS = Count(8), "Headers that one rule injects", "the manifest is refused";
    HEADER_NAME_CHARS = Count(64), "Characters of such a header's name", "the manifest is refused";
    TEMPLATE_CHARS = Count(256), "Characters of its template", "the manifest is refused";
    POLICY_NETWORKS = Count(32), "Items of an AgentPolicy's `capabilities.network.networks`", "the manifest is refused";
    NETWORK_CHARS = Count(43), "Characters of a network", "the manifest is refused";
    EFFECTIVE_RULES = Count(8), "Rules that `status.effective.egress` shows", "the others are counted";
    EFFECTIVE_RULE_CHARS = Count(96), "Characters of each of them", "cut off";
    STOP_GRACE = Milliseconds(HOUR), "`spec.terminationGracePeriod`", "the manifest is refused";
    KEPT_AFTER_END = Milliseconds(30 * 24 * HOUR), "`spec.ttlAfterFinished`", "the manifest is refused";
    CONDITION_BYTES = Bytes(1_024), "Bytes of a condition's message", "cut off";
}
