//! The ports of a demo's daemons: taken from below the range that systems take the ports of outgoing connections from, in
//! blocks that one demo holds as long as it runs. A port that was only seen to be free could be taken by anybody's
//! outgoing connection, or by another demo, before its daemon listens there, or while that daemon is down.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rand_core::{OsRng, RngCore};

use crate::failure::Failure;

/// Ports of a block; the first is the demo's own, which nobody connects to.
const BLOCK: u16 = 32;

/// The blocks to choose from: from 10240 up to 32768, where Linux begins with outgoing connections (`ip_local_port_range`; macOS and
/// RFC 6335 begin at 49152).
const BLOCKS: std::ops::Range<u16> = 320..1024;

/// Where each daemon listens.
pub(super) struct Ports {
    pub(super) participants: SocketAddr,
    pub(super) operators: SocketAddr,
    pub(super) coordinator_metrics: SocketAddr,
    /// One for each member.
    pub(super) metrics: Vec<SocketAddr>,
    /// One for each member that has a broker.
    pub(super) brokers: Vec<SocketAddr>,
    /// What keeps the blocks this demo's.
    /// The first port of each block: other demos keep away from the block while it is held.
    _held: Vec<TcpListener>,
}

impl Ports {
    /// Ports for `members` participants, and as many brokers if they are wanted, on 127.0.0.1.
    ///
    /// # Errors
    /// `no_free_port` where too few blocks are free.
    pub(super) fn hold(members: usize, with_brokers: bool) -> Result<Self, Failure> {
        let brokers = if with_brokers { members } else { 0 };
        let (mut ports, held) = hold(3 + members + brokers)?;
        let brokers = ports.split_off(3 + members);
        let metrics = ports.split_off(3);
        Ok(Self {
            participants: ports[0],
            operators: ports[1],
            coordinator_metrics: ports[2],
            metrics,
            brokers,
            _held: held,
        })
    }
}

/// As many ports as are wanted, each of them free now, and what keeps their blocks.
fn hold(wanted: usize) -> Result<(Vec<SocketAddr>, Vec<TcpListener>), Failure> {
    let mut blocks: Vec<u16> = BLOCKS.collect();
    let start = OsRng.next_u32() as usize % blocks.len();
    blocks.rotate_left(start);
    let (mut ports, mut held) = (Vec::new(), Vec::new());
    for block in blocks {
        if ports.len() >= wanted {
            break;
        }
        let first = block * BLOCK;
        if let Ok(listener) = listen(first) {
            held.push(listener);
            let rest = first + 1..first + BLOCK;
            let free = rest.filter_map(|port| listen(port).ok()?.local_addr().ok());
            ports.extend(free);
        }
    }
    if ports.len() < wanted {
        let what = format!(
            "{wanted} ports of 127.0.0.1 between {} and {} are needed, and {} are free; end what listens there",
            BLOCKS.start * BLOCK,
            BLOCKS.end * BLOCK - 1,
            ports.len()
        );
        return Err(Failure::failed("no_free_port", what));
    }
    ports.truncate(wanted);
    Ok((ports, held))
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn demos_at_one_time_never_share_a_port_and_no_outgoing_connection_takes_one() {
        let demos: Vec<_> = (0..20).map(|_| Ports::hold(40, true).unwrap()).collect();
        let mut seen = BTreeSet::new();
        for demo in &demos {
            let own = [demo.participants, demo.operators, demo.coordinator_metrics];
            for address in own.iter().chain(&demo.metrics).chain(&demo.brokers) {
                assert!(seen.insert(address.port()), "{address} was given out twice");
                assert!(address.port() < 32768);
                drop(TcpListener::bind(address).expect("nobody listens there"));
            }
        }
        assert_eq!(seen.len(), 20 * (3 + 40 + 40));
    }

    #[test]
    fn too_many_members_are_refused_with_the_number_of_ports() {
        let refused = Ports::hold(30_000, false).err().expect("too few ports");
        assert!(refused.to_string().contains("30003"), "{refused}");
    }
}
