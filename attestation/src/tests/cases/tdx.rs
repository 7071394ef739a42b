//! Quotes that are bad: their form, who signed them, which TD they are of.

use super::*;
use crate::simulated::tdx::{Key, Platform, QuoteDraft, sgx_extension};
use crate::tests::tdx_world::{TD, attester as td, quote};

/// Where things are in a TD report (Intel TDX Module ABI).
const TEE_TCB_SVN: usize = 0x000;
const MRSEAM: usize = 0x010;
const MRSIGNERSEAM: usize = 0x040;
const SEAM_ATTRIBUTES: usize = 0x070;
const ATTRIBUTES: usize = 0x078;
const XFAM: usize = 0x080;
const MRCONFIGID: usize = 0x0B8;
const REPORTDATA: usize = 0x208;

fn digest(byte: u8) -> String {
    format!("{byte:02x}").repeat(48)
}

/// A quote of version 5 with a TD report 1.5, of a TD whose module's levels are these.
pub(super) fn version_5(draft: &mut QuoteDraft, now_svn: [u8; 2]) {
    draft.header[0] = 5;
    draft.descriptor = [3_u16.to_le_bytes().as_slice(), &648_u32.to_le_bytes()].concat();
    draft.td.extend(now_svn);
    draft.td.extend([0; 14 + 48]);
}

/// A platform like the others, but for what is done to it.
fn platform(edit: impl FnOnce(&mut Platform)) -> Vec<u8> {
    let mut platform = Platform {
        ppid: TD.platform.to_vec(),
        pce_id: [0; 2],
        fmspc: [0xFF, 0x51, 0x4D, 0, 0, 0],
        configuration: Some([false; 3]),
    };
    edit(&mut platform);
    sgx_extension(&platform).unwrap()
}

/// A good quote from such a platform.
pub(super) fn on_platform(edit: impl FnOnce(&mut Platform)) -> Vec<u8> {
    let vendor = tdx_world::vendor();
    let machine = vendor.machine_with_extension(TD, start(), platform(edit));
    machine.unwrap().quote_edited(STATEMENT, |_| ())
}

pub(super) fn platforms() -> Vec<Case> {
    let flag = |place: usize| on_platform(|it| it.configuration.as_mut().unwrap()[place] = true);
    vec![
        Case::tdx(
            "another provisioning enclave",
            Reason::TdxPceId,
            on_platform(|platform| platform.pce_id = [0, 1]),
        ),
        Case::tdx(
            "a platform that may be extended",
            Reason::TdxDynamicPlatform,
            flag(0),
        )
        .rules("allow_smt = true\nallow_cached_keys = true"),
        Case::tdx(
            "a platform whose keys are cached",
            Reason::TdxCachedKeys,
            flag(1),
        )
        .rules("allow_smt = true\nallow_dynamic_platform = true"),
        Case::tdx("a platform with hyper-threads", Reason::TdxSmt, flag(2))
            .rules("allow_dynamic_platform = true\nallow_cached_keys = true"),
    ]
}

