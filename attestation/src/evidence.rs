//! Evidence as it travels: a hardware-signed report and the certificate of the key that signed it, stapled by its owner.

use std::fmt;

use consort_aggregation::{Canonical, CanonicalError, CanonicalReader};
use sha2::{Digest, Sha256};

use crate::reason::Reason;
use crate::require::require;

/// The length of an attestation report (AMD 56860, table 23).
pub const REPORT_BYTES: usize = 1184;

/// The most bytes that are read as evidence. A report and a VCEK are 2.6 KB; other hardware's quotes are about 5 KB.
pub const MAX_EVIDENCE_BYTES: usize = 16 * 1024;

/// With which the report begins that the paravisor of an Azure confidential VM keeps in the VM's TPM: a header of 32 bytes, the
/// hardware's report, and the paravisor's claims in JSON. The hardware's report data is the claims' SHA-256: it vouches for the
/// TPM's key, and only a quote of that TPM could vouch for a statement of ours.
const PARAVISOR_SIGNATURE: &[u8] = b"HCLA";

const LABEL: &str = "consort/attest/evidence/v1";

/// An attestation report and the VCEK or VLEK certificate (DER) it was signed under.
///
/// # Security
/// Only the sizes were looked at. What it proves is decided by [`crate::Verifier::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    report: Box<[u8; REPORT_BYTES]>,
    vcek_der: Vec<u8>,
}

impl Evidence {
    /// What [`Evidence::from_bytes`] refuses for, in this order.
    pub(crate) const CHECKS: &'static [Reason] = &[
        Reason::EvidenceSize,
        Reason::EvidenceParavisor,
        Reason::EvidenceTdx,
        Reason::EvidenceEncoding,
        Reason::ReportSize,
    ];

    /// Puts a report together with its VCEK.
    ///
    /// # Errors
    /// [`Reason::EvidenceSize`] when the encoding would pass [`MAX_EVIDENCE_BYTES`].
    pub fn new(report: [u8; REPORT_BYTES], vcek_der: Vec<u8>) -> Result<Self, Reason> {
        let evidence = Self {
            report: Box::new(report),
            vcek_der,
        };
        if evidence.to_bytes().len() > MAX_EVIDENCE_BYTES {
            return Err(Reason::EvidenceSize);
        }
        Ok(evidence)
    }

    /// Reads the canonical encoding, and nothing else.
    ///
    /// # Errors
    /// One of the reasons for the form of evidence: [`Reason::EvidenceSize`] to [`Reason::ReportSize`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Reason> {
        require(bytes.len() <= MAX_EVIDENCE_BYTES, Reason::EvidenceSize)?;
        require(
            !bytes.starts_with(PARAVISOR_SIGNATURE),
            Reason::EvidenceParavisor,
        )?;
        require(!is_tdx_quote(bytes), Reason::EvidenceTdx)?;
        let (report, vcek_der) = Self::split(bytes).map_err(|_| Reason::EvidenceEncoding)?;
        let report = report.try_into().map_err(|_| Reason::ReportSize)?;
        Ok(Self {
            report: Box::new(report),
            vcek_der: vcek_der.to_vec(),
        })
    }

    fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), CanonicalError> {
        let mut reader = CanonicalReader::new(bytes, LABEL)?;
        let halves = (
            reader.bytes(MAX_EVIDENCE_BYTES)?,
            reader.bytes(MAX_EVIDENCE_BYTES)?,
        );
        reader.finish()?;
        Ok(halves)
    }

    /// The canonical encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        Canonical::new(LABEL)
            .bytes(self.report.as_slice())
            .bytes(&self.vcek_der)
            .finish()
    }

    /// The report's bytes.
    pub fn report(&self) -> &[u8; REPORT_BYTES] {
        &self.report
    }

    /// The certificate of the key that signed the report, DER: a VCEK, or a VLEK where the policy allows one.
    pub fn vcek_der(&self) -> &[u8] {
        &self.vcek_der
    }

    /// SHA-256 of the canonical encoding, to name this evidence in records.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.to_bytes()).into()
    }
}

/// Whether this begins as a TDX quote does (Intel TDX DCAP quoting library API, appendix 3): a version of 4 or 5, an attestation key
/// of ECDSA P-256 or P-384, and the TEE's type, each little-endian. The canonical encoding begins with a length of a few bytes.
fn is_tdx_quote(bytes: &[u8]) -> bool {
    const TDX: [u8; 4] = 0x81_u32.to_le_bytes();
    matches!(bytes, [4 | 5, 0, 2 | 3, 0, tee @ ..] if tee.starts_with(&TDX))
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Evidence({} report bytes, {} vcek bytes)",
            self.report.len(),
            self.vcek_der.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Evidence {
        Evidence::new([7; REPORT_BYTES], vec![1, 2, 3]).unwrap()
    }

    #[test]
    fn evidence_survives_its_encoding() {
        assert_eq!(Evidence::from_bytes(&sample().to_bytes()), Ok(sample()));
    }

    #[test]
    fn evidence_past_the_limit_is_refused_both_ways() {
        assert_eq!(
            Evidence::new([0; REPORT_BYTES], vec![0; MAX_EVIDENCE_BYTES]),
            Err(Reason::EvidenceSize)
        );
        assert_eq!(
            Evidence::from_bytes(&vec![0; MAX_EVIDENCE_BYTES + 1]),
            Err(Reason::EvidenceSize)
        );
    }

    #[test]
    fn trailing_bytes_and_another_label_are_refused() {
        let mut longer = sample().to_bytes();
        longer.push(0);
        assert_eq!(Evidence::from_bytes(&longer), Err(Reason::EvidenceEncoding));
        let other = Canonical::new("consort/attest/evidence/v2")
            .bytes(&[7; REPORT_BYTES])
            .bytes(&[1])
            .finish();
        assert_eq!(Evidence::from_bytes(&other), Err(Reason::EvidenceEncoding));
    }

    #[test]
    fn a_paravisors_report_is_refused_by_its_name() {
        let mut blob = b"HCLA".to_vec();
        blob.extend([0; 28]);
        blob.extend([7; REPORT_BYTES]);
        assert_eq!(Evidence::from_bytes(&blob), Err(Reason::EvidenceParavisor));
        blob[0] = b'h';
        assert_eq!(Evidence::from_bytes(&blob), Err(Reason::EvidenceEncoding));
    }

    #[test]
    fn a_tdx_quote_is_refused_by_its_name() {
        let header = [4, 0, 2, 0, 0x81, 0, 0, 0];
        for (at, value, reason) in [
            (0, 4, Reason::EvidenceTdx),
            (0, 5, Reason::EvidenceTdx),
            (2, 3, Reason::EvidenceTdx),
            (0, 3, Reason::EvidenceEncoding),
            (4, 0, Reason::EvidenceEncoding),
        ] {
            let mut quote = [header.as_slice(), &[7; 5000]].concat();
            quote[at] = value;
            assert_eq!(Evidence::from_bytes(&quote), Err(reason), "{at}: {value}");
        }
        assert_eq!(
            Evidence::from_bytes(&header[..7]),
            Err(Reason::EvidenceEncoding)
        );
    }

    #[test]
    fn a_report_of_another_length_is_refused() {
        let short = Canonical::new(LABEL)
            .bytes(&[7; REPORT_BYTES - 1])
            .bytes(&[1])
            .finish();
        assert_eq!(Evidence::from_bytes(&short), Err(Reason::ReportSize));
    }
}
