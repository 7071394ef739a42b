//! Evidence, reports and signatures whose form is bad.

use super::*;

pub(super) fn form() -> Vec<Case> {
    let good = attester().attest(STATEMENT).unwrap();
    let case = |name: &str, reason, evidence: &Evidence| Case::new(name, reason, evidence);
    let mut cases = Vec::new();
    let mut frame = |name: &str, reason, bytes: Vec<u8>| {
        let mut case = Case::new(name, reason, &good);
        case.bytes = bytes;
        cases.push(case);
    };
    let canonical = |label: &str, report: &[u8]| {
        let frame = consort_aggregation::Canonical::new(label);
        frame.bytes(report).bytes(good.halves().1).finish()
    };
    let label = "consort/attest/evidence/v1";
    frame("nothing", Reason::EvidenceEncoding, Vec::new());
    frame(
        "trailing byte",
        Reason::EvidenceEncoding,
        [good.to_bytes(), vec![0]].concat(),
    );
    frame(
        "cut short",
        Reason::EvidenceEncoding,
        good.to_bytes()[..1000].to_vec(),
    );
    frame(
        "another label",
        Reason::EvidenceEncoding,
        canonical("consort/attest/evidence/v2", good.halves().0),
    );
    frame(
        "too long",
        Reason::EvidenceSize,
        vec![0; MAX_EVIDENCE_BYTES + 1],
    );
    // Only the limit refuses this one: it would be read otherwise.
    let mut padded = good.halves().1.to_vec();
    padded.resize(MAX_EVIDENCE_BYTES, 0);
    let padded = consort_aggregation::Canonical::new(label)
        .bytes(good.halves().0)
        .bytes(&padded);
    frame(
        "a certificate past the limit",
        Reason::EvidenceSize,
        padded.finish(),
    );
    frame(
        "a paravisor's report",
        Reason::EvidenceParavisor,
        [b"HCLA".as_slice(), &[0; 28], good.halves().0].concat(),
    );
    frame(
        "what begins as a TDX quote, under a policy without TDX",
        Reason::EvidenceTdx,
        [[4, 0, 2, 0, 0x81, 0, 0, 0].as_slice(), &[0; 4998]].concat(),
    );
    frame(
        "a short report",
        Reason::ReportSize,
        canonical(label, &good.halves().0[..REPORT_BYTES - 1]),
    );
    frame(
        "a long report",
        Reason::ReportSize,
        canonical(label, &[good.halves().0.as_slice(), &[0]].concat()),
    );

    for version in [0, 1, 4, 6, 255] {
        let edit = |report: &mut Report| report[0] = version;
        cases.push(case(
            &format!("version {version}"),
            Reason::ReportVersion,
            &edited(edit),
        ));
    }
    cases.push(case(
        "a whole report of version 2",
        Reason::ReportVersion,
        &edited(as_version_2),
    ));
    cases.push(case(
        "version 3 and 256",
        Reason::ReportVersion,
        &edited(|report| report[1] = 1),
    ));
    // Reserved bytes, all of which `sev` reads past: at 4Ch, 18Bh, 1EBh, 1EFh and 1F8h, the middle of each TCB, and behind the
    // signature, where nothing is signed.
    let tcbs = [0x38, 0x180, 0x1E0, 0x1F0]
        .into_iter()
        .flat_map(|tcb| [tcb + 2, tcb + 5]);
    let reserved = [
        0x4C, 0x4F, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x207, 0x208, 0x29F, 0x330, 0x49F,
    ];
    for at in reserved.into_iter().chain(tcbs) {
        let name = format!("reserved byte {at:#x}");
        cases.push(case(
            &name,
            Reason::ReportEncoding,
            &edited(|report| report[at] = 1),
        ));
    }
    cases.push(case(
        "an unknown processor family",
        Reason::ReportEncoding,
        &edited(|report| report[0x188] = 0x17),
    ));
    for (at, number) in [(48, "r"), (71, "r"), (72 + 48, "s"), (143, "s")] {
        let mut report = *good.halves().0;
        report[0x2A0 + at] = 1;
        let evidence = Evidence::new(report, good.halves().1.to_vec()).unwrap();
        let name = format!("padding of {number} at {at}");
        cases.push(case(&name, Reason::SignaturePadding, &evidence));
    }
    for algorithm in [0, 2, 3] {
        let edit = |report: &mut Report| report[0x34] = algorithm;
        let name = format!("signature algorithm {algorithm}");
        cases.push(case(&name, Reason::SignatureAlgorithm, &edited(edit)));
    }
    for (at, bit) in [(0x48, 5), (0x49, 0), (0x4B, 7)] {
        let edit = |report: &mut Report| report[at] |= 1 << bit;
        let name = format!("key info, byte {at:#x} bit {bit}");
        cases.push(case(&name, Reason::KeyInfoReserved, &edited(edit)));
    }
    for (key_info, name) in [
        (1 << 2, "VLEK"),
        (2 << 2, "key 2"),
        (7 << 2, "nobody"),
        (1 << 1, "a masked VCEK"),
    ] {
        let edit = |report: &mut Report| report[0x48] = key_info;
        cases.push(case(
            &format!("signed by {name}"),
            Reason::SigningKey,
            &edited(edit),
        ));
    }
    cases.push(
        case(
            "a VLEK where none is allowed",
            Reason::SigningKey,
            &vlek(CSP),
        )
        .with_provider(),
    );
    cases
}
