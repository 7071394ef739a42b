//! What a machine is asked to state: five kinds of statement, never confused, because each report data begins with
//! its own domain: `SHA-512(domain ‖ 0x00 ‖ length-prefixed parts)`.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use consort_aggregation::Canonical;
use sha2::{Digest, Sha512};

use crate::machine::IdentityKey;

/// The 64 bytes that a report carries for its guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReportData([u8; 64]);

impl ReportData {
    /// Takes the bytes as they are. Statements of this project are made by [`Statement::report_data`] instead.
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for ReportData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportData({})", hex::encode(self.0))
    }
}

/// Which side of the protocol a process plays. It is part of the statements, so that none can be reflected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The consortium's coordinator, which accepts connections.
    Coordinator,
    /// An organisation's participant, which opens them.
    Participant,
    /// An organisation's key broker, which accepts connections of that organisation's participants alone.
    Broker,
    /// An organisation's participant before it can open its state, and with it its identity key: evidence alone speaks for it. It
    /// is let in where the key of that state is released, and nowhere else.
    StartingParticipant,
}

impl Role {
    /// The name, as statements carry it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Participant => "participant",
            Self::Broker => "broker",
            Self::StartingParticipant => "starting-participant",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a connection is about: protocol version, consortium, manifest and, where there is one, job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionContext([u8; 32]);

impl SessionContext {
    /// The context of a connection. `consortium` and `manifest_hash` are the hashes of the documents all members signed;
    /// `job` is empty for a connection that serves all jobs.
    pub fn new(
        protocol_version: u64,
        consortium: &[u8; 32],
        manifest_hash: &[u8; 32],
        job: &[u8],
    ) -> Self {
        let hash = Canonical::new("consort/attest/context/v1")
            .u64(protocol_version)
            .bytes(consortium)
            .bytes(manifest_hash)
            .bytes(job)
            .hash();
        Self(*hash.as_bytes())
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A statement in full, before it is hashed. An identity key signs these bytes, hardware signs their hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement(Vec<u8>);

impl Statement {
    fn of(domain: &str) -> Self {
        Self([domain.as_bytes(), &[0]].concat())
    }

    /// Adds a part behind its length, 4 bytes big-endian.
    fn part(mut self, part: &[u8]) -> Self {
        let length = u32::try_from(part.len()).expect("a part is far below 4 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// Adds an integer: a part of 8 bytes, big-endian.
    fn integer(self, value: u64) -> Self {
        self.part(&value.to_be_bytes())
    }

    /// What the hardware is asked to sign.
    pub fn report_data(&self) -> ReportData {
        ReportData(Sha512::digest(&self.0).into())
    }

    /// What an identity key is asked to sign.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `consort/attest/cert/v1`: this TLS key is used by this machine in this role for this long (24 hours at most).
pub fn certificate(
    role: Role,
    own_spki: &[u8],
    not_before: SystemTime,
    not_after: SystemTime,
) -> Statement {
    Statement::of("consort/attest/cert/v1")
        .part(role.name().as_bytes())
        .part(own_spki)
        .integer(unix_seconds(not_before))
        .integer(unix_seconds(not_after))
}

/// What `consort/attest/session/v1` says: this very TLS session ends in this machine.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The speaker's role.
    pub role: Role,
    /// The speaker's TLS key, as DER SubjectPublicKeyInfo.
    pub own_spki: &'a [u8],
    /// The listener's: the exporter does not cover the client's certificate.
    pub peer_spki: &'a [u8],
    /// The session's exporter, 32 bytes under `EXPORTER-consort-attest/v1` (RFC 8446, section 7.5).
    pub exporter: &'a [u8; 32],
    /// The accepting side's nonce.
    pub server_nonce: &'a [u8; 32],
    /// The connecting side's nonce.
    pub client_nonce: &'a [u8; 32],
    /// What the connection is about.
    pub context: SessionContext,
}

/// `consort/attest/session/v1`, good for one connection.
pub fn session(session: &Session<'_>) -> Statement {
    Statement::of("consort/attest/session/v1")
        .part(session.role.name().as_bytes())
        .part(session.own_spki)
        .part(session.peer_spki)
        .part(session.exporter)
        .part(session.server_nonce)
        .part(session.client_nonce)
        .part(&session.context.0)
}

/// `consort/attest/identity/v1`: this machine holds the organisation's identity key, having seen the log up to this
/// witnessed head. Good for 24 hours at most, handed to every peer.
pub fn identity(
    organisation: &str,
    key: &IdentityKey,
    manifest_hash: &[u8; 32],
    log_head: &[u8; 32],
) -> Statement {
    Statement::of("consort/attest/identity/v1")
        .part(organisation.as_bytes())
        .part(key.as_bytes())
        .part(manifest_hash)
        .part(log_head)
}

/// What `consort/attest/round-keys/v1` says: these round keys were made in this machine.
#[derive(Clone, Copy)]
pub struct RoundKeys<'a> {
    /// The organisation's identity key.
    pub identity_key: &'a IdentityKey,
    /// The job's id.
    pub job: &'a [u8],
    /// The round's number.
    pub round: u64,
    /// The hash of the signed announcement that opened this attempt at the round.
    pub announcement_hash: &'a [u8; 32],
    /// The organisation's name.
    pub organisation: &'a str,
    /// The public key that pairwise masks are agreed with.
    pub mask_key: &'a [u8; 32],
    /// The public key that shares are sealed to.
    pub share_key: &'a [u8; 32],
    /// The manifest in force.
    pub manifest_hash: &'a [u8; 32],
}

/// `consort/attest/round-keys/v1`, good for one round, handed to every peer, so that no one stands in the middle of the
/// masks, not even the coordinator.
pub fn round_keys(keys: &RoundKeys<'_>) -> Statement {
    Statement::of("consort/attest/round-keys/v1")
        .part(keys.identity_key.as_bytes())
        .part(keys.job)
        .integer(keys.round)
        .part(keys.announcement_hash)
        .part(keys.organisation.as_bytes())
        .part(keys.mask_key)
        .part(keys.share_key)
        .part(keys.manifest_hash)
}

/// What `consort/attest/key-release/v1` says: this key to seal to was made in this machine, for this one release.
#[derive(Clone, Copy)]
pub struct KeyRelease<'a> {
    /// The broker's nonce.
    pub nonce: &'a [u8; 32],
    /// The public key that the data key is to be sealed to (HPKE, RFC 9180).
    pub hpke_key: &'a [u8],
    /// The data key that is asked for.
    pub key_id: &'a str,
    /// The job it is for; empty where it is for none.
    pub job: &'a [u8],
    /// The manifest in force.
    pub manifest_hash: &'a [u8; 32],
}

/// `consort/attest/key-release/v1`, good for one release by the broker that drew the nonce.
pub fn key_release(release: &KeyRelease<'_>) -> Statement {
    Statement::of("consort/attest/key-release/v1")
        .part(release.nonce)
        .part(release.hpke_key)
        .part(release.key_id.as_bytes())
        .part(release.job)
        .part(release.manifest_hash)
}

/// Whole seconds since 1970; a time before that is 1970.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Session<'static> {
        Session {
            role: Role::Participant,
            own_spki: b"own",
            peer_spki: b"peer",
            exporter: &[1; 32],
            server_nonce: &[2; 32],
            client_nonce: &[3; 32],
            context: SessionContext::new(1, &[4; 32], &[5; 32], b""),
        }
    }

