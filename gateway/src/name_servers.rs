//! The name servers of the system, where no others are named: read once, before the jail closes.

use std::net::{IpAddr, SocketAddr};

/// Where the system names them.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The port of name servers.
const DNS: u16 = 53;
/// As many as C libraries ask.
const MOST: usize = 3;

/// Why no name can be resolved.
#[derive(Debug, thiserror::Error)]
pub enum NameServersError {
    /// The file can't be read.
    #[error("{RESOLV_CONF} can't be read: name servers by --name-server")]
    Unreadable(#[source] std::io::Error),
    /// The file names none.
    #[error("{RESOLV_CONF} has no line `nameserver IP`: name servers by --name-server")]
    None,
}

/// The servers of the system.
pub(crate) fn of_system() -> Result<Vec<SocketAddr>, NameServersError> {
    let text = std::fs::read_to_string(RESOLV_CONF).map_err(NameServersError::Unreadable)?;
    let servers = parse(&text);
    if servers.is_empty() {
        return Err(NameServersError::None);
    }
    Ok(servers)
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address = words.next()?.parse::<IpAddr>().ok()?;
        is_server.then_some((address, DNS).into())
    };
    text.lines().filter_map(server).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_their_order_and_nothing_else_is() {
        let text = "# nameserver 192.0.2.9\nsearch a.example\nnameserver 192.0.2.1\n\
                    options ndots:5\nnameserver   2001:db8::1 # second\nnameserver here\n";
        let servers: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }
}
