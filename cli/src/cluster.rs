//! `agentvm cluster`: the chores of the Helm chart's own pods, which have no other program.

mod apply_crds;
mod check;

use std::process::ExitCode;

use anyhow::Context as _;

/// Flags of `agentvm cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    chore: Chore,
}

/// What a pod of the chart has to do.
#[derive(Debug, clap::Subcommand)]
enum Chore {
    /// Applies the CRDs of this version, where the cluster's are not newer.
    ApplyCrds,
    /// Waits until an AgentVM has run to its end, and reads its metrics.
    Check(check::CheckArgs),
}

/// Does one chore as the pod's service account, or as the user of the kubeconfig.
pub(crate) fn cluster(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    // Fails only where one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = kube::Client::try_default()
            .await
            .context("no way to the API server: set KUBECONFIG, or run in a Pod with a token")?;
        match args.chore {
            Chore::ApplyCrds => apply_crds::apply(client).await,
            Chore::Check(args) => check::check(client, &args).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