    #[test]
    fn the_layout_is_domain_zero_and_length_prefixed_parts() {
        let statement = identity("a", &IdentityKey::new([1; 32]), &[2; 32], &[3; 32]);
        let mut expected = b"consort/attest/identity/v1\0\0\0\0\x01a".to_vec();
        for byte in 1..=3u8 {
            expected.extend([0, 0, 0, 32]);
            expected.extend([byte; 32]);
        }
        assert_eq!(statement.bytes(), expected);
        assert_eq!(
            statement.report_data(),
            ReportData(Sha512::digest(&expected).into())
        );
    }

    #[test]
    fn every_part_of_a_session_changes_its_statement() {
        let base = sample();
        let changed = [
            Session {
                role: Role::Coordinator,
                ..base
            },
            Session {
                own_spki: b"other",
                ..base
            },
            Session {
                peer_spki: b"other",
                ..base
            },
            Session {
                own_spki: b"ownp",
                peer_spki: b"eer",
                ..base
            },
            Session {
                exporter: &[9; 32],
                ..base
            },
            Session {
                server_nonce: &[9; 32],
                ..base
            },
            Session {
                client_nonce: &[9; 32],
                ..base
            },
            Session {
                context: SessionContext::new(1, &[4; 32], &[5; 32], b"job"),
                ..base
            },
        ];
        for other in changed {
            assert_ne!(session(&base).report_data(), session(&other).report_data());
        }
    }