pub(super) fn quotes() -> Vec<Case> {
    let good = quote(|_| ());
    let mut cases = Vec::new();
    let mut case = |name: &str, reason, bytes: Vec<u8>| cases.push(Case::tdx(name, reason, bytes));
    let edited = |edit: fn(&mut QuoteDraft)| quote(edit);

    use Reason::TdxQuoteEncoding as Encoding;
    case("cut short", Encoding, good[..1000].to_vec());
    case(
        "a byte behind it",
        Encoding,
        [good.as_slice(), &[0]].concat(),
    );
    case("a byte behind its chain", Encoding, {
        // The lengths of what it lies in are made to fit; who signs is not touched.
        let mut bytes = [good.as_slice(), &[0]].concat();
        for at in [632, 632 + 4 + 130] {
            let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) + 1;
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
        bytes
    });
    case(
        "an enclave's report in version 5",
        Encoding,
        edited(|draft| {
            draft.header[0] = 5;
            draft.descriptor = [1_u16.to_le_bytes().as_slice(), &384_u32.to_le_bytes()].concat();
            draft.td.truncate(384);
        }),
    );
    case(
        "a body of another size",
        Encoding,
        edited(|draft| {
            version_5(draft, [5, 1]);
            draft.descriptor[2] ^= 1;
        }),
    );
    case(
        "P-384",
        Reason::TdxKeyType,
        edited(|draft| draft.header[2] = 3),
    );
    case(
        "certified by an encrypted PPID",
        Reason::TdxKeyType,
        edited(|draft| draft.certification.1 = 3),
    );
    case(
        "certified without the enclave's report",
        Reason::TdxKeyType,
        edited(|draft| draft.certification.0 = 5),
    );
    case(
        "another vendor's enclave",
        Reason::TdxQeVendor,
        edited(|draft| draft.header[12] ^= 1),
    );
    use Reason::TdxCertificateEncoding as Certificates;
    case(
        "a chain without its root",
        Certificates,
        edited(|draft| {
            let text = String::from_utf8(draft.chain.clone()).unwrap();
            let end = text.rfind("-----BEGIN").unwrap();
            draft.chain.truncate(end);
        }),
    );
    case(
        "a chain with another end of line",
        Certificates,
        edited(|draft| {
            let text = String::from_utf8(draft.chain.clone()).unwrap();
            draft.chain = text.replace('\n', "\r\n").into_bytes();
        }),
    );
    case(
        "a chain that ends with two zeros",
        Certificates,
        edited(|draft| draft.chain.push(0)),
    );
    case(
        "a chain that is no text",
        Certificates,
        edited(|draft| draft.chain[40] = 0xFF),
    );
    for (name, extension) in [
        ("no platform in the PCK", Vec::new()),
        (
            "a PPID of 8 bytes",
            platform(|platform| platform.ppid = vec![1; 8]),
        ),
    ] {
        let vendor = tdx_world::vendor();
        let machine = vendor
            .machine_with_extension(TD, start(), extension)
            .unwrap();
        case(name, Certificates, machine.quote_edited(STATEMENT, |_| ()));
    }

    case(
        "a report that the PCK did not sign",
        Reason::TdxQeReportSignature,
        edited(|draft| draft.pck = Key::random()),
    );
    case(
        "an enclave that vouches for another key",
        Reason::TdxQeReportData,
        edited(|draft| draft.vouches = false),
    );
    case(
        "an enclave's data that is short",
        Reason::TdxQeReportData,
        edited(|draft| draft.qe_auth_data.truncate(31)),
    );
    type EditReport = fn(&mut [u8; 384]);
    let enclaves: [(&str, EditReport); 5] = [
        ("another signer's enclave", |report| report[128] ^= 1),
        ("another enclave of the signer's", |report| report[256] ^= 1),
        ("an enclave with other attributes", |report| {
            report[48] ^= 0x20
        }),
        ("an enclave in debug mode", |report| report[48] |= 2),
        ("an enclave below every level", |report| report[258] = 3),
    ];
    for (name, edit) in enclaves {
        let bytes = quote(|draft| edit(&mut draft.qe_report));
        case(name, Reason::TdxQeIdentity, bytes);
    }
    // Byte 20 is signed by the attestation key, which signed another.
    let mut other = good.clone();
    other[48 + REPORTDATA] ^= 1;
    case(
        "a TD report that was changed",
        Reason::TdxQuoteSignature,
        other,
    );
    let mut other = good;
    other[636] ^= 1;
    case(
        "a signature that was changed",
        Reason::TdxQuoteSignature,
        other,
    );
    for version in [4_u8, 5] {
        let bytes = quote(|draft| {
            if version == 5 {
                version_5(draft, [5, 1]);
            }
        });
        let case = Case::tdx(
            format!("version {version}, not listed"),
            Reason::TdxQuoteVersion,
            bytes,
        );
        let listed = format!("[{}]", 9 - version);
        cases.push(case.snp_replaced("[4, 5]", &listed));
    }
    cases
}

