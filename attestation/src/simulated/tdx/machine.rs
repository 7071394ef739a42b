//! A TD: it signs quotes of genuine layout over whatever it was configured to declare (Intel TDX DCAP quoting library API,
//! appendix 3).

use std::fmt;

use sha2::{Digest, Sha256};

use super::TdDeclaration;
use super::authority::Key;
use crate::attester::{Attester, AttesterFault};
use crate::evidence::Evidence;
use crate::statements::ReportData;

/// The simulated TDX module's security version, under major version 1.
pub(super) const MODULE_SVN: u8 = 5;

/// Who signed the simulated quoting enclave, and its security version.
pub(super) const QE_SIGNER: [u8; 32] = [0x9E; 32];
pub(super) const QE_SVN: u16 = 4;

/// SEPT_VE_DISABLE, and nothing else.
const ATTRIBUTES: u64 = 1 << 28;

/// x87, SSE, AVX.
const XFAM: u64 = 0x7;

/// What the quoting enclave adds to its key's hash.
const QE_AUTH_DATA: [u8; 32] = [0xA0; 32];

/// An attester of software.
///
/// # Security
/// Its keys lie in this process's memory. Whoever has them can declare anything.
pub struct SimulatedTd {
    declaration: TdDeclaration,
    pck: Key,
    attestation_key: Key,
    chain: String,
}

/// A quote before it is signed.
pub(crate) struct Draft {
    pub(crate) header: [u8; 48],
    /// What stands between header and TD report, in version 5.
    pub(crate) descriptor: Vec<u8>,
    pub(crate) td: Vec<u8>,
    pub(crate) qe_report: [u8; 384],
    pub(crate) qe_auth_data: Vec<u8>,
    /// Whether the quoting enclave's report is made to vouch for the attestation key after all edits.
    pub(crate) vouches: bool,
    pub(crate) attestation_key: Key,
    pub(crate) pck: Key,
    pub(crate) certification: (u16, u16),
    pub(crate) chain: Vec<u8>,
}

impl SimulatedTd {
    pub(super) fn new(declaration: TdDeclaration, pck: Key, chain: String) -> Self {
        Self {
            declaration,
            pck,
            attestation_key: Key::random(),
            chain,
        }
    }

    /// What the machine declares.
    pub fn declaration(&self) -> &TdDeclaration {
        &self.declaration
    }

    /// Signs a quote that was edited first, for cases that a sound verifier must refuse although their signatures are good.
    pub(crate) fn quote_edited(
        &self,
        report_data: ReportData,
        edit: impl FnOnce(&mut Draft),
    ) -> Vec<u8> {
        let mut draft = self.draft(report_data);
        edit(&mut draft);
        draft.signed()
    }

    /// The PCK's certificate and its authority's.
    #[cfg(test)]
    pub(crate) fn chain_without_root(&self) -> &str {
        let root = self.chain.rfind("-----BEGIN").unwrap();
        &self.chain[..root]
    }

    #[cfg(test)]
    pub(crate) fn pck_key(&self) -> &Key {
        &self.pck
    }

    fn draft(&self, report_data: ReportData) -> Draft {
        let mut header = [0; 48];
        header[0] = 4;
        header[2] = 2;
        header[4..8].copy_from_slice(&0x81_u32.to_le_bytes());
        header[12..28].copy_from_slice(&dcap_qvl::INTEL_QE_VENDOR_ID);
        let mut td = vec![0; 584];
        let mut put = |at: usize, bytes: &[u8]| td[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x000, &[MODULE_SVN, 1]); // TEE_TCB_SVN: the module's version, minor and major
        put(0x078, &ATTRIBUTES.to_le_bytes());
        put(0x080, &XFAM.to_le_bytes());
        put(0x088, self.declaration.mr_td.as_bytes());
        put(0x0B8, self.declaration.host_data.as_bytes()); // MRCONFIGID
        put(0x208, report_data.as_bytes());
        let mut qe_report = [0; 384];
        let mut put =
            |at: usize, bytes: &[u8]| qe_report[at..at + bytes.len()].copy_from_slice(bytes);
        put(48, &[0x11]); // ATTRIBUTES: initialised, provisioning key
        put(128, &QE_SIGNER);
        put(256, &2_u16.to_le_bytes()); // ISVPRODID
        put(258, &QE_SVN.to_le_bytes());
        Draft {
            header,
            descriptor: Vec::new(),
            td,
            qe_report,
            qe_auth_data: QE_AUTH_DATA.to_vec(),
            vouches: true,
            attestation_key: self.attestation_key.clone(),
            pck: self.pck.clone(),
            certification: (6, 5),
            chain: [self.chain.as_bytes(), &[0]].concat(),
        }
    }
}

impl Draft {
    fn signed(mut self) -> Vec<u8> {
        if self.vouches {
            let vouched = [self.attestation_key.coordinates(), &self.qe_auth_data].concat();
            self.qe_report[320..352].copy_from_slice(&Sha256::digest(vouched));
        }
        let signed = [self.header.as_slice(), &self.descriptor, &self.td].concat();
        let certified = [
            self.qe_report.as_slice(),
            &self.pck.sign_raw(&self.qe_report),
            &short(self.qe_auth_data.len()),
            &self.qe_auth_data,
            &self.certification.1.to_le_bytes(),
            &long(self.chain.len()),
            &self.chain,
        ]
        .concat();
        let authentication = [
            self.attestation_key.sign_raw(&signed).as_slice(),
            self.attestation_key.coordinates(),
            &self.certification.0.to_le_bytes(),
            &long(certified.len()),
            &certified,
        ]
        .concat();
        [
            signed.as_slice(),
            &long(authentication.len()),
            &authentication,
        ]
        .concat()
    }
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length)
        .expect("a quote is short")
        .to_le_bytes()
}

fn long(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("a quote is short")
        .to_le_bytes()
}

impl Attester for SimulatedTd {
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
        Evidence::of_quote(&self.quote_edited(report_data, |_| ()))
            .map_err(|reason| AttesterFault::new(reason.code()))
    }
}

impl fmt::Debug for SimulatedTd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedTd")
            .field("declaration", &self.declaration)
            .finish_non_exhaustive()
    }
}
