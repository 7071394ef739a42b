//! Other software, other machines, other statements.

use super::*;

pub(super) fn identities() -> Vec<Case> {
    let good = attester().attest(STATEMENT).unwrap();
    let case = |name: &str, reason| Case::new(name, reason, &good);
    let mut other_host = case("another launch configuration", Reason::HostData);
    other_host.machine.host_data = HostData::new([1; 32]);
    let mut other_statement = case("another statement", Reason::ReportData);
    other_statement.report_data = ReportData::new([0; 64]);
    let with = |edit: fn(&mut Report), name: &str, reason| Case::new(name, reason, &edited(edit));
    vec![
        case("an old guest", Reason::GuestSvn).snp(&signed_block("min_guest_svn = 1")),
        case("another family", Reason::FamilyId).snp(&signed_block(&format!(
            "family_id = \"{}\"",
            "01".repeat(16)
        ))),
        case("another image", Reason::ImageId).snp(&signed_block(&format!(
            "image_id = \"{}\"",
            "01".repeat(16)
        ))),
        with(
            |report| report[0x90] ^= 1,
            "another measurement, first byte",
            Reason::Measurement,
        ),
        with(
            |report| report[0xBF] ^= 0x80,
            "another measurement, last byte",
            Reason::Measurement,
        ),
        case("another identity key", Reason::IdKeyDigest)
            .snp(&format!("id_key_digests = [\"{}\"]", "01".repeat(48))),
        case("another author key", Reason::AuthorKeyDigest)
            .snp(&format!("author_key_digests = [\"{}\"]", "01".repeat(48))),
        case(
            "a launch configuration that is not listed",
            Reason::HostDataPolicy,
        )
        .snp(&format!("host_data = [\"{}\"]", "00".repeat(32))),
        with(
            |report| report[0xC0] ^= 1,
            "a launch configuration that was edited",
            Reason::HostData,
        ),
        other_host,
        case("a denied chip", Reason::ChipDenied)
            .snp(&format!("denied_chips = [\"{}\"]", MACHINE.chip_id)),
        Case::new(
            "a denied chip that hides",
            Reason::ChipDenied,
            &edited(|report| report[0x1A0..0x1E0].fill(0)),
        )
        .snp(&format!(
            "allow_masked_chip_id = true\ndenied_chips = [\"{}\"]",
            MACHINE.chip_id
        )),
        case("another organisation's chip", Reason::ChipId).on(ChipId::new([1; 64])),
        case("an organisation without a chip", Reason::ChipId).on(ChipId::HIDDEN),
        Case::new(
            "a chip that hides, of another organisation",
            Reason::ChipId,
            &edited(|report| report[0x1A0..0x1E0].fill(0)),
        )
        .snp("allow_masked_chip_id = true")
        .on(ChipId::HIDDEN),
        Case::new(
            "a VLEK for an organisation with a chip",
            Reason::ChipId,
            &vlek(CSP),
        )
        .snp(&format!(
            "allow_vlek_csp_ids = [\"{CSP}\"]\nallow_masked_chip_id = true"
        ))
        .with_provider(),
        with(
            |report| report[0x50] ^= 1,
            "another statement, first byte",
            Reason::ReportData,
        ),
        with(
            |report| report[0x8F] ^= 0x80,
            "another statement, last byte",
            Reason::ReportData,
        ),
        other_statement,
        with(
            |report| report[0x70..0x90].fill(0),
            "a paravisor's statement",
            Reason::ReportDataParavisor,
        ),
        with(
            |report| report[0x50..0x90].fill(0),
            "no statement",
            Reason::ReportData,
        ),
    ]
}

/// Lines about the ID block, with who may sign it: in these reports nobody did.
fn signed_block(lines: &str) -> String {
    format!("{lines}\nid_key_digests = [\"{}\"]", "00".repeat(48))
}
