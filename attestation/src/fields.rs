//! A report field by field, for people who look at one: nothing is judged.

use crate::certificate::Endorsement;
use crate::evidence::{Evidence, Parts, REPORT_BYTES};
use crate::reason::Reason;
use crate::snp::{self, Report};
use crate::tdx::Quote;

/// One field of a report or of its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in AMD's document.
    pub name: &'static str,
    /// Where it is in the report, in bytes; `None` for what the certificate says.
    pub offset: Option<usize>,
    /// What it holds.
    pub value: String,
    /// What that means, where the value does not say it.
    pub meaning: String,
}

/// Every field of a report (AMD 56860, table 23).
///
/// # Errors
/// The [`Reason`] a verifier would refuse the report's form for.
///
/// # Security
/// No signature is looked at: this is what the bytes say, not what a machine said.
pub fn of_report(raw: &[u8; REPORT_BYTES]) -> Result<Vec<Field>, Reason> {
    let report = Report::parse(raw)?;
    let mut fields = Vec::new();
    let mut add = |name, offset, value: String, meaning: String| {
        fields.push(Field {
            name,
            offset: Some(offset),
            value,
            meaning,
        });
    };
    let none = String::new;
    let (policy, platform) = (report.guest_policy(), report.platform_info());
    add("VERSION", 0x00, snp::version(raw).to_string(), none());
    add("GUEST_SVN", 0x04, report.guest_svn().to_string(), none());
    add("POLICY", 0x08, format!("{policy:#x}"), guest_policy(policy));
    add("FAMILY_ID", 0x10, hex::encode(report.family_id()), none());
    add("IMAGE_ID", 0x20, hex::encode(report.image_id()), none());
    add("VMPL", 0x30, report.vmpl().to_string(), none());
    let algorithm = "ECDSA P-384 with SHA-384".to_owned();
    add(
        "SIGNATURE_ALGO",
        0x34,
        snp::SIGNATURE_ALGORITHM.to_string(),
        algorithm,
    );
    add(
        "CURRENT_TCB",
        0x38,
        report.current_tcb().to_string(),
        none(),
    );
    add(
        "PLATFORM_INFO",
        0x40,
        format!("{platform:#x}"),
        platform_info(platform),
    );
    let signer = report
        .signing_key()
        .map_or("nobody, or a masked VCEK".to_owned(), |key| key.to_string());
    let author = if report.key_info() & 1 == 1 {
        ", author key"
    } else {
        ""
    };
    let key_info = format!("signed by {signer}{author}");
    add(
        "KEY_INFO",
        0x48,
        format!("{:#x}", report.key_info()),
        key_info,
    );
    add(
        "REPORT_DATA",
        0x50,
        hex::encode(report.report_data().as_bytes()),
        none(),
    );
    add(
        "MEASUREMENT",
        0x90,
        report.measurement().to_string(),
        none(),
    );
    add("HOST_DATA", 0xC0, report.host_data().to_string(), none());
    add(
        "ID_KEY_DIGEST",
        0xE0,
        hex::encode(report.id_key_digest()),
        none(),
    );
    add(
        "AUTHOR_KEY_DIGEST",
        0x110,
        hex::encode(report.author_key_digest()),
        none(),
    );
    add("REPORT_ID", 0x140, hex::encode(report.report_id()), none());
    add(
        "REPORT_ID_MA",
        0x160,
        hex::encode(report.report_id_ma()),
        none(),
    );
    add(
        "REPORTED_TCB",
        0x180,
        report.reported_tcb().to_string(),
        none(),
    );
    if let Some((family, model, stepping)) = report.cpuid() {
        let product = match report.product() {
            Some(Ok(product)) => product.to_string(),
            Some(Err(())) | None => "unknown here".to_owned(),
        };
        let cpuid = format!("{family:#x}, {model:#x}, {stepping:#x}");
        add("CPUID_FAM_ID, _MOD_ID, _STEP", 0x188, cpuid, product);
    }
    add("CHIP_ID", 0x1A0, report.chip_id().to_string(), none());
    add(
        "COMMITTED_TCB",
        0x1E0,
        report.committed_tcb().to_string(),
        none(),
    );
    add(
        "CURRENT_VERSION",
        0x1E8,
        report.current_firmware().to_string(),
        none(),
    );
    add(
        "COMMITTED_VERSION",
        0x1EC,
        report.committed_firmware().to_string(),
        none(),
    );
    add("LAUNCH_TCB", 0x1F0, report.launch_tcb().to_string(), none());
    if let Some((launch, current)) = report.mitigations() {
        add("LAUNCH_MIT_VECTOR", 0x1F8, format!("{launch:#x}"), none());
        add("CURRENT_MIT_VECTOR", 0x200, format!("{current:#x}"), none());
    }
    let signature = &raw[snp::layout::SIGNATURE..snp::layout::SIGNATURE + 144];
    add(
        "SIGNATURE",
        snp::layout::SIGNATURE,
        hex::encode(signature),
        none(),
    );
    Ok(fields)
}

