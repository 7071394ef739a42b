//! Why evidence is refused: one reason for each check, in the order in which [`crate::verify`] makes them, with the document
//! the check comes from.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $source:literal;)*) => {
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

            /// Where the check comes from: a document of AMD's, an RFC, or a rule of this project.
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$name => $source,)*
                }
            }

            /// What failing the check means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

reasons! {
    /// The evidence is longer than is ever read.
    EvidenceSize = "evidence-size", "docs/protocol.md";
    /// The evidence is the report of an Azure paravisor, which speaks for a TPM and is not understood here yet.
    EvidenceParavisor = "evidence-paravisor", "Azure, HCL report";
    /// The evidence is neither the canonical encoding of a report and a certificate nor a quote.
    EvidenceEncoding = "evidence-encoding", "docs/protocol.md";
    /// The report is not 1184 bytes.
    ReportSize = "report-size", "AMD 56860, table 23";
    /// The evidence is a report of SEV-SNP, and the policy accepts none.
    EvidenceSnp = "evidence-snp", "policy";
    /// The evidence is a quote of Intel TDX, and the policy accepts none.
    EvidenceTdx = "evidence-tdx", "policy";
    /// The report's version is not one the policy lists.
    ReportVersion = "report-version", "AMD 56860, table 23";
    /// The report does not parse, or says in reserved bytes what its fields do not.
    ReportEncoding = "report-encoding", "AMD 56860, tables 3, 4 and 23";
    /// The signature's numbers are not padded with zeros.
    SignaturePadding = "signature-padding", "AMD 56860, table 138";
    /// The report was not signed with ECDSA P-384 and SHA-384.
    SignatureAlgorithm = "signature-algorithm", "AMD 56860, table 137";
    /// The report says of its signing key what is not known here.
    KeyInfoReserved = "key-info-reserved", "AMD 56860, table 24";
    /// The report was signed by another key than the policy allows, or by none.
    SigningKey = "signing-key", "AMD 56860, table 24";
    /// The certificate is not the strict DER of a certificate.
    CertificateEncoding = "certificate-encoding", "RFC 5280, section 4.1; X.690, section 11";
    /// The certificate lacks an extension of AMD's, has it twice, holds a malformed one, or a critical one that is unknown.
    CertificateExtension = "certificate-extension", "AMD 57230, table 8; AMD 58369";
    /// The certificate is for a product that is not known here.
    ProductUnknown = "product-unknown", "AMD 57230, table 8";
    /// The certificate's key is not one on P-384.
    CertificateKey = "certificate-key", "AMD 57230, chapter 3";
    /// The policy denies the product.
    ProductDenied = "product-denied", "policy";
    /// The policy states no minimum firmware level for the product.
    ProductWithoutMinimum = "product-without-minimum", "policy";
    /// The certificate does not have the subject and issuer names of a VCEK or VLEK of its product.
    CertificateName = "certificate-name", "AMD 57230, table 8; AMD 58369";
    /// The VLEK belongs to a cloud provider that the policy does not list.
    CspId = "csp-id", "AMD 58369";
    /// No trusted root issues certificates under the certificate's issuer name.
    ChainUnknownRoot = "chain-unknown-root", "policy";
    /// No trusted signing key signed the certificate.
    ChainSignature = "chain-signature", "AMD 57230, chapter 3";
    /// The report comes from another product than the certificate is for.
    VcekProduct = "vcek-product", "AMD 56860, table 23";
    /// The host hides the chip's identifier, and the policy does not allow that.
    ChipIdMasked = "chip-id-masked", "AMD 56860, SNP_CONFIG";
    /// The report names another chip than the VCEK does.
    VcekChipId = "vcek-chip-id", "AMD 57230, table 8";
    /// The report's firmware level is not the one that the certificate's key was derived for.
    VcekTcb = "vcek-tcb", "AMD 57230, table 8";
    /// The certificate's key did not sign the report.
    ReportSignature = "report-signature", "AMD 56860, table 23";
    /// A certificate of the chain is not valid yet.
    CertificateNotYetValid = "certificate-not-yet-valid", "RFC 5280, section 4.1.2.5";
    /// A certificate of the chain has expired.
    CertificateExpired = "certificate-expired", "RFC 5280, section 4.1.2.5";
    /// The certificate is valid for longer than the policy allows.
    CertificateLifetime = "certificate-lifetime", "policy";
    /// The policy requires a revocation list, and none was given for this root.
    CrlMissing = "crl-missing", "policy";
    /// The revocation list is from the future.
    CrlNotYetValid = "crl-not-yet-valid", "RFC 5280, section 5.1.2.4";
    /// The revocation list is past the date at which its successor was due.
    CrlStale = "crl-stale", "RFC 5280, section 5.1.2.5";
    /// The root has revoked the key that signed the certificate.
    CertificateRevoked = "certificate-revoked", "RFC 5280, section 5.1.2.6";
    /// The report was asked for at a less privileged level than the policy allows.
    Vmpl = "vmpl", "AMD 56860, table 23";
    /// The guest policy's must-be-one bit is zero, or one of its must-be-zero bits is one.
    GuestPolicyReserved = "guest-policy-reserved", "AMD 56860, table 10";
    /// The guest may be debugged by its host.
    GuestDebug = "guest-debug", "AMD 56860, table 10";
    /// The guest may be moved by a migration agent.
    GuestMigrationAgent = "guest-migration-agent", "AMD 56860, table 10";
    /// The guest may run beside hyper-threads of others.
    GuestSmt = "guest-smt", "AMD 56860, table 10";
    /// The guest may be given CXL memory or devices.
    GuestCxl = "guest-cxl", "AMD 56860, table 10";
    /// The guest may be spread over several sockets.
    GuestSingleSocket = "guest-single-socket", "AMD 56860, table 10";
    /// The platform has not finished looking for aliased memory.
    PlatformAliasCheck = "platform-alias-check", "AMD 56860, table 25; AMD-SB-3015";
    /// The platform does not hide ciphertext.
    PlatformCiphertextHiding = "platform-ciphertext-hiding", "AMD 56860, table 25";
    /// The platform's memory has no error correction.
    PlatformEcc = "platform-ecc", "AMD 56860, table 25";
    /// The platform does not encrypt all of its memory.
    PlatformTsme = "platform-tsme", "AMD 56860, table 25";
    /// The firmware that runs now is below the minimum.
    TcbCurrent = "tcb-current", "AMD 56860, tables 3, 4 and 23";
    /// The firmware that the platform can be rolled back to is below the minimum.
    TcbCommitted = "tcb-committed", "AMD 56860, tables 3, 4 and 23";
    /// The firmware level that the signing key stands for is below the minimum.
    TcbReported = "tcb-reported", "AMD 56860, tables 3, 4 and 23";
    /// The firmware that the guest was launched under was below the minimum.
    TcbLaunch = "tcb-launch", "AMD 56860, tables 3, 4 and 23";
    /// The version of the firmware that runs now is below the minimum.
    FirmwareCurrent = "firmware-current", "AMD 56860, table 23";
    /// The version of the firmware that the platform can be rolled back to is below the minimum.
    FirmwareCommitted = "firmware-committed", "AMD 56860, table 23";
    /// The firmware that runs now is not committed: the host may still roll it back.
    FirmwareProvisional = "firmware-provisional", "AMD 56860, SNP_COMMIT";
    /// The guest's own security version is below the minimum.
    GuestSvn = "guest-svn", "AMD 56860, table 23";
    /// The guest's family is not the policy's.
    FamilyId = "family-id", "AMD 56860, ID block";
    /// The guest's image is not the policy's.
    ImageId = "image-id", "AMD 56860, ID block";
    /// The software that was launched is not on the list.
    Measurement = "measurement", "AMD 56860, table 23";
    /// The launch was not signed by an identity key that the policy lists.
    IdKeyDigest = "id-key-digest", "AMD 56860, ID block";
    /// The identity key was not certified by an author key that the policy lists.
    AuthorKeyDigest = "author-key-digest", "AMD 56860, ID block";
    /// The launch configuration is not one that the policy lists.
    HostDataPolicy = "host-data-policy", "policy";
    /// The quote's version or body is not one that is known here, or that the policy lists.
    TdxQuoteVersion = "tdx-quote-version", "Intel TDX DCAP, quote format";
    /// The quote does not parse, or has bytes that its fields do not.
    TdxQuoteEncoding = "tdx-quote-encoding", "Intel TDX DCAP, quote format";
    /// The quote was not signed with ECDSA P-256, or its key is not certified by a PCK and its chain.
    TdxKeyType = "tdx-key-type", "Intel TDX DCAP, quote format";
    /// The quoting enclave is of another vendor than Intel.
    TdxQeVendor = "tdx-qe-vendor", "Intel TDX DCAP, quote format";
    /// The quote's certificates are not three, strict, as Intel writes them, or the first lacks what a PCK says of its platform.
    TdxCertificateEncoding = "tdx-certificate-encoding", "Intel, PCK certificate profile; RFC 7468";
    /// The quote's certificates end at a root that the policy does not pin.
    TdxUnknownRoot = "tdx-unknown-root", "policy";
    /// There is no collateral under this root for the quote's family of platforms.
    TdxCollateralMissing = "tdx-collateral-missing", "Intel PCS API, TCB info";
    /// The quote comes from another provisioning enclave than the collateral is about.
    TdxPceId = "tdx-pce-id", "Intel PCS API, TCB info";
    /// A certificate of the quote is not valid yet.
    TdxCertificateNotYetValid = "tdx-certificate-not-yet-valid", "RFC 5280, section 4.1.2.5";
    /// A certificate of the quote has expired.
    TdxCertificateExpired = "tdx-certificate-expired", "RFC 5280, section 4.1.2.5";
    /// The collateral, or a part of it, is from the future.
    TdxCollateralNotYetValid = "tdx-collateral-not-yet-valid", "Intel PCS API, TCB info";
    /// The collateral, or a part of it, is past the date at which its successor was due.
    TdxCollateralStale = "tdx-collateral-stale", "Intel PCS API, TCB info";
    /// The collateral comes from an older appraisal of Intel's than the policy asks for.
    TdxEvaluationNumber = "tdx-evaluation-number", "Intel PCS API, TCB info";
    /// The collateral was not signed by the keys that its root certified for that.
    TdxCollateralSignature = "tdx-collateral-signature", "Intel PCS API, TCB info";
    /// A certificate of the quote or of the collateral was not issued under the root.
    TdxCertificateChain = "tdx-certificate-chain", "RFC 5280, section 6";
    /// A certificate of the quote or of the collateral was revoked.
    TdxCertificateRevoked = "tdx-certificate-revoked", "RFC 5280, section 5.1.2.6";
    /// The PCK did not sign the quoting enclave's report.
    TdxQeReportSignature = "tdx-qe-report-signature", "Intel TDX DCAP, quote format";
    /// The quoting enclave vouches for another key than the one that signed the quote.
    TdxQeReportData = "tdx-qe-report-data", "Intel TDX DCAP, quote format";
    /// The quoting enclave is not the one that Intel names.
    TdxQeIdentity = "tdx-qe-identity", "Intel PCS API, QE identity";
    /// The attestation key did not sign the quote.
    TdxQuoteSignature = "tdx-quote-signature", "Intel TDX DCAP, quote format";
    /// The platform's firmware is below every level that Intel knows.
    TdxTcbLevel = "tdx-tcb-level", "Intel PCS API, TCB info";
    /// The TDX module is none of Intel's, or below every level that Intel knows of it.
    TdxModule = "tdx-module", "Intel PCS API, TCB info";
    /// Intel has revoked the platform's firmware level.
    TdxTcbRevoked = "tdx-tcb-revoked", "Intel PCS API, TCB info";
    /// The TD may be debugged or profiled by its host.
    TdxDebug = "tdx-debug", "Intel TDX Module ABI, TD report";
    /// The TD has attributes that must not be set.
    TdxAttributesReserved = "tdx-attributes-reserved", "Intel TDX Module ABI, TD report";
    /// The TD may be moved to another machine.
    TdxMigratable = "tdx-migratable", "Intel TDX Module ABI, TD report";
    /// The TD is bound to service TDs, which see into it.
    TdxServiceTd = "tdx-service-td", "Intel TDX Module ABI, TD report";
    /// The host can have the TD take a fault where its memory is missing (SEPT_VE_DISABLE is not set).
    TdxSeptVeDisable = "tdx-sept-ve-disable", "Intel TDX Module ABI, TD report";
    /// Intel's rules refuse the quote for what has no name here.
    TdxAppraisal = "tdx-appraisal", "Intel TDX DCAP, quote verification";
    /// Intel's word for the firmware level is none that the policy lists.
    TdxTcbStatus = "tdx-tcb-status", "Intel PCS API, TCB info";
    /// The firmware level is open to an advisory that the policy does not accept.
    TdxAdvisory = "tdx-advisory", "Intel PCS API, TCB info";
    /// The platform runs hyper-threads, and the policy does not allow that.
    TdxSmt = "tdx-smt", "Intel, PCK certificate profile";
    /// The platform may be extended with packages that come later, and the policy does not allow that.
    TdxDynamicPlatform = "tdx-dynamic-platform", "Intel, PCK certificate profile";
    /// Intel keeps the platform's root keys, and the policy does not allow that.
    TdxCachedKeys = "tdx-cached-keys", "Intel, PCK certificate profile";
    /// The TDX module, or what loaded it, is below the policy's security versions.
    TdxTeeTcbSvn = "tdx-tee-tcb-svn", "Intel TDX Module ABI, TD report";
    /// The TDX module is not on the list.
    TdxMrSeam = "tdx-mr-seam", "Intel TDX Module ABI, TD report";
    /// The TD may use more of the processor than the policy allows.
    TdxXfam = "tdx-xfam", "Intel TDX Module ABI, TD report";
    /// The TD may count what happens in its processor, and the policy does not allow that.
    TdxPerfmon = "tdx-perfmon", "Intel TDX Module ABI, TD report";
    /// The software that was launched is not on the list.
    TdxMrTd = "tdx-mr-td", "Intel TDX Module ABI, TD report";
    /// The launch configuration (MRCONFIGID) is not one that the policy lists.
    TdxMrConfigId = "tdx-mr-config-id", "Intel TDX Module ABI, TD report";
    /// The TD's owner is not one that the policy lists.
    TdxMrOwner = "tdx-mr-owner", "Intel TDX Module ABI, TD report";
    /// The owner's configuration is not one that the policy lists.
    TdxMrOwnerConfig = "tdx-mr-owner-config", "Intel TDX Module ABI, TD report";
    /// What was measured into RTMR 0 is not on the list.
    TdxRtmr0 = "tdx-rtmr0", "Intel TDX Module ABI, TD report";
    /// What was measured into RTMR 1 is not on the list.
    TdxRtmr1 = "tdx-rtmr1", "Intel TDX Module ABI, TD report";
    /// What was measured into RTMR 2 is not on the list.
    TdxRtmr2 = "tdx-rtmr2", "Intel TDX Module ABI, TD report";
    /// What was measured into RTMR 3 is not on the list.
    TdxRtmr3 = "tdx-rtmr3", "Intel TDX Module ABI, TD report";
    /// The launch configuration is not the one of the organisation.
    HostData = "host-data", "roster";
    /// The chip is on the list of denied chips.
    ChipDenied = "chip-denied", "policy";
    /// The chip is not the one of the organisation.
    ChipId = "chip-id", "roster";
    /// The report was made for another statement, of 32 bytes and zeros: a paravisor's, as Azure's is, or of another protocol.
    ReportDataParavisor = "report-data-paravisor", "Azure, HCL report";
    /// The report was made for another statement than the one expected.
    ReportData = "report-data", "docs/protocol.md";
}

