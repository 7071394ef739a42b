//! Evidence as it travels: a hardware-signed report and the certificate of the key that signed it, stapled by its owner, or a quote.

use std::fmt;

use consort_aggregation::{Canonical, CanonicalError, CanonicalReader};
use sha2::{Digest, Sha256};

use crate::reason::{Reason, Technology};
use crate::require::require;
use crate::tdx;

/// The length of an attestation report (AMD 56860, table 23).
pub const REPORT_BYTES: usize = 1184;

/// The most bytes that are read as evidence. A report and a VCEK are 2.6 KB; other hardware's quotes are about 5 KB.
pub const MAX_EVIDENCE_BYTES: usize = 16 * 1024;

/// With which the report begins that the paravisor of an Azure confidential VM keeps in the VM's TPM: a header of 32 bytes, the
/// hardware's report, and the paravisor's claims in JSON. The hardware's report data is the claims' SHA-256: it vouches for the
/// TPM's key, and only a quote of that TPM could vouch for a statement of ours.
const PARAVISOR_SIGNATURE: &[u8] = b"HCLA";

const LABEL: &str = "consort/attest/evidence/v1";

/// What a machine's hardware signed: an SEV-SNP report with the VCEK or VLEK certificate (DER) it was signed under, or a quote of
/// Intel TDX, which brings its own certificates.
///
/// # Security
/// Only the sizes were looked at. What it proves is decided by [`crate::Verifier::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Snp {
        report: Box<[u8; REPORT_BYTES]>,
        vcek_der: Vec<u8>,
    },
    Tdx(Vec<u8>),
}

/// Evidence taken apart, by the kind of machine that it comes from.
pub(crate) enum Parts<'a> {
    Snp {
        report: &'a [u8; REPORT_BYTES],
        vcek_der: &'a [u8],
    },
    Tdx(&'a [u8]),
}

impl Evidence {
    /// What [`Evidence::from_bytes`] refuses for, in this order.
    pub(crate) const CHECKS: &'static [Reason] = &[
        Reason::EvidenceSize,
        Reason::EvidenceParavisor,
        Reason::EvidenceEncoding,
        Reason::ReportSize,
    ];

    /// Puts a report together with its VCEK.
    ///
    /// # Errors
    /// [`Reason::EvidenceSize`] when the encoding would pass [`MAX_EVIDENCE_BYTES`].
    pub fn new(report: [u8; REPORT_BYTES], vcek_der: Vec<u8>) -> Result<Self, Reason> {
        let evidence = Self(Kind::Snp {
            report: Box::new(report),
            vcek_der,
        });
        if evidence.to_bytes().len() > MAX_EVIDENCE_BYTES {
            return Err(Reason::EvidenceSize);
        }
        Ok(evidence)
    }

    /// Takes a quote of Intel TDX as a kernel hands it out, without the zeros that may stand behind it.
    ///
    /// # Errors
    /// [`Reason::EvidenceSize`], or [`Reason::EvidenceEncoding`] when it does not begin as a quote.
    pub fn of_quote(outblob: &[u8]) -> Result<Self, Reason> {
        let quote = tdx::without_padding(outblob);
        if !is_tdx_quote(quote) {
            return Err(Reason::EvidenceEncoding);
        }
        Self::from_bytes(quote)
    }

    /// Reads the canonical encoding of a report and its certificate, or a quote, and nothing else.
    ///
    /// # Errors
    /// One of the reasons for the form of evidence: [`Reason::EvidenceSize`] to [`Reason::ReportSize`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Reason> {
        require(bytes.len() <= MAX_EVIDENCE_BYTES, Reason::EvidenceSize)?;
        require(
            !bytes.starts_with(PARAVISOR_SIGNATURE),
            Reason::EvidenceParavisor,
        )?;
        if is_tdx_quote(bytes) {
            return Ok(Self(Kind::Tdx(bytes.to_vec())));
        }
        let (report, vcek_der) = Self::split(bytes).map_err(|_| Reason::EvidenceEncoding)?;
        let report = report.try_into().map_err(|_| Reason::ReportSize)?;
        Ok(Self(Kind::Snp {
            report: Box::new(report),
            vcek_der: vcek_der.to_vec(),
        }))
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

    /// The encoding: canonical of a report and its certificate, a quote's own.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Snp { report, vcek_der } => Canonical::new(LABEL)
                .bytes(report.as_slice())
                .bytes(vcek_der)
                .finish(),
            Kind::Tdx(quote) => quote.clone(),
        }
    }

    /// Which kind of machine it comes from.
    pub fn technology(&self) -> Technology {
        match &self.0 {
            Kind::Snp { .. } => Technology::Snp,
            Kind::Tdx(_) => Technology::Tdx,
        }
    }

    /// What the hardware signed: the report, or the whole quote.
    pub fn report(&self) -> &[u8] {
        match &self.0 {
            Kind::Snp { report, .. } => report.as_slice(),
            Kind::Tdx(quote) => quote,
        }
    }

    /// The certificate of the key that signed the report, DER: a VCEK, or a VLEK where the policy allows one. A quote holds its own.
    pub fn vcek_der(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Snp { vcek_der, .. } => Some(vcek_der),
            Kind::Tdx(_) => None,
        }
    }

    /// The halves of what a test knows to be a report.
    #[cfg(test)]
    pub(crate) fn halves(&self) -> (&[u8; REPORT_BYTES], &[u8]) {
        match self.parts() {
            Parts::Snp { report, vcek_der } => (report, vcek_der),
            Parts::Tdx(_) => panic!("a quote is no report"),
        }
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        match &self.0 {
            Kind::Snp { report, vcek_der } => Parts::Snp { report, vcek_der },
            Kind::Tdx(quote) => Parts::Tdx(quote),
        }
    }

    /// SHA-256 of the encoding, to name this evidence in records.
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
        match &self.0 {
            Kind::Snp { report, vcek_der } => write!(
                f,
                "Evidence({} report bytes, {} vcek bytes)",
                report.len(),
                vcek_der.len()
            ),
            Kind::Tdx(quote) => write!(f, "Evidence({} quote bytes)", quote.len()),
        }
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
    fn what_begins_as_a_tdx_quote_is_taken_for_one_and_nothing_else_is() {
        let header = [4, 0, 2, 0, 0x81, 0, 0, 0];
        for (at, value, quote) in [
            (0, 4, true),
            (0, 5, true),
            (2, 3, true),
            (0, 3, false),
            (4, 0, false),
        ] {
            let mut bytes = [header.as_slice(), &[7; 5000]].concat();
            bytes[at] = value;
            let read = Evidence::from_bytes(&bytes);
            let technology = read.map(|read| read.technology());
            let expected = if quote {
                Ok(Technology::Tdx)
            } else {
                Err(Reason::EvidenceEncoding)
            };
            assert_eq!(technology, expected, "{at}: {value}");
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
