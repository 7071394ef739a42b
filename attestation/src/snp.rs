//! The one place that knows the `sev` crate's report, and the signatures on reports, certificates and revocation lists.
//!
//! A report is taken only when the crate's re-encoding of what it parsed is the very bytes that came, and the signature is
//! checked over those bytes. Everything else is in [`crate::verify`].

use p384::ecdsa::signature::Verifier as _;
use p384::ecdsa::{Signature, VerifyingKey};
use rsa::RsaPublicKey;
use rsa::pss;
use sev::firmware::guest::AttestationReport;
use sev::firmware::host::TcbVersion;
use sev::parser::ByteParser;
use sha2::Sha384;
use x509_cert::Certificate;
use x509_cert::der::Encode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::certificate::EndorsementKey;
use crate::evidence::REPORT_BYTES;
use crate::machine::{ChipId, FirmwareVersion, HostData, Measurement, Product, Tcb};
use crate::reason::Reason;
use crate::require::require;
use crate::statements::ReportData;

/// Where things are in a report (AMD 56860, table 23): offsets in bytes.
pub(crate) mod layout {
    /// VERSION, 4 bytes little-endian.
    pub(crate) const VERSION: usize = 0x00;
    /// POLICY, 8 bytes little-endian.
    pub(crate) const POLICY: usize = 0x08;
    /// PLATFORM_INFO, 8 bytes little-endian.
    pub(crate) const PLATFORM_INFO: usize = 0x40;
    /// Flags and the signing key, 4 bytes little-endian (table 24).
    pub(crate) const KEY_INFO: usize = 0x48;
    /// CHIP_ID, 64 bytes.
    pub(crate) const CHIP_ID: usize = 0x1A0;
    /// The end of what is signed.
    pub(crate) const SIGNED_END: usize = 0x2A0;
    /// R, then S: each 72 bytes little-endian, of which P-384 uses 48 (table 138).
    pub(crate) const SIGNATURE: usize = 0x2A0;
    /// The bytes of R or S.
    pub(crate) const SCALAR_BYTES: usize = 72;
    /// The bytes of them that P-384 uses.
    pub(crate) const SCALAR_USED: usize = 48;
}

/// ECDSA P-384 with SHA-384 (AMD 56860, table 137).
pub(crate) const SIGNATURE_ALGORITHM: u32 = 1;

/// AUTHOR_KEY_EN, MASK_CHIP_KEY and SIGNING_KEY (AMD 56860, table 24); the bits above are reserved.
const KEY_INFO_BITS: u32 = 0x1F;

/// RSASSA-PSS (RFC 8017, appendix A.2.3).
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// The report versions whose layout is known here. The crate reads a later one as the last it knows, and would show its fields
/// where they may no longer be.
pub(crate) const KNOWN_VERSIONS: std::ops::RangeInclusive<u32> = 2..=5;

/// The version a report claims, before anything else of it is read.
pub(crate) fn version(raw: &[u8; REPORT_BYTES]) -> u32 {
    u32::from_le_bytes(bytes_at(raw, layout::VERSION))
}

/// A report that is exactly what its bytes say. Nothing vouches for it until [`Report::is_signed_by`] does.
pub(crate) struct Report {
    raw: Box<[u8; REPORT_BYTES]>,
    parsed: AttestationReport,
}

