//! A quote that is exactly what its bytes say, and the certificates that it brings.

use dcap_qvl::INTEL_QE_VENDOR_ID;
use dcap_qvl::intel::parse_pck_extension_with;
use dcap_qvl::quote::{AuthData, Quote as Parsed, Report, TDReport10};
use scale::Encode as _;
use sha2::{Digest, Sha256};
use x509_cert::der::pem::{LineEnding, encode_string};

use super::library::Backend;
use crate::certificate::{Dates, parse_strict};
use crate::machine::{ChipId, Measurement};
use crate::pem;
use crate::reason::Reason;
use crate::require::require;
use crate::snp::is_zero;
use crate::statements::ReportData;

/// The versions of quotes of TDX: 4 is of TDX 1.0, 5 of 1.5 (Intel TDX DCAP quoting library API, appendix 3).
pub(crate) const KNOWN_VERSIONS: std::ops::RangeInclusive<u16> = 4..=5;

/// ECDSA on P-256.
const KEY_TYPE: u16 = 2;

/// What certifies the attestation key: a report of the quoting enclave, with the PCK's chain of certificates in PEM.
const CERTIFICATION: (u16, u16) = (6, 5);

/// The certificates of a quote: the PCK, the authority that issued it, the root.
const CHAIN: usize = 3;

/// A quote of Intel TDX. Nothing vouches for it until [`super::appraise`] does.
pub(crate) struct Quote {
    raw: Vec<u8>,
    parsed: Parsed,
    td: TDReport10,
    /// When all of its certificates are valid.
    pub(crate) dates: Dates,
    /// SHA-256 of the root that it brings.
    pub(crate) root_hash: [u8; 32],
    /// Which platform the PCK is for, as the roster writes it: its PPID, then zeros.
    pub(crate) platform: ChipId,
    /// The family of platforms that Intel's collateral is about.
    pub(crate) fmspc: [u8; 6],
    /// The provisioning enclave that Intel's collateral is about.
    pub(crate) pce_id: [u8; 2],
    pub(crate) flags: PlatformFlags,
}

/// What a PCK says of its platform's configuration: nothing where Intel's Processor CA issued it, which certifies platforms of one package.
#[derive(Clone, Copy)]
pub(crate) struct PlatformFlags {
    pub(crate) smt: Option<bool>,
    pub(crate) dynamic_platform: Option<bool>,
    pub(crate) cached_keys: Option<bool>,
}

/// What a quote says of its TD.
pub(crate) struct Td {
    pub(crate) tee_tcb_svn: [u8; 16],
    /// From TDX 1.5 on: of the module that runs now, which may have been updated under the running TD.
    pub(crate) tee_tcb_svn2: Option<[u8; 16]>,
    pub(crate) mr_seam: Measurement,
    pub(crate) attributes: u64,
    pub(crate) xfam: u64,
    pub(crate) mr_td: Measurement,
    pub(crate) mr_config_id: Measurement,
    pub(crate) mr_owner: Measurement,
    pub(crate) mr_owner_config: Measurement,
    pub(crate) rtmr: [Measurement; 4],
    pub(crate) report_data: ReportData,
}

impl Quote {
    /// What [`Quote::parse`] refuses for, in this order, beside a version that is not known here.
    pub(crate) const CHECKS: &'static [Reason] = &[
        Reason::TdxQuoteEncoding,
        Reason::TdxKeyType,
        Reason::TdxQeVendor,
        Reason::TdxCertificateEncoding,
    ];

    /// Parses, and insists that the parsed form says all that the bytes say.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, Reason> {
        if !KNOWN_VERSIONS.contains(&version(raw)) {
            return Err(Reason::TdxQuoteVersion);
        }
        let parsed = Parsed::parse(raw).map_err(|_| Reason::TdxQuoteEncoding)?;
        require(parsed.encode() == raw, Reason::TdxQuoteEncoding)?;
        let td = *parsed.report.as_td10().ok_or(Reason::TdxQuoteEncoding)?;
        let AuthData::V4(signed) = &parsed.auth_data else {
            return Err(Reason::TdxQuoteEncoding);
        };
        let certification = (
            signed.certification_data.cert_type,
            parsed.inner_cert_type(),
        );
        require(
            parsed.header.attestation_key_type == KEY_TYPE,
            Reason::TdxKeyType,
        )?;
        require(certification == CERTIFICATION, Reason::TdxKeyType)?;
        require(
            parsed.header.qe_vendor_id == INTEL_QE_VENDOR_ID,
            Reason::TdxQeVendor,
        )?;
        let chain = Chain::parse(parsed.inner_cert_data())?;
        Ok(Self {
            raw: raw.to_vec(),
            td,
            dates: chain.dates,
            root_hash: chain.root_hash,
            platform: chain.platform,
            fmspc: chain.fmspc,
            pce_id: chain.pce_id,
            flags: chain.flags,
            parsed,
        })
    }

    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    pub(crate) fn version(&self) -> u16 {
        self.parsed.header.version
    }

    /// What it says of its TD.
    pub(crate) fn td(&self) -> Td {
        let (td, second) = (&self.td, self.parsed.report.as_td15());
        Td {
            tee_tcb_svn: td.tee_tcb_svn,
            tee_tcb_svn2: second.map(|td| td.tee_tcb_svn2),
            mr_seam: Measurement::new(td.mr_seam),
            attributes: u64::from_le_bytes(td.td_attributes),
            xfam: u64::from_le_bytes(td.xfam),
            mr_td: Measurement::new(td.mr_td),
            mr_config_id: Measurement::new(td.mr_config_id),
            mr_owner: Measurement::new(td.mr_owner),
            mr_owner_config: Measurement::new(td.mr_owner_config),
            rtmr: [td.rt_mr0, td.rt_mr1, td.rt_mr2, td.rt_mr3].map(Measurement::new),
            report_data: ReportData::new(td.report_data),
        }
    }

    /// The body's name.
    pub(crate) fn body(&self) -> &'static str {
        match &self.parsed.report {
            Report::TD10(_) => "TD report 1.0",
            Report::TD15(_) => "TD report 1.5",
            Report::TD15Ex(_) => "TD report 1.5, extended",
            Report::SgxEnclave(_) => "an enclave's report",
        }
    }
}

