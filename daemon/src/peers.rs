//! How the roster judges peers: which machine an organisation may prove itself with, and whether evidence over round keys holds.

use std::sync::Arc;
use std::time::SystemTime;

use consort_attestation::Role;
use consort_attestation::channel::{PeerDirectory, Refused};
use consort_attestation::statements::{self, ReportData};
use consort_attestation::{
    Attester, ChipId, Evidence, Expected, HostData, IdentityKey, MachineBinding, Verifier,
};
use consort_contract::{COORDINATOR, OrganisationId, Roster, RosterEntry};
use consort_round::messages::{RoundKeyJudge, RoundKeys};

/// The roster and the verifier together.
#[derive(Clone)]
pub struct RosterPeers {
    roster: Arc<Roster>,
    verifier: Arc<Verifier>,
}

impl RosterPeers {
    /// Judges by this roster and this policy.
    pub fn new(roster: Arc<Roster>, verifier: Arc<Verifier>) -> Self {
        Self { roster, verifier }
    }

    /// The roster.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The verifier.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

/// The machine that a roster entry names.
pub fn binding(entry: &RosterEntry) -> MachineBinding {
    MachineBinding {
        chip_id: ChipId::new(entry.chip_id),
        host_data: HostData::new(entry.host_data),
    }
}

impl PeerDirectory for RosterPeers {
    fn expected(
        &self,
        role: Role,
        organisation: &str,
        identity_key: &IdentityKey,
    ) -> Result<MachineBinding, Refused> {
        let entry = match role {
            Role::Coordinator if organisation == COORDINATOR => self.roster.coordinator(),
            // A roster names no brokers: each organisation pins its own.
            Role::Coordinator | Role::Broker => return Err(Refused::Role),
            Role::Participant => {
                let name =
                    OrganisationId::new(organisation).map_err(|_| Refused::UnknownOrganisation)?;
                self.roster
                    .member(&name)
                    .ok_or(Refused::UnknownOrganisation)?
            }
        };
        if entry.identity.as_bytes() != identity_key.as_bytes() {
            return Err(Refused::IdentityKey);
        }
        Ok(binding(entry))
    }
}

impl RoundKeyJudge for RosterPeers {
    fn judge(&self, keys: &RoundKeys, evidence: &[u8]) -> Result<(), String> {
        let entry = self
            .roster
            .member(&keys.organisation)
            .ok_or("not_in_roster")?;
        let evidence = Evidence::from_bytes(evidence).map_err(|reason| reason.code().to_owned())?;
        let expected = Expected {
            machine: &binding(entry),
            report_data: round_keys_report_data(keys),
        };
        self.verifier
            .verify(&evidence, &expected, SystemTime::now())
            .map(drop)
            .map_err(|reason| reason.code().to_owned())
    }
}

/// Has this machine vouch for the round keys its member drew.
///
/// # Errors
/// The stable code of the attester's fault.
pub fn attest_round_keys(attester: &dyn Attester, keys: &RoundKeys) -> Result<Vec<u8>, String> {
    let evidence = attester
        .attest(round_keys_report_data(keys))
        .map_err(|fault| fault.code().to_owned())?;
    Ok(evidence.to_bytes())
}

/// The round-keys statement. The announcement covers the attempt; the manifest in force is the roster's root.
fn round_keys_report_data(keys: &RoundKeys) -> ReportData {
    let statement = statements::round_keys(&statements::RoundKeys {
        identity_key: &IdentityKey::new(*keys.identity.as_bytes()),
        job: keys.job.as_str().as_bytes(),
        round: keys.round.into(),
        announcement_hash: keys.announcement.as_bytes(),
        organisation: keys.organisation.as_str(),
        mask_key: &keys.mask_key,
        share_key: &keys.share_key,
        manifest_hash: keys.roster_root.as_bytes(),
    });
    statement.report_data()
}
