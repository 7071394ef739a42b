//! What the vendor says of its platforms: three firmware levels, the quoting enclave, and two revocation lists.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use serde_json::{Value, json};
use x509_cert::der::DateTime;

use super::authority::{CPU_SVN, Certified, Key, PCE_SVN};
use super::machine::{MODULE_SVN, QE_SIGNER, QE_SVN};
use super::{FMSPC, SimulatedTdxVendor, faulty, making};
use crate::simulated::SimulationFault;

/// How long collateral lasts, as Intel's does.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Collateral before it is signed.
pub(crate) struct Draft {
    pub(crate) tcb_info: Value,
    pub(crate) qe_identity: Value,
    /// The serial numbers of certificates that the root, and that the PCKs' authority revoked.
    pub(crate) revoked_by_root: Vec<u64>,
    pub(crate) revoked_pcks: Vec<u64>,
    pub(crate) root: Certified,
    pub(crate) pck_authority: Certified,
    pub(crate) signer: Certified,
    /// Whoever certified the signer, where it is not the root.
    pub(crate) signer_issuer: Option<Certified>,
    /// Who signs, where it is not the signer's own key.
    pub(crate) signing_key: Key,
    /// When the lists begin.
    pub(crate) lists_from: SystemTime,
}

impl Draft {
    pub(crate) fn new(
        vendor: &SimulatedTdxVendor,
        now: SystemTime,
    ) -> Result<Self, SimulationFault> {
        let date = |time| {
            let time = DateTime::from_system_time(time).map_err(making)?;
            Ok::<_, SimulationFault>(time.to_string())
        };
        let (from, until) = (date(now)?, date(now + LIFETIME)?);
        let level = |cpu: u8, tdx: u8, status: &str, advisories: &[&str]| {
            json!({
                "tcb": {
                    "sgxtcbcomponents": vec![json!({ "svn": cpu }); CPU_SVN.len()],
                    "pcesvn": PCE_SVN,
                    "tdxtcbcomponents": vec![json!({ "svn": tdx }); CPU_SVN.len()],
                },
                "tcbDate": from, "tcbStatus": status, "advisoryIDs": advisories,
            })
        };
        let module = |isvsvn: u8, status: &str, advisories: &[&str]| {
            json!({
                "tcb": { "isvsvn": isvsvn }, "tcbDate": from, "tcbStatus": status, "advisoryIDs": advisories,
            })
        };
        let no_signer = "0".repeat(96);
        let (attributes, mask) = ("0".repeat(16), "F".repeat(16));
        let tcb_info = json!({
            "id": "TDX", "version": 3, "issueDate": from, "nextUpdate": until,
            "fmspc": hex::encode_upper(FMSPC), "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 20,
            "tdxModule": { "mrsigner": no_signer, "attributes": attributes, "attributesMask": mask },
            "tdxModuleIdentities": [{
                "id": "TDX_01", "mrsigner": no_signer, "attributes": attributes, "attributesMask": mask,
                "tcbLevels": [
                    module(MODULE_SVN, "UpToDate", &[]),
                    module(MODULE_SVN - 1, "OutOfDate", &["INTEL-SA-90002"]),
                ],
            }],
            "tcbLevels": [
                level(3, 0, "UpToDate", &[]),
                level(2, 0, "OutOfDate", &["INTEL-SA-90001"]),
                level(1, 0, "Revoked", &[]),
            ],
        });
        let qe_identity = json!({
            "id": "TD_QE", "version": 2, "issueDate": from, "nextUpdate": until, "tcbEvaluationDataNumber": 20,
            "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": hex::encode_upper(QE_SIGNER), "isvprodid": 2,
            "tcbLevels": [{ "tcb": { "isvsvn": QE_SVN }, "tcbDate": from, "tcbStatus": "UpToDate" }],
        });
        Ok(Self {
            tcb_info,
            qe_identity,
            revoked_by_root: Vec::new(),
            revoked_pcks: Vec::new(),
            root: vendor.root.clone(),
            pck_authority: vendor.pck_authority.clone(),
            signer: vendor.signer.clone(),
            signer_issuer: None,
            signing_key: vendor.signer.key.clone(),
            lists_from: now,
        })
    }

    /// The JSON object of the eight parts.
    pub(crate) fn signed(&self) -> Result<String, SimulationFault> {
        let (tcb_info, qe_identity) = (self.tcb_info.to_string(), self.qe_identity.to_string());
        let sign = |text: &str| hex::encode(self.signing_key.sign_raw(text.as_bytes()));
        let list = |authority, revoked| self.list(authority, revoked);
        let root = self.root.pem()?;
        let between = self.signer_issuer.as_ref().map(Certified::pem);
        let issuer = self.signer.pem()? + &between.transpose()?.unwrap_or_default() + &root;
        Ok(json!({
            "pck_crl_issuer_chain": self.pck_authority.pem()? + &root,
            "root_ca_crl": hex::encode(list(&self.root, &self.revoked_by_root)?),
            "pck_crl": hex::encode(list(&self.pck_authority, &self.revoked_pcks)?),
            "tcb_info_issuer_chain": issuer,
            "tcb_info_signature": sign(&tcb_info),
            "tcb_info": tcb_info,
            "qe_identity_issuer_chain": issuer,
            "qe_identity_signature": sign(&qe_identity),
            "qe_identity": qe_identity,
        })
        .to_string())
    }

    fn list(&self, authority: &Certified, revoked: &[u64]) -> Result<Vec<u8>, SimulationFault> {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: self.lists_from.into(),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: self.lists_from.into(),
            next_update: (self.lists_from + LIFETIME).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&authority.issuer()).map_err(faulty)?;
        Ok(signed.der().to_vec())
    }
}