/// Every field of evidence: the report's, and what its certificate says of itself.
///
/// # Errors
/// The [`Reason`] a verifier would refuse the form of either for.
pub fn of_evidence(evidence: &Evidence) -> Result<Vec<Field>, Reason> {
    let (report, vcek_der) = match evidence.parts() {
        Parts::Snp { report, vcek_der } => (report, vcek_der),
        Parts::Tdx(quote) => return of_quote(quote),
    };
    let mut fields = of_report(report)?;
    let report = Report::parse(report)?;
    let Some(key) = report.signing_key() else {
        return Ok(fields);
    };
    let endorsement = Endorsement::parse(vcek_der, key)?;
    let tbs = &endorsement.certificate.tbs_certificate;
    let mut add = |name, value: String| {
        fields.push(Field {
            name,
            offset: None,
            value,
            meaning: String::new(),
        });
    };
    add("certificate", endorsement.key.to_string());
    add("subject", tbs.subject.to_string());
    add("issuer", tbs.issuer.to_string());
    add("not before", tbs.validity.not_before.to_string());
    add("not after", tbs.validity.not_after.to_string());
    add("product", endorsement.product.to_string());
    add("TCB", endorsement.tcb.to_string());
    if let Some(csp_id) = endorsement.csp_id {
        add("CSP id", csp_id);
    } else {
        add("hardware id", hex::encode(&endorsement.hardware_id));
    }
    Ok(fields)
}

/// Every field of a quote of Intel TDX that says something of its TD, and what its PCK says of the platform. Offsets are those in the
/// TD report, which begins at byte 48 of a quote of version 4 and at byte 54 of version 5.
fn of_quote(raw: &[u8]) -> Result<Vec<Field>, Reason> {
    let quote = Quote::parse(raw)?;
    let td = quote.td();
    let mut fields = Vec::new();
    let mut add = |name, offset, value: String, meaning: String| {
        fields.push(Field {
            name,
            offset,
            value,
            meaning,
        });
    };
    let none = String::new;
    let body = quote.body().to_owned();
    add("VERSION", None, quote.version().to_string(), body);
    add(
        "TEE_TCB_SVN",
        Some(0x000),
        hex::encode(td.tee_tcb_svn),
        none(),
    );
    if let Some(svn) = td.tee_tcb_svn2 {
        add("TEE_TCB_SVN_2", Some(0x248), hex::encode(svn), none());
    }
    add("MRSEAM", Some(0x010), td.mr_seam.to_string(), none());
    let attributes = format!("{:#x}", td.attributes);
    add(
        "ATTRIBUTES",
        Some(0x078),
        attributes,
        td_attributes(td.attributes),
    );
    add("XFAM", Some(0x080), format!("{:#x}", td.xfam), none());
    for (name, offset, value) in [
        ("MRTD", 0x088, td.mr_td),
        ("MRCONFIGID", 0x0B8, td.mr_config_id),
        ("MROWNER", 0x0E8, td.mr_owner),
        ("MROWNERCONFIG", 0x118, td.mr_owner_config),
        ("RTMR0", 0x148, td.rtmr[0]),
        ("RTMR1", 0x178, td.rtmr[1]),
        ("RTMR2", 0x1A8, td.rtmr[2]),
        ("RTMR3", 0x1D8, td.rtmr[3]),
    ] {
        add(name, Some(offset), value.to_string(), none());
    }
    let statement = hex::encode(td.report_data.as_bytes());
    add("REPORTDATA", Some(0x208), statement, none());
    let family = hex::encode_upper(quote.fmspc);
    add("FMSPC", None, family, "family of platforms".to_owned());
    add(
        "platform",
        None,
        quote.platform.to_string(),
        "PPID".to_owned(),
    );
    add("root", None, hex::encode(quote.root_hash), none());
    Ok(fields)
}

/// A TD's attributes in words (Intel TDX Module ABI).
fn td_attributes(bits: u64) -> String {
    const NAMES: [(u32, &str); 10] = [
        (0, "DEBUG"),
        (4, "PROFILING, thread level"),
        (5, "PROFILING, performance"),
        (6, "PROFILING"),
        (17, "SERVICE TD extension"),
        (28, "SEPT_VE_DISABLE"),
        (29, "MIGRATABLE"),
        (30, "PKS"),
        (31, "key locker"),
        (63, "PERFMON"),
    ];
    words(bits, &NAMES, 64, String::new())
}

/// The guest policy in words (AMD 56860, table 10).
fn guest_policy(bits: u64) -> String {
    const NAMES: [(u32, &str); 9] = [
        (16, "SMT allowed"),
        (18, "MIGRATION AGENT allowed"),
        (19, "DEBUG allowed"),
        (20, "single socket"),
        (21, "CXL allowed"),
        (22, "AES-256-XTS"),
        (23, "RAPL disabled"),
        (24, "ciphertext hiding"),
        (25, "page swap disabled"),
    ];
    let abi = format!("ABI {}.{} or later", bits >> 8 & 0xFF, bits & 0xFF);
    words(bits, &NAMES, 26, abi)
}

/// The platform's state in words (AMD 56860, table 25).
fn platform_info(bits: u64) -> String {
    const NAMES: [(u32, &str); 7] = [
        (0, "SMT on"),
        (1, "TSME on"),
        (2, "ECC on"),
        (3, "RAPL disabled"),
        (4, "ciphertext hiding on"),
        (5, "alias check complete"),
        (7, "SEV-TIO on"),
    ];
    let unknown = bits & !0xBF;
    let mut text = words(bits, &NAMES, 64, String::new());
    if unknown != 0 {
        text.push_str(&format!(", unknown bits {unknown:#x}"));
    }
    text
}

fn words(bits: u64, names: &[(u32, &str)], reserved_from: u32, first: String) -> String {
    let mut words: Vec<String> = Some(first)
        .filter(|it| !it.is_empty())
        .into_iter()
        .collect();
    for (index, name) in names {
        if bits >> index & 1 == 1 {
            words.push((*name).to_owned());
        }
    }
    if reserved_from < 64 && bits >> reserved_from != 0 {
        words.push("RESERVED BITS".to_owned());
    }
    words.join(", ")
}
