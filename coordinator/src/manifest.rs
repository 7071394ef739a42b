//! The signed statement that goes with a released model: what it is, who is in it, and what it cost.

use consort_aggregation::{Canonical, Digest};
use consort_contract::identity::{hex, unhex};
use consort_contract::{IdentityKey, IdentitySecret, Signature};
use consort_contract::{Job, JobKind, TargetSpec};
use serde::{Deserialize, Serialize};

use crate::jobs::JobState;

/// A round that is in the model, or that was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRound {
    /// The round.
    pub round: u32,
    /// The attempt that ended it.
    pub attempt: u32,
    /// Whose updates are in the sum; nobody's when the round was lost.
    pub survivors: Vec<String>,
}

/// What is said about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form: 1.
    pub version: u32,
    /// The consortium.
    pub consortium: String,
    /// Root of the roster, hexadecimal.
    pub roster_root: String,
    /// The job's name.
    pub job: String,
    /// What its author called it.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Hash of the contract, hexadecimal.
    pub contract: String,
    /// Rounds, oldest first.
    pub rounds: Vec<ManifestRound>,
    /// Epsilon spent, against the coordinator with c_noise colluders, by the exact accountant.
    pub epsilon: f64,
    /// Epsilon of the whole job as planned, by Rényi accounting.
    pub epsilon_rdp: f64,
    /// Epsilon of the whole job as planned against k colluders, k from 0.
    pub epsilon_by_coalition: Vec<f64>,
    /// Delta.
    pub delta: f64,
    /// Members whose noise is not counted.
    pub c_noise: u32,
    /// Noise multiplier.
    pub sigma: f64,
    /// `simulated`, or `hardware`: evidence of AMD SEV-SNP or Intel TDX under vendors' roots.
    pub attestation: String,
    /// Dangerous choices in force at the coordinator.
    pub dangerous: Vec<String>,
    /// SHA-256 of the model's file, hexadecimal.
    pub model_sha256: String,
    /// What a model of classes, numbers or counts gives; nothing for any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<ManifestOutputs>,
}

/// What a model's outputs stand for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestOutputs {
    /// The target that it was trained on, with its public constants.
    pub target: TargetSpec,
    /// How a prediction follows from the outputs of the last layer.
    pub prediction: String,
}

impl ManifestOutputs {
    /// Those of a job that trains; nothing for a binary target, whose output is the logit of the positive class.
    pub fn of(job: &Job) -> Option<Self> {
        let target = job.document().data.target();
        let trains = job.algorithm().kind() == JobKind::Training;
        let prediction = target.kind.prediction().filter(|_| trains)?;
        Some(Self {
            target: target.clone(),
            prediction,
        })
    }
}

/// A manifest and the coordinator's signature under it: what the file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedManifest {
    /// What is signed.
    pub manifest: Manifest,
    /// Ed25519 by the coordinator's identity key over the canonical encoding, hexadecimal.
    pub signature: String,
}

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not a manifest.
    #[error("the manifest cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// The signature does not hold.
    #[error("the manifest is not signed by this coordinator, or was changed afterwards")]
    Signature,
    /// It is about another file.
    #[error("the model's file is not the one that the manifest names; download both again")]
    OtherModel,
}

impl ManifestError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "manifest_form",
            Self::Signature => "manifest_signature",
            Self::OtherModel => "manifest_other_model",
        }
    }
}

impl Manifest {
    /// What is said about a job's model.
    pub fn of(
        state: &JobState,
        roster: &consort_contract::Roster,
        simulated: bool,
        dangerous: &[String],
        model: &[u8],
    ) -> Self {
        let contract = &state.contract;
        let document = contract.job.document();
        let noise = contract.plan.noise();
        let round = |round: &crate::jobs::EndedRound| ManifestRound {
            round: round.key.round.0,
            attempt: round.key.attempt.0,
            survivors: (round.survivors.iter())
                .filter_map(|member| contract.name_of(*member))
                .map(ToString::to_string)
                .collect(),
        };
        Self {
            version: 1,
            consortium: roster.consortium().to_string(),
            roster_root: roster.root().to_string(),
            job: contract.id.to_string(),
            name: document.name.to_string(),
            purpose: document.purpose.to_string(),
            contract: contract.hash.to_string(),
            rounds: state.rounds.iter().map(round).collect(),
            epsilon: contract.epsilon_after(state.spent_rounds),
            epsilon_rdp: noise.spend().rdp().value(),
            epsilon_by_coalition: contract.plan_to_wire().epsilon_by_coalition,
            delta: document.privacy.delta,
            c_noise: document.privacy.c_noise,
            sigma: noise.noise_multiplier().value(),
            attestation: if simulated { "simulated" } else { "hardware" }.to_owned(),
            dangerous: dangerous.to_vec(),
            model_sha256: Digest::of(model).to_string(),
            outputs: ManifestOutputs::of(&contract.job),
        }
    }

    /// Signs it as the coordinator; the bytes of the file.
    pub fn sign(self, coordinator: &IdentitySecret) -> Vec<u8> {
        let signature = hex(&coordinator.sign(&self.canonical()).0);
        let signed = SignedManifest {
            manifest: self,
            signature,
        };
        serde_json::to_vec_pretty(&signed).expect("a manifest holds nothing that JSON cannot hold")
    }

    fn canonical(&self) -> Vec<u8> {
        let real = f64::to_bits;
        let mut canonical = Canonical::new("consort/release/manifest/v1")
            .u64(self.version.into())
            .str(&self.consortium)
            .str(&self.roster_root)
            .str(&self.job)
            .str(&self.name)
            .str(&self.purpose)
            .str(&self.contract)
            .list(self.rounds.len());
        for round in &self.rounds {
            canonical = canonical.u64(round.round.into()).u64(round.attempt.into());
            canonical = texts(canonical, &round.survivors);
        }
        canonical = canonical
            .u64(real(self.epsilon))
            .u64(real(self.epsilon_rdp))
            .list(self.epsilon_by_coalition.len());
        for epsilon in &self.epsilon_by_coalition {
            canonical = canonical.u64(real(*epsilon));
        }
        canonical = canonical
            .u64(real(self.delta))
            .u64(self.c_noise.into())
            .u64(real(self.sigma))
            .str(&self.attestation);
        let canonical = texts(canonical, &self.dangerous).str(&self.model_sha256);
        // A model of two outcomes has the bytes that it had before there were others.
        let canonical = match &self.outputs {
            None => canonical,
            Some(outputs) => outputs.target.encode(canonical).str(&outputs.prediction),
        };
        canonical.finish()
    }
}

fn texts(canonical: Canonical, list: &[String]) -> Canonical {
    list.iter()
        .fold(canonical.list(list.len()), |canonical, text| {
            canonical.str(text)
        })
}

/// Checks a manifest's signature and that it is about this file.
///
/// # Errors
/// [`ManifestError`].
pub fn verify_manifest(
    manifest: &[u8],
    model: &[u8],
    coordinator: &IdentityKey,
) -> Result<Manifest, ManifestError> {
    let signed: SignedManifest = serde_json::from_slice(manifest)?;
    let signature = unhex(&signed.signature).and_then(|bytes| Signature::from_slice(&bytes));
    let signature = signature.ok_or(ManifestError::Signature)?;
    coordinator
        .verify(&signed.manifest.canonical(), &signature)
        .map_err(|_| ManifestError::Signature)?;
    if signed.manifest.model_sha256 != Digest::of(model).to_string() {
        return Err(ManifestError::OtherModel);
    }
    Ok(signed.manifest)
}