pub(super) fn machines() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, reason, edit: &dyn Fn(&mut Vec<u8>)| {
        let bytes = quote(|draft| edit(&mut draft.td));
        cases.push(Case::tdx(name, reason, bytes));
    };
    case("debugging", Reason::TdxDebug, &|td| td[ATTRIBUTES] |= 1);
    case("profiling", Reason::TdxDebug, &|td| td[ATTRIBUTES] |= 0x10);
    case(
        "a reserved attribute",
        Reason::TdxAttributesReserved,
        &|td| td[ATTRIBUTES + 4] |= 1,
    );
    case("migration", Reason::TdxMigratable, &|td| {
        td[ATTRIBUTES + 3] |= 0x20
    });
    case("a service TD's extension", Reason::TdxServiceTd, &|td| {
        td[ATTRIBUTES + 2] |= 2
    });
    case("faults by the host", Reason::TdxSeptVeDisable, &|td| {
        td[ATTRIBUTES + 3] &= !0x10
    });
    case("another module's signer", Reason::TdxModule, &|td| {
        td[MRSIGNERSEAM] ^= 1
    });
    case("a module with attributes", Reason::TdxModule, &|td| {
        td[SEAM_ATTRIBUTES] ^= 1
    });
    case("a module of an unknown version", Reason::TdxModule, &|td| {
        td[TEE_TCB_SVN + 1] = 2
    });
    case("a module below every level", Reason::TdxModule, &|td| {
        td[TEE_TCB_SVN] = 3
    });
    case(
        "a module that is out of date",
        Reason::TdxTcbStatus,
        &|td| td[TEE_TCB_SVN] = 4,
    );
    case("a feature that is unknown", Reason::TdxXfam, &|td| {
        td[XFAM + 7] |= 1
    });
    case("without SSE", Reason::TdxXfam, &|td| td[XFAM] &= !2);
    case("counters", Reason::TdxPerfmon, &|td| {
        td[ATTRIBUTES + 7] |= 0x80
    });
    case("other software", Reason::TdxMrTd, &|td| td[0x088] ^= 1);
    case("another configuration", Reason::HostData, &|td| {
        td[MRCONFIGID] ^= 1
    });
    case("a longer configuration", Reason::HostData, &|td| {
        td[MRCONFIGID + 47] ^= 1
    });
    case("another statement", Reason::ReportData, &|td| {
        td[REPORTDATA + 63] ^= 1
    });

    let mut ruled = |name: &str, reason, lines: String| {
        cases.push(Case::tdx(name, reason, quote(|_| ())).rules(&lines));
    };
    let least = |bytes: &str| format!("min_tee_tcb_svn = \"{bytes}{}\"", "00".repeat(14));
    ruled(
        "a newer module asked for",
        Reason::TdxTeeTcbSvn,
        least("0601"),
    );
    ruled(
        "a newer major asked for",
        Reason::TdxTeeTcbSvn,
        least("0502"),
    );
    for (field, reason) in [
        ("mr_seam", Reason::TdxMrSeam),
        ("mr_config_ids", Reason::TdxMrConfigId),
        ("mr_owners", Reason::TdxMrOwner),
        ("mr_owner_configs", Reason::TdxMrOwnerConfig),
        ("rtmr0", Reason::TdxRtmr0),
        ("rtmr1", Reason::TdxRtmr1),
        ("rtmr2", Reason::TdxRtmr2),
        ("rtmr3", Reason::TdxRtmr3),
    ] {
        let lines = format!("{field} = [\"{}\"]", digest(9));
        ruled(&format!("another {field}"), reason, lines);
    }
    ruled(
        "AVX, not allowed",
        Reason::TdxXfam,
        "allowed_xfam = \"0000000000000003\"".to_owned(),
    );
    let denied = format!("denied_platforms = [\"{}\"]", "7d".repeat(16));
    ruled("a denied platform", Reason::ChipDenied, denied);

    // The module was updated under the running TD, and what runs now is older than what is asked for.
    let svn = format!("min_tee_tcb_svn = \"0501{}\"", "00".repeat(14));
    let launched_newer = quote(|draft| version_5(draft, [4, 1]));
    let case = Case::tdx(
        "an older module that runs now",
        Reason::TdxTeeTcbSvn,
        launched_newer,
    );
    cases.push(case.rules(&svn));
    let service = quote(|draft| {
        version_5(draft, [5, 1]);
        draft.td[600] = 1;
    });
    cases.push(Case::tdx("a service TD", Reason::TdxServiceTd, service));

    let good = quote(|_| ());
    let other_chip = ChipId::new([0x7D; 64]);
    let case = Case::tdx("another platform", Reason::ChipId, good.clone());
    cases.push(case.on(other_chip));
    let case = Case::tdx(
        "a platform where none is listed",
        Reason::ChipId,
        good.clone(),
    );
    cases.push(case.on(ChipId::HIDDEN));
    let mut snp = Case::new(
        "a report, under a policy without SEV-SNP",
        Reason::EvidenceSnp,
        &edited(|_| ()),
    );
    snp.policy = tdx_world::policy_text();
    snp.store = tdx_world::store();
    cases.push(snp);
    assert_eq!(td().declaration(), &TD);
    assert_eq!(good[48 + MRSEAM], 0);
    cases
}
