//! How the roster judges peers: which machine an organisation may prove itself with, and whether evidence over round keys holds.

use std::sync::Arc;
use std::time::SystemTime;

use consort_attestation::Role;
use consort_attestation::channel::{InForce, PeerDirectory, Refused};
use consort_attestation::statements::{self, ReportData};
use consort_attestation::{
    Attester, ChipId, Evidence, Expected, HostData, IdentityKey, MachineBinding, Reason,
};
use consort_contract::{COORDINATOR, OrganisationId, Roster, RosterEntry};
use consort_round::messages::{RoundKeyJudge, RoundKeys};

/// Which organisation has which key and machine, by the roster.
pub struct RosterDirectory(pub Arc<Roster>);

/// The roster, and the rules of the manifest in force.
#[derive(Clone)]
pub struct RosterPeers {
    roster: Arc<Roster>,
    in_force: Arc<InForce>,
}

impl RosterPeers {
    /// Judges by this roster and by the rules in force at each time.
    pub fn new(roster: Arc<Roster>, in_force: Arc<InForce>) -> Self {
        Self { roster, in_force }
    }
}

/// Why evidence is refused that names the manifest before the one in force, and is good otherwise.
pub const OLDER_MANIFEST: &str = "older_manifest";

/// The machine that a roster entry names.
pub fn binding(entry: &RosterEntry) -> MachineBinding {
    MachineBinding {
        chip_id: ChipId::new(entry.chip_id),
        host_data: HostData::new(entry.host_data),
    }
}

impl PeerDirectory for RosterDirectory {
    fn expected(
        &self,
        role: Role,
        organisation: &str,
        identity_key: &IdentityKey,
    ) -> Result<MachineBinding, Refused> {
        let entry = match role {
            Role::Coordinator if organisation == COORDINATOR => self.0.coordinator(),
            // A roster names no brokers: each organisation pins its own.
            Role::Coordinator | Role::Broker | Role::StartingParticipant => {
                return Err(Refused::Role);
            }
            Role::Participant => {
                let name =
                    OrganisationId::new(organisation).map_err(|_| Refused::UnknownOrganisation)?;
                self.0.member(&name).ok_or(Refused::UnknownOrganisation)?
            }
        };
        if entry.identity.as_bytes() != identity_key.as_bytes() {
            return Err(Refused::IdentityKey);
        }
        Ok(binding(entry))
    }

    fn owner(&self, role: Role, machine: &MachineBinding) -> Option<String> {
        let is_its = |entry: &RosterEntry| binding(entry) == *machine;
        // A machine that hides its chip is told from others by its launch configuration alone, which any host can set.
        if machine.chip_id == ChipId::HIDDEN {
            return None;
        }
        match role {
            Role::Coordinator => is_its(self.0.coordinator()).then(|| COORDINATOR.to_owned()),
            Role::Participant => {
                let mut owners = self.0.members().filter(|(_, entry)| is_its(entry));
                let first = owners.next().map(|(name, _)| name.as_str().to_owned());
                // Two on one machine cannot be told apart.
                first.filter(|_| owners.next().is_none())
            }
            Role::Broker | Role::StartingParticipant => None,
        }
    }
}

impl RoundKeyJudge for RosterPeers {
    fn judge(&self, keys: &RoundKeys, evidence: &[u8]) -> Result<(), String> {
        let entry = self
            .roster
            .member(&keys.organisation)
            .ok_or("not_in_roster")?;
        let evidence = Evidence::from_bytes(evidence).map_err(|reason| reason.code().to_owned())?;
        let rules = self.in_force.rules();
        let judge = |manifest: &[u8; 32]| {
            let expected = Expected {
                machine: &binding(entry),
                report_data: round_keys_report_data(keys, manifest),
            };
            let verdict = rules
                .verifier
                .verify(&evidence, &expected, SystemTime::now());
            verdict.map(drop)
        };
        match (judge(&rules.manifest.hash), &rules.replaces) {
            // Good evidence of a member that has not taken the newest manifest yet.
            (Err(Reason::ReportData), Some(older)) if judge(older).is_ok() => {
                Err(OLDER_MANIFEST.to_owned())
            }
            (verdict, _) => verdict.map_err(|reason| reason.code().to_owned()),
        }
    }
}

/// Has this machine vouch for the round keys its member drew, under the manifest in force.
///
/// # Errors
/// The stable code of the attester's fault.
pub fn attest_round_keys(
    attester: &dyn Attester,
    in_force: &InForce,
    keys: &RoundKeys,
) -> Result<Vec<u8>, String> {
    let evidence = attester
        .attest(round_keys_report_data(
            keys,
            &in_force.rules().manifest.hash,
        ))
        .map_err(|fault| fault.code().to_owned())?;
    Ok(evidence.to_bytes())
}

/// The round-keys statement. The announcement covers the attempt; the manifest covers the policy and the roster.
fn round_keys_report_data(keys: &RoundKeys, manifest: &[u8; 32]) -> ReportData {
    let statement = statements::round_keys(&statements::RoundKeys {
        identity_key: &IdentityKey::new(*keys.identity.as_bytes()),
        job: keys.job.as_str().as_bytes(),
        round: keys.round.into(),
        announcement_hash: keys.announcement.as_bytes(),
        organisation: keys.organisation.as_str(),
        mask_key: &keys.mask_key,
        share_key: &keys.share_key,
        manifest_hash: manifest,
    });
    statement.report_data()
}