/// Which of a machine's two kinds evidence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Technology {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl Reason {
    /// Whether evidence of this kind is ever looked at for this.
    pub fn concerns(self, technology: Technology) -> bool {
        let tdx = Self::TdxQuoteVersion..=Self::TdxRtmr3;
        let of_both = [
            Self::EvidenceSize,
            Self::EvidenceParavisor,
            Self::EvidenceEncoding,
            Self::HostData,
            Self::ChipDenied,
            Self::ChipId,
            Self::ReportData,
        ];
        match technology {
            Technology::Snp => !tdx.contains(&self) && self != Self::EvidenceTdx,
            Technology::Tdx => {
                tdx.contains(&self) || self == Self::EvidenceTdx || of_both.contains(&self)
            }
        }
    }
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
    fn the_document_lists_every_reason_with_its_source_in_order() {
        let document = include_str!("../../docs/attestation.md");
        let listed: Vec<_> = document
            .lines()
            .filter_map(|line| line.split_once(" | `attest.").map(|_| line))
            .collect();
        assert_eq!(listed.len(), Reason::ALL.len());
        for (reason, line) in Reason::ALL.iter().zip(listed) {
            let cells: Vec<_> = line.split(" | ").collect();
            let (code, meaning, source) = (cells[1], cells[2], cells[3]);
            assert_eq!(code, format!("`{reason}`"));
            assert_eq!((meaning, source), (reason.meaning(), reason.source()));
        }
    }

    #[test]
    fn no_two_reasons_share_a_code() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