/// The PCK's chain of certificates, which vouches for nothing yet.
struct Chain {
    dates: Dates,
    root_hash: [u8; 32],
    platform: ChipId,
    fmspc: [u8; 6],
    pce_id: [u8; 2],
    flags: PlatformFlags,
}

impl Chain {
    /// Three certificates in PEM, as Intel writes them and no other way, so that no bit of the text can be another. Intel's text ends
    /// with a zero byte.
    fn parse(text: &[u8]) -> Result<Self, Reason> {
        const REASON: Reason = Reason::TdxCertificateEncoding;
        let blocks = pem::blocks(text.strip_suffix(&[0]).unwrap_or(text)).map_err(|_| REASON)?;
        let blocks = <[pem::Block; CHAIN]>::try_from(blocks).map_err(|_| REASON)?;
        let mut again = String::new();
        for block in &blocks {
            let block = encode_string(pem::CERTIFICATE, LineEnding::LF, &block.der);
            again += &block.map_err(|_| REASON)?;
        }
        let written = again.as_bytes();
        require(
            text == written || text.strip_suffix(&[0]) == Some(written),
            REASON,
        )?;
        let der = blocks.map(|block| block.der);
        let mut dates = None;
        for der in &der {
            let certificate = parse_strict(der).map_err(|_| REASON)?;
            let own = Dates::of(&certificate);
            dates = Some(dates.map_or(own, |dates: Dates| dates.and(own)));
        }
        let pck = parse_pck_extension_with::<Backend>(&der[0]).map_err(|_| REASON)?;
        let ppid: [u8; 16] = pck.ppid.try_into().map_err(|_| REASON)?;
        Ok(Self {
            root_hash: Sha256::digest(&der[CHAIN - 1]).into(),
            dates: dates.ok_or(REASON)?,
            platform: platform_id(&ppid),
            fmspc: pck.fmspc,
            pce_id: pck.pce_id.try_into().map_err(|_| REASON)?,
            flags: PlatformFlags {
                smt: pck.smt_enabled,
                dynamic_platform: pck.dynamic_platform,
                cached_keys: pck.cached_keys,
            },
        })
    }
}

/// What a kernel hands out, without the zeros behind the quote: Intel's service pads quotes of version 4 to a fixed length. Anything
/// else behind it is left, and refused where the quote is read.
pub(crate) fn without_padding(outblob: &[u8]) -> &[u8] {
    let end = Parsed::parse(outblob).map_or(outblob.len(), |parsed| parsed.encode().len());
    match outblob.split_at_checked(end) {
        Some((quote, rest)) if is_zero(rest) => quote,
        Some(_) | None => outblob,
    }
}

/// A platform's identifier as the roster writes it: the PPID, then zeros.
pub(crate) fn platform_id(ppid: &[u8; 16]) -> ChipId {
    let mut bytes = [0; 64];
    bytes[..16].copy_from_slice(ppid);
    ChipId::new(bytes)
}

/// The version a quote claims, before anything else of it is read; 0 where there is none.
pub(crate) fn version(raw: &[u8]) -> u16 {
    raw.first_chunk()
        .map_or(0, |bytes| u16::from_le_bytes(*bytes))
}
