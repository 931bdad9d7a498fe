//! Builds the control plane that cluster tests run against, if it is not in the cache yet.

fn main() -> anyhow::Result<()> {
    agentvm_tests::assets::locate_all().map(|_| ())
}
