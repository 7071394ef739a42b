//! Where an uplink listens: a port of this machine's own, and nowhere else.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An address that only this machine reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackAddress(SocketAddr);

/// A text that names no port of the loopback interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no port on loopback: write PORT, 127.0.0.1:PORT or [::1]:PORT. The port is plain text, so no other interface is offered"
)]
pub struct NotLoopback(String);

impl NotLoopback {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        "uplink_not_loopback"
    }
}

impl LoopbackAddress {
    /// The address to bind; port 0 lets the system choose.
    pub fn socket(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for LoopbackAddress {
    type Err = NotLoopback;

    fn from_str(text: &str) -> Result<Self, NotLoopback> {
        let on_loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        text.parse::<u16>()
            .map(on_loopback)
            .or_else(|_| text.parse())
            .ok()
            .filter(|address: &SocketAddr| address.ip().is_loopback())
            .map(Self)
            .ok_or_else(|| NotLoopback(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_a_port_on_loopback() {
        let address: LoopbackAddress = "7500".parse().unwrap();
        assert_eq!(address.socket().to_string(), "127.0.0.1:7500");
        for spelled in ["127.0.0.1:7500", "[::1]:7500"] {
            let address: LoopbackAddress = spelled.parse().unwrap();
            assert_eq!(address.socket().to_string(), spelled);
        }
    }

    #[test]
    fn an_address_that_others_reach_is_refused() {
        for open in [
            "0.0.0.0:7500",
            "[::]:7500",
            "10.0.0.1:7500",
            "[::ffff:127.0.0.1]:7500",
            "localhost:7500",
            "70000",
            "",
        ] {
            let refused = open.parse::<LoopbackAddress>().unwrap_err();
            assert_eq!(refused.code(), "uplink_not_loopback", "{open}");
        }
    }
}
