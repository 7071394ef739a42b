//! Why evidence is refused: one reason for each check, in the order in which [`crate::verify`] makes them.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal,)*) => {
        /// The check that evidence failed. The first failing check gives the reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the checks.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, for audit records and metrics. Peers are told a coarse one only.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("attest.", $code),)*
                }
            }
        }
    };
}

reasons! {
    /// The evidence is longer than is ever read.
    EvidenceSize = "evidence-size",
    /// The evidence is not the canonical encoding of a report and a certificate.
    EvidenceEncoding = "evidence-encoding",
    /// The report is not 1184 bytes.
    ReportSize = "report-size",
    /// The report's version is not one the policy lists.
    ReportVersion = "report-version",
    /// The report does not parse, or says in reserved bytes what its fields do not.
    ReportEncoding = "report-encoding",
    /// The signature's numbers are not padded with zeros.
    SignaturePadding = "signature-padding",
    /// The report was not signed with ECDSA P-384 and SHA-384.
    SignatureAlgorithm = "signature-algorithm",
    /// The report was signed by another key than a VCEK, or by none.
    SigningKey = "signing-key",
    /// The VCEK is not the strict DER of a certificate.
    CertificateEncoding = "certificate-encoding",
    /// The VCEK lacks an extension of AMD's, has it twice, or holds a malformed one.
    CertificateExtension = "certificate-extension",
    /// The VCEK is for a product that is not known here.
    ProductUnknown = "product-unknown",
    /// The policy denies the product.
    ProductDenied = "product-denied",
    /// The policy states no minimum firmware level for the product.
    ProductWithoutMinimum = "product-without-minimum",
    /// No trusted root issues certificates under the VCEK's issuer name.
    ChainUnknownRoot = "chain-unknown-root",
    /// The certificate does not have the subject and issuer names of a VCEK of its product.
    CertificateName = "certificate-name",
    /// No trusted signing key signed the VCEK.
    ChainSignature = "chain-signature",
    /// The report comes from another product than the VCEK is for.
    VcekProduct = "vcek-product",
    /// The report names another chip than the VCEK does.
    VcekChipId = "vcek-chip-id",
    /// The report's firmware level is not the one that the VCEK was derived for.
    VcekTcb = "vcek-tcb",
    /// The VCEK did not sign the report.
    ReportSignature = "report-signature",
    /// A certificate of the chain is not valid yet.
    CertificateNotYetValid = "certificate-not-yet-valid",
    /// A certificate of the chain has expired.
    CertificateExpired = "certificate-expired",
    /// The report was asked for at a less privileged level than the policy allows.
    Vmpl = "vmpl",
    /// The guest policy's must-be-one bit is zero, or one of its must-be-zero bits is one.
    GuestPolicyReserved = "guest-policy-reserved",
    /// The guest may be debugged by its host.
    GuestDebug = "guest-debug",
    /// The guest may be moved by a migration agent.
    GuestMigrationAgent = "guest-migration-agent",
    /// The guest may run beside hyper-threads of others.
    GuestSmt = "guest-smt",
    /// The guest may be given CXL memory or devices.
    GuestCxl = "guest-cxl",
    /// The guest may be spread over several sockets.
    GuestSingleSocket = "guest-single-socket",
    /// The platform has not finished looking for aliased memory.
    PlatformAliasCheck = "platform-alias-check",
    /// The platform does not hide ciphertext.
    PlatformCiphertextHiding = "platform-ciphertext-hiding",
    /// The platform's memory has no error correction.
    PlatformEcc = "platform-ecc",
    /// The platform does not encrypt all of its memory.
    PlatformTsme = "platform-tsme",
    /// The firmware that runs now is below the minimum.
    TcbCurrent = "tcb-current",
    /// The firmware that the platform can be rolled back to is below the minimum.
    TcbCommitted = "tcb-committed",
    /// The firmware level that the signing key stands for is below the minimum.
    TcbReported = "tcb-reported",
    /// The guest's own security version is below the minimum.
    GuestSvn = "guest-svn",
    /// The software that was launched is not on the list.
    Measurement = "measurement",
    /// The launch configuration is not one that the policy lists.
    HostDataPolicy = "host-data-policy",
    /// The launch configuration is not the one of the organisation.
    HostData = "host-data",
    /// The chip is on the list of denied chips.
    ChipDenied = "chip-denied",
    /// The chip is not the one of the organisation.
    ChipId = "chip-id",
    /// The report was made for another statement than the one expected.
    ReportData = "report-data",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_reasons_share_a_code() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
