//! How the gateway runs: its flags.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use agentvm_cell_api::warden::JailLevel;
use clap::Args;

/// The port of name servers.
const DNS: u16 = 53;

/// How the gateway runs.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Directory of the sockets: DIR/gateway.sock for the agent, DIR/channels.sock for cells.
    #[arg(long, env = "AGENTVM_GATEWAY_DIR", value_name = "DIR")]
    pub dir: PathBuf,
    /// A server that resolves names, as IP or IP:PORT; may be given more than once. Default: those
    /// of /etc/resolv.conf, as they are at the start.
    #[arg(
        long = "name-server",
        env = "AGENTVM_NAME_SERVERS",
        value_delimiter = ',',
        value_parser = name_server,
        value_name = "IP[:PORT]"
    )]
    pub name_servers: Vec<SocketAddr>,
    /// The certificate authorities to trust, as PEM. Default: the system's.
    #[arg(long, env = "AGENTVM_ROOT_CERTIFICATES", value_name = "FILE")]
    pub root_certificates: Option<PathBuf>,
    /// Where a line of JSON for each request goes: - is stdout, none is nowhere. A file is
    /// appended to, and nothing here shortens it.
    #[arg(
        long,
        env = "AGENTVM_ACCESS_LOG",
        default_value = "none",
        value_name = "-|FILE|none"
    )]
    pub access_log: AccessLogTo,
    /// The weakest jail to run in: full, partial (no Landlock) or none.
    #[arg(long, env = "AGENTVM_REQUIRE_JAIL", default_value = "full", value_parser = jail_level, value_name = "LEVEL")]
    pub require_jail: JailLevel,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTo {
    /// Nowhere.
    Nowhere,
    /// To stdout.
    Stdout,
    /// To the end of a file.
    File(PathBuf),
}

impl FromStr for AccessLogTo {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "none" => Self::Nowhere,
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

fn jail_level(text: &str) -> Result<JailLevel, String> {
    match text {
        "none" => Ok(JailLevel::None),
        "partial" => Ok(JailLevel::Partial),
        "full" => Ok(JailLevel::Full),
        other => Err(format!(
            "{other:?} is not a jail level: full, partial or none"
        )),
    }
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<IpAddr>().map(|ip| (ip, DNS).into());
    alone
        .or_else(|_has_a_port| text.parse())
        .map_err(|_neither| {
            format!("{text:?} is no address: write 10.96.0.10, 10.96.0.10:53 or [fd00::a]:53")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_needs_no_port() {
        for (text, full) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            assert_eq!(name_server(text), Ok(full.parse().unwrap()));
        }
        assert!(name_server("dns.example").is_err());
    }

    #[test]
    fn the_access_log_goes_where_the_flag_says() {
        assert_eq!("none".parse(), Ok(AccessLogTo::Nowhere));
        assert_eq!("-".parse(), Ok(AccessLogTo::Stdout));
        assert_eq!("/a".parse(), Ok(AccessLogTo::File("/a".into())));
    }
}
