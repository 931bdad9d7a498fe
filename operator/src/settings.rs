//! The flags of `agentvm-operator`.

use std::net::SocketAddr;
use std::path::PathBuf;

use agentvm_crds::agentnode::JailLevel;
use clap::{Parser, ValueEnum};

/// Places AgentVMs on nodes and keeps their status true.
#[derive(Clone, Debug, Parser)]
#[command(name = "agentvm-operator", version)]
pub struct Settings {
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(
        long,
        env = "AGENTVM_OPERATOR_LISTEN",
        value_name = "ADDR",
        default_value = "0.0.0.0:8080"
    )]
    pub listen: SocketAddr,

    /// Namespace of the Leases of the operator and of the node agents.
    #[arg(long, env = "AGENTVM_SYSTEM_NAMESPACE", value_name = "NAME", default_value = agentvm_crds::SYSTEM_NAMESPACE)]
    pub system_namespace: String,

    /// Namespaces whose AgentVMs are served; may be given several times. Default: all.
    #[arg(
        long = "namespace",
        env = "AGENTVM_NAMESPACES",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    pub namespaces: Vec<String>,

    /// The weakest jail of a node on which VMs are placed.
    #[arg(
        long,
        env = "AGENTVM_REQUIRE_JAIL",
        value_name = "LEVEL",
        default_value = "full"
    )]
    pub require_jail: RequiredJail,

    /// How many VMs are worked on at once: also the most requests in flight to the API server.
    #[arg(long, env = "AGENTVM_OPERATOR_CONCURRENCY", value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,

    /// This process's name in the Lease and in Events; a random part is added in the Lease.
    /// Default: the host's name.
    #[arg(long, env = "AGENTVM_OPERATOR_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Kubeconfig to use. Default: the Pod's service account, else ~/.kube/config.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Form of the log on stderr.
    #[arg(
        long,
        env = "AGENTVM_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "json"
    )]
    pub log_format: LogFormat,

    /// What is logged, as a tracing filter such as `info` or `agentvm_operator=debug`.
    #[arg(
        long,
        env = "AGENTVM_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,
}

/// The weakest jail that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RequiredJail {
    /// seccomp and Landlock.
    Full,
    /// seccomp alone is enough.
    Partial,
    /// Nothing is required.
    None,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Compact,
}

impl From<RequiredJail> for JailLevel {
    fn from(required: RequiredJail) -> Self {
        match required {
            RequiredJail::Full => Self::Full,
            RequiredJail::Partial => Self::Partial,
            RequiredJail::None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Settings;

    #[test]
    fn every_flag_has_an_env_and_a_doc() {
        let command = Settings::command();
        command.clone().debug_assert();
        for flag in command
            .get_arguments()
            .filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
        {
            assert!(flag.get_env().is_some(), "{} has no env", flag.get_id());
            assert!(flag.get_help().is_some(), "{} has no doc", flag.get_id());
        }
    }
}