    #[test]
    fn every_part_of_a_context_changes_it() {
        let base = SessionContext::new(1, &[4; 32], &[5; 32], b"");
        assert_ne!(base, SessionContext::new(2, &[4; 32], &[5; 32], b""));
        assert_ne!(base, SessionContext::new(1, &[9; 32], &[5; 32], b""));
        assert_ne!(base, SessionContext::new(1, &[4; 32], &[9; 32], b""));
        assert_ne!(base, SessionContext::new(1, &[4; 32], &[5; 32], b"job"));
    }

    #[test]
    fn every_part_of_round_keys_changes_their_statement() {
        let (key, other_key) = (IdentityKey::new([1; 32]), IdentityKey::new([2; 32]));
        let base = RoundKeys {
            identity_key: &key,
            job: b"job",
            round: 1,
            announcement_hash: &[3; 32],
            organisation: "a",
            mask_key: &[4; 32],
            share_key: &[5; 32],
            manifest_hash: &[6; 32],
        };
        let changed = [
            RoundKeys {
                identity_key: &other_key,
                ..base
            },
            RoundKeys {
                job: b"other",
                ..base
            },
            RoundKeys { round: 2, ..base },
            RoundKeys {
                announcement_hash: &[9; 32],
                ..base
            },
            RoundKeys {
                organisation: "b",
                ..base
            },
            RoundKeys {
                mask_key: &[9; 32],
                ..base
            },
            RoundKeys {
                share_key: &[9; 32],
                ..base
            },
            RoundKeys {
                manifest_hash: &[9; 32],
                ..base
            },
        ];
        for other in changed {
            assert_ne!(
                round_keys(&base).report_data(),
                round_keys(&other).report_data()
            );
        }
    }

    #[test]
    fn every_part_of_a_key_release_changes_its_statement() {
        let base = KeyRelease {
            nonce: &[1; 32],
            hpke_key: &[2; 1216],
            key_id: "records",
            job: b"job-1",
            manifest_hash: &[3; 32],
        };
        let changed = [
            KeyRelease {
                nonce: &[9; 32],
                ..base
            },
            KeyRelease {
                hpke_key: &[9; 1216],
                ..base
            },
            KeyRelease {
                key_id: "recordsj",
                job: b"ob-1",
                ..base
            },
            KeyRelease {
                job: b"job-2",
                ..base
            },
            KeyRelease {
                manifest_hash: &[9; 32],
                ..base
            },
        ];
        for other in changed {
            assert_ne!(
                key_release(&base).report_data(),
                key_release(&other).report_data()
            );
        }
    }

    #[test]
    fn a_certificate_statement_covers_role_key_and_dates() {
        let at = |seconds| UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let base = certificate(Role::Participant, b"key", at(1), at(2)).report_data();
        assert_ne!(
            base,
            certificate(Role::Coordinator, b"key", at(1), at(2)).report_data()
        );
        assert_ne!(
            base,
            certificate(Role::Participant, b"other", at(1), at(2)).report_data()
        );
        assert_ne!(
            base,
            certificate(Role::Participant, b"key", at(0), at(2)).report_data()
        );
        assert_ne!(
            base,
            certificate(Role::Participant, b"key", at(1), at(3)).report_data()
        );
    }
}