impl Report {
    /// What [`Report::parse`] refuses for, in this order, beside a version that is not known here.
    pub(crate) const CHECKS: &'static [Reason] = &[
        Reason::ReportEncoding,
        Reason::SignaturePadding,
        Reason::SignatureAlgorithm,
        Reason::KeyInfoReserved,
    ];

    /// Parses, and insists that the parsed form says all that the bytes say.
    pub(crate) fn parse(raw: &[u8; REPORT_BYTES]) -> Result<Self, Reason> {
        if !KNOWN_VERSIONS.contains(&version(raw)) {
            return Err(Reason::ReportVersion);
        }
        let parsed = parse_exactly(raw)?;
        let padded = |scalar: &[u8; layout::SCALAR_BYTES]| {
            scalar[layout::SCALAR_USED..].iter().all(|byte| *byte == 0)
        };
        require(padded(parsed.signature.r()), Reason::SignaturePadding)?;
        require(padded(parsed.signature.s()), Reason::SignaturePadding)?;
        require(
            parsed.sig_algo == SIGNATURE_ALGORITHM,
            Reason::SignatureAlgorithm,
        )?;
        let report = Self {
            raw: Box::new(*raw),
            parsed,
        };
        require(
            report.key_info() & !KEY_INFO_BITS == 0,
            Reason::KeyInfoReserved,
        )?;
        Ok(report)
    }

    /// Which key is said to have signed. Nobody signs where SIGNING_KEY says so, nor a VCEK that the host masks.
    pub(crate) fn signing_key(&self) -> Option<EndorsementKey> {
        let masked = self.key_info() >> 1 & 1 == 1;
        match self.key_info() >> 2 & 0b111 {
            0 if !masked => Some(EndorsementKey::Vcek),
            1 => Some(EndorsementKey::Vlek),
            _ => None,
        }
    }

    /// AUTHOR_KEY_EN, MASK_CHIP_KEY and SIGNING_KEY (AMD 56860, table 24).
    pub(crate) fn key_info(&self) -> u32 {
        u32::from_le_bytes(bytes_at(&self.raw, layout::KEY_INFO))
    }

    /// The product the report's CPUID values stand for; version 2 carries none. `Err` when they stand for none we know.
    pub(crate) fn product(&self) -> Option<Result<Product, ()>> {
        let (family, model, _) = self.cpuid()?;
        Some(match sev::Generation::identify_cpu(family, model) {
            Ok(sev::Generation::Milan) => Ok(Product::Milan),
            Ok(sev::Generation::Genoa) => Ok(Product::Genoa),
            Ok(sev::Generation::Turin) => Ok(Product::Turin),
            Ok(sev::Generation::Venice) | Err(_) => Err(()),
        })
    }

    /// Family, model and stepping of the processor, from version 3 on.
    pub(crate) fn cpuid(&self) -> Option<(u8, u8, u8)> {
        let report = &self.parsed;
        Some((
            report.cpuid_fam_id?,
            report.cpuid_mod_id?,
            report.cpuid_step?,
        ))
    }

    pub(crate) fn version(&self) -> u32 {
        self.parsed.version
    }

    pub(crate) fn vmpl(&self) -> u32 {
        self.parsed.vmpl
    }

    pub(crate) fn guest_svn(&self) -> u32 {
        self.parsed.guest_svn
    }

    /// POLICY as it came: `sev` sets the must-be-one bit when asked for it.
    pub(crate) fn guest_policy(&self) -> u64 {
        u64::from_le_bytes(bytes_at(&self.raw, layout::POLICY))
    }

    pub(crate) fn platform_info(&self) -> u64 {
        u64::from_le_bytes(bytes_at(&self.raw, layout::PLATFORM_INFO))
    }

    pub(crate) fn report_data(&self) -> ReportData {
        ReportData::new(self.parsed.report_data)
    }

    pub(crate) fn measurement(&self) -> Measurement {
        Measurement::new(self.parsed.measurement)
    }

    pub(crate) fn host_data(&self) -> HostData {
        HostData::new(self.parsed.host_data)
    }

    pub(crate) fn chip_id(&self) -> ChipId {
        ChipId::new(self.parsed.chip_id)
    }

    pub(crate) fn current_tcb(&self) -> Tcb {
        tcb(&self.parsed.current_tcb)
    }

    pub(crate) fn committed_tcb(&self) -> Tcb {
        tcb(&self.parsed.committed_tcb)
    }

    pub(crate) fn reported_tcb(&self) -> Tcb {
        tcb(&self.parsed.reported_tcb)
    }

    pub(crate) fn launch_tcb(&self) -> Tcb {
        tcb(&self.parsed.launch_tcb)
    }

    pub(crate) fn current_firmware(&self) -> FirmwareVersion {
        firmware(self.parsed.current)
    }

    pub(crate) fn committed_firmware(&self) -> FirmwareVersion {
        firmware(self.parsed.committed)
    }

    /// LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR, from version 5 on.
    pub(crate) fn mitigations(&self) -> Option<(u64, u64)> {
        Some((
            self.parsed.launch_mit_vector?,
            self.parsed.current_mit_vector?,
        ))
    }

    pub(crate) fn family_id(&self) -> [u8; 16] {
        self.parsed.family_id
    }

    pub(crate) fn image_id(&self) -> [u8; 16] {
        self.parsed.image_id
    }

    pub(crate) fn id_key_digest(&self) -> [u8; 48] {
        self.parsed.id_key_digest
    }

    pub(crate) fn author_key_digest(&self) -> [u8; 48] {
        self.parsed.author_key_digest
    }

    pub(crate) fn report_id(&self) -> [u8; 32] {
        self.parsed.report_id
    }

    pub(crate) fn report_id_ma(&self) -> [u8; 32] {
        self.parsed.report_id_ma
    }

    /// Whether this certificate's key signed the report: ECDSA P-384 over SHA-384 of the first 0x2A0 bytes, as they came.
    pub(crate) fn is_signed_by(&self, endorsement: &Certificate) -> bool {
        let key = &endorsement.tbs_certificate.subject_public_key_info;
        let key = VerifyingKey::from_sec1_bytes(key.subject_public_key.raw_bytes());
        let (Ok(key), Ok(signature)) = (key, self.signature()) else {
            return false;
        };
        key.verify(&self.raw[..layout::SIGNED_END], &signature)
            .is_ok()
    }

    /// R and S, whose padding was checked, the other way round.
    fn signature(&self) -> Result<Signature, p384::ecdsa::Error> {
        let scalar = |index: usize| {
            let at = layout::SIGNATURE + index * layout::SCALAR_BYTES;
            let mut scalar: [u8; layout::SCALAR_USED] = bytes_at(&self.raw, at);
            scalar.reverse();
            scalar
        };
        Signature::from_scalars(scalar(0), scalar(1))
    }
}

