//! A peer's certificate as its bytes say it: one key, two dates, and the evidence for them.

use std::fmt;
use std::time::{Duration, SystemTime};

use x509_cert::Certificate;
use x509_cert::der::Encode;
use x509_cert::der::asn1::ObjectIdentifier;

use super::cmw;
use crate::certificate::{Dates, parse_strict};
use crate::evidence::Evidence;
use crate::reason::Reason;
use crate::require::require;
use crate::statements::{self, ReportData, Role};

/// The most bytes of a certificate that are read: evidence is at most 16 KiB, a certificate without some 400 bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 32 * 1024;

/// How long a certificate is valid at most: its evidence is fresh enough to be asked for more, and no longer.
pub const MAX_CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// `id-pe-cmw` (RFC 9999).
pub(super) const CMW: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.35");

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $source:literal;)*) => {
        /// Why a peer's certificate is refused in the handshake, in the order of the checks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CertificateReason {
            $($(#[doc = $doc])* $name,)*
            /// The evidence in it failed a check.
            Evidence(Reason),
        }

        impl CertificateReason {
            /// Every reason that is not the evidence's, in the order of the checks.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("channel.", $code),)*
                    Self::Evidence(reason) => reason.code(),
                }
            }

            /// Where the check comes from.
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$name => $source,)*
                    Self::Evidence(reason) => reason.source(),
                }
            }

            /// What failing the check means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                    Self::Evidence(reason) => reason.meaning(),
                }
            }
        }
    };
}

reasons! {
    /// The certificate is longer than is ever read.
    Size = "certificate-size", "docs/protocol.md";
    /// The peer sent more than its own certificate.
    Alone = "certificate-alone", "docs/protocol.md";
    /// The certificate is not the strict DER of a certificate.
    Encoding = "certificate-encoding", "RFC 5280, section 4.1; X.690, section 11";
    /// The certificate has a critical extension.
    Critical = "certificate-critical", "RFC 5280, section 4.2; RFC 9999";
    /// The certificate carries no evidence.
    Missing = "certificate-without-evidence", "RFC 9999";
    /// The certificate carries evidence twice.
    Twice = "certificate-evidence-twice", "RFC 5280, section 4.2";
    /// What should wrap the evidence is not the deterministic encoding of a CMW record in CBOR.
    Wrapper = "certificate-wrapper", "RFC 9999; RFC 8949, section 4.2.1";
    /// What is wrapped is not evidence of this project.
    WrappedType = "certificate-wrapped-type", "RFC 9999";
    /// The certificate is valid for longer than 24 hours.
    Life = "certificate-life", "docs/protocol.md";
    /// The certificate is not valid yet.
    NotYetValid = "certificate-not-yet-valid", "RFC 5280, section 4.1.2.5";
    /// The certificate has expired.
    Expired = "certificate-expired", "RFC 5280, section 4.1.2.5";
}

impl fmt::Display for CertificateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A certificate that reads. Nothing vouches for it yet, and nobody has shown its key.
pub struct PeerCertificate {
    spki: Vec<u8>,
    dates: Dates,
    evidence: Vec<u8>,
}

impl PeerCertificate {
    /// Reads a certificate of at most [`MAX_CERTIFICATE_BYTES`], in DER, that carries evidence as RFC 9999 has it.
    ///
    /// # Errors
    /// The [`CertificateReason`] of the first check that fails: those of form.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateReason> {
        require(der.len() <= MAX_CERTIFICATE_BYTES, CertificateReason::Size)?;
        let certificate = parse_strict(der).map_err(|_| CertificateReason::Encoding)?;
        let extension = evidence_extension(&certificate)?;
        let evidence = cmw::unwrap(extension)?.to_vec();
        let spki = &certificate.tbs_certificate.subject_public_key_info;
        Ok(Self {
            spki: spki.to_der().map_err(|_| CertificateReason::Encoding)?,
            dates: Dates::of(&certificate),
            evidence,
        })
    }

    /// The key, as DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The evidence's bytes as they came.
    pub fn evidence_bytes(&self) -> &[u8] {
        &self.evidence
    }

    /// That it is valid now, and not for too long.
    pub(super) fn check_dates(
        &self,
        now: SystemTime,
        skew: Duration,
    ) -> Result<(), CertificateReason> {
        let Dates {
            not_before,
            not_after,
        } = self.dates;
        let life = not_after.duration_since(not_before);
        require(
            life.is_ok_and(|life| life <= MAX_CERTIFICATE_LIFE),
            CertificateReason::Life,
        )?;
        require(not_before <= now + skew, CertificateReason::NotYetValid)?;
        require(now <= not_after + skew, CertificateReason::Expired)
    }

    /// The evidence in it, which must have one of the known forms.
    pub(super) fn evidence(&self) -> Result<Evidence, CertificateReason> {
        Evidence::from_bytes(&self.evidence).map_err(CertificateReason::Evidence)
    }

    /// What a machine in this role must have stated: this key, and these dates.
    pub(super) fn report_data(&self, role: Role) -> ReportData {
        let Dates {
            not_before,
            not_after,
        } = self.dates;
        statements::certificate(role, &self.spki, not_before, not_after).report_data()
    }
}

/// The value of the one extension that carries evidence. RFC 9999 says that it should not be critical, and no certificate of this project has
/// anything critical, so that no reader has to decide what it understands.
fn evidence_extension(certificate: &Certificate) -> Result<&[u8], CertificateReason> {
    let extensions = certificate.tbs_certificate.extensions.as_deref();
    let extensions = extensions.unwrap_or_default();
    let critical = extensions.iter().any(|extension| extension.critical);
    require(!critical, CertificateReason::Critical)?;
    let mut found = extensions
        .iter()
        .filter(|extension| extension.extn_id == CMW);
    let first = found.next().ok_or(CertificateReason::Missing)?;
    require(found.next().is_none(), CertificateReason::Twice)?;
    Ok(first.extn_value.as_bytes())
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, evidence) = (self.spki.len(), self.evidence.len());
        write!(
            f,
            "PeerCertificate({key} key bytes, {evidence} evidence bytes)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_every_reason_with_its_source_in_order() {
        let document = include_str!("../../../docs/attestation.md");
        let listed: Vec<_> = document
            .lines()
            .filter(|line| line.contains(" | `channel.certificate-"))
            .collect();
        assert_eq!(listed.len(), CertificateReason::ALL.len());
        for (reason, line) in CertificateReason::ALL.iter().zip(listed) {
            let cells: Vec<_> = line.split(" | ").collect();
            let (code, meaning, source) = (cells[1], cells[2], cells[3]);
            assert_eq!(code, format!("`{reason}`"));
            assert_eq!(meaning, reason.meaning());
            assert_eq!(source.trim_end_matches(" |"), reason.source());
        }
    }
}
