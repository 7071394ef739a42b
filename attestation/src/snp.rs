//! The one place that knows the `sev` crate: parsing a report and checking signatures.
//!
//! `sev` hashes its own re-encoding of a report, so a report is taken only when that re-encoding is the very bytes that
//! came. It checks nothing else; everything else is in [`crate::verify`].

use sev::certs::snp::{Certificate, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::firmware::host::TcbVersion;
use sev::parser::ByteParser;

use crate::evidence::REPORT_BYTES;
use crate::machine::{ChipId, HostData, Measurement, Product, Tcb};
use crate::reason::Reason;
use crate::statements::ReportData;

/// Where things are in a report (AMD 56860, table 23): offsets in bytes.
pub(crate) mod layout {
    /// VERSION, 4 bytes little-endian.
    pub(crate) const VERSION: usize = 0x00;
    /// POLICY, 8 bytes little-endian.
    pub(crate) const POLICY: usize = 0x08;
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

/// The version a report claims, before anything else of it is read.
pub(crate) fn version(raw: &[u8; REPORT_BYTES]) -> u32 {
    u32::from_le_bytes(bytes_at(raw, layout::VERSION))
}

/// A report that is exactly what its bytes say. Nothing vouches for it until [`Report::is_signed_by`] does.
pub(crate) struct Report {
    parsed: AttestationReport,
    /// POLICY as it came: `sev` sets the must-be-one bit when asked for it.
    pub(crate) guest_policy: u64,
}

impl Report {
    /// Parses, and insists that the parsed form says all that the bytes say.
    pub(crate) fn parse(raw: &[u8; REPORT_BYTES]) -> Result<Self, Reason> {
        let parsed = AttestationReport::from_bytes(raw).map_err(|_| Reason::ReportEncoding)?;
        let again = parsed.to_bytes().map_err(|_| Reason::ReportEncoding)?;
        if &again != raw {
            return Err(Reason::ReportEncoding);
        }
        let padded = |scalar: &[u8; layout::SCALAR_BYTES]| {
            scalar[layout::SCALAR_USED..].iter().all(|byte| *byte == 0)
        };
        if !padded(parsed.signature.r()) || !padded(parsed.signature.s()) {
            return Err(Reason::SignaturePadding);
        }
        Ok(Self {
            parsed,
            guest_policy: u64::from_le_bytes(bytes_at(raw, layout::POLICY)),
        })
    }

    pub(crate) fn signature_algorithm(&self) -> u32 {
        self.parsed.sig_algo
    }

    /// Whether a VCEK is said to have signed: not a VLEK, not nobody (AMD 56860, table 24).
    pub(crate) fn signed_with_vcek(&self) -> bool {
        self.parsed.key_info.signing_key() == 0 && !self.parsed.key_info.mask_chip_key()
    }

    /// The product the report's CPUID values stand for; version 2 carries none. `Err` when they stand for none we know.
    pub(crate) fn product(&self) -> Option<Result<Product, ()>> {
        let (family, model) = (self.parsed.cpuid_fam_id?, self.parsed.cpuid_mod_id?);
        Some(match sev::Generation::identify_cpu(family, model) {
            Ok(sev::Generation::Milan) => Ok(Product::Milan),
            Ok(sev::Generation::Genoa) => Ok(Product::Genoa),
            Ok(sev::Generation::Turin) => Ok(Product::Turin),
            Ok(sev::Generation::Venice) | Err(_) => Err(()),
        })
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

    pub(crate) fn platform_info(&self) -> u64 {
        self.parsed.plat_info.into()
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

    /// Whether this certificate's key signed the report: ECDSA P-384 over SHA-384 of the first 0x2A0 bytes.
    pub(crate) fn is_signed_by(&self, vcek: &x509_cert::Certificate) -> bool {
        (&Certificate::from(vcek.clone()), &self.parsed)
            .verify()
            .is_ok()
    }
}

/// Whether the issuer's RSA key signed the certificate, with PSS and SHA-384 (AMD 57230, chapter 3).
pub(crate) fn is_issued_by(
    certificate: &x509_cert::Certificate,
    issuer: &x509_cert::Certificate,
) -> bool {
    (
        &Certificate::from(issuer.clone()),
        &Certificate::from(certificate.clone()),
    )
        .verify()
        .is_ok()
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

fn bytes_at<const N: usize>(raw: &[u8; REPORT_BYTES], at: usize) -> [u8; N] {
    raw[at..at + N]
        .try_into()
        .expect("the layout's offsets lie inside a report")
}