/// The crate's parsed form of a report, if it says all that the bytes say.
fn parse_exactly(raw: &[u8; REPORT_BYTES]) -> Result<AttestationReport, Reason> {
    // Version 2 names no product, and the crate tells the layout of its TCBs by the chip id, which VLEK machines do not show.
    // Both products that ever made version 2 have one layout: give it any chip id of theirs, and take it away again.
    let hidden = version(raw) == 2 && is_zero(&raw[layout::CHIP_ID..layout::CHIP_ID + 64]);
    let mut shown = *raw;
    if hidden {
        shown[layout::CHIP_ID..layout::CHIP_ID + 64].fill(0xFF);
    }
    let mut parsed = AttestationReport::from_bytes(&shown).map_err(|_| Reason::ReportEncoding)?;
    let again = parsed.to_bytes().map_err(|_| Reason::ReportEncoding)?;
    require(again == shown, Reason::ReportEncoding)?;
    if hidden {
        parsed.chip_id = [0; 64];
    }
    Ok(parsed)
}

/// Whether the issuer's RSA key signed the certificate, with PSS and SHA-384 (AMD 57230, chapter 3).
pub(crate) fn is_issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let Ok(message) = certificate.tbs_certificate.to_der() else {
        return false;
    };
    let signature = certificate.signature.raw_bytes();
    is_signed_with_pss(
        issuer,
        &certificate.signature_algorithm,
        &message,
        signature,
    )
}

/// Whether the signer's RSA key signed the message, with PSS, SHA-384 and a salt of 48 bytes.
pub(crate) fn is_signed_with_pss(
    signer: &Certificate,
    algorithm: &AlgorithmIdentifierOwned,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let key = signer
        .tbs_certificate
        .subject_public_key_info
        .owned_to_ref();
    let (Ok(key), Ok(signature)) = (
        RsaPublicKey::try_from(key),
        pss::Signature::try_from(signature),
    ) else {
        return false;
    };
    let key = pss::VerifyingKey::<Sha384>::new(key);
    algorithm.oid == RSA_PSS && key.verify(message, &signature).is_ok()
}

fn tcb(version: &TcbVersion) -> Tcb {
    Tcb {
        fmc: version.fmc,
        bootloader: version.bootloader,
        tee: version.tee,
        snp: version.snp,
        microcode: version.microcode,
    }
}

fn firmware(version: sev::firmware::guest::Version) -> FirmwareVersion {
    FirmwareVersion {
        major: version.major,
        minor: version.minor,
        build: version.build,
    }
}

/// Whether nothing is there.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn bytes_at<const N: usize>(raw: &[u8; REPORT_BYTES], at: usize) -> [u8; N] {
    raw[at..at + N]
        .try_into()
        .expect("the layout's offsets lie inside a report")
}
