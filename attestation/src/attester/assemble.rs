//! A report and the certificate of the key that signed it, put together: what is not this machine's answer is not sent.

use super::AttesterFault;
use super::certificates::{CertificateTable, StapledCertificates};
use crate::certificate::{EndorsementKey, parse_strict};
use crate::evidence::{Evidence, REPORT_BYTES};
use crate::machine::{ChipId, Product};
use crate::reason::Reason;
use crate::snp::Report;
use crate::statements::ReportData;
use crate::tdx::Quote;

/// Finds the certificate whose key signed the report: the host's first, then the stapled ones.
pub(super) fn assemble(
    report: [u8; REPORT_BYTES],
    asked: ReportData,
    table: &CertificateTable,
    stapled: &StapledCertificates,
) -> Result<Evidence, AttesterFault> {
    let parsed = Report::parse(&report).map_err(|reason| AttesterFault::Malformed {
        what: "the machine's report",
        why: reason.meaning(),
    })?;
    if parsed.report_data() != asked {
        return Err(AttesterFault::OtherStatement);
    }
    let key = parsed.signing_key().ok_or(AttesterFault::Malformed {
        what: "the machine's report",
        why: "no key of AMD's signed it: the host masks the chip's key",
    })?;
    let handed_out: Vec<Vec<u8>> = table.of(key).cloned().collect();
    let mut tried = handed_out.len();
    let mut found = handed_out.into_iter().find(|der| signed(&parsed, der));
    if found.is_none() {
        let stapled = stapled.read()?;
        tried += stapled.len();
        found = stapled.into_iter().find(|der| signed(&parsed, der));
    }
    let der = found.ok_or_else(|| AttesterFault::NoCertificate {
        tried,
        remedy: remedy(&parsed, key),
    })?;
    Evidence::new(report, der).map_err(|reason| AttesterFault::new(reason.meaning()))
}

/// Takes a quote, without what a kernel hands out behind it.
pub(super) fn assemble_quote(outblob: &[u8], asked: ReportData) -> Result<Evidence, AttesterFault> {
    let malformed = |reason: Reason| AttesterFault::Malformed {
        what: "the machine's quote",
        why: reason.meaning(),
    };
    let evidence = Evidence::of_quote(outblob).map_err(malformed)?;
    let quote = Quote::parse(evidence.report()).map_err(malformed)?;
    if quote.td().report_data != asked {
        return Err(AttesterFault::OtherStatement);
    }
    Ok(evidence)
}

fn signed(report: &Report, der: &[u8]) -> bool {
    parse_strict(der).is_ok_and(|certificate| report.is_signed_by(&certificate))
}

/// Where the certificate is to be had. A VCEK's address is made of its chip and its firmware level (AMD 57230, chapter 4), both of
/// which the report names.
fn remedy(report: &Report, key: EndorsementKey) -> String {
    if key == EndorsementKey::Vlek {
        return "have the cloud provider's host hand out its VLEK, or staple it as `certificates`"
            .to_owned();
    }
    let (product, chip_id) = (report.product(), report.chip_id());
    let (Some(Ok(product)), true) = (product, chip_id != ChipId::HIDDEN) else {
        return "fetch this chip's VCEK from AMD for the reported TCB, and staple it as `certificates`".to_owned();
    };
    let tcb = report.reported_tcb();
    let chip = hex::encode(&chip_id.as_bytes()[..product.chip_id_bytes()]);
    let fmc = match (product, tcb.fmc) {
        (Product::Turin, Some(fmc)) => format!("fmcSPL={fmc:02}&"),
        (Product::Turin | Product::Milan | Product::Genoa, _) => String::new(),
    };
    format!(
        "fetch https://kdsintf.amd.com/vcek/v1/{product}/{chip}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02} and staple it \
         as `certificates`",
        tcb.bootloader, tcb.tee, tcb.snp, tcb.microcode
    )
}
