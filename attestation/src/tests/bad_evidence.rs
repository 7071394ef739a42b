//! Reports that a sound verifier refuses although their signature is good, each with the reason that only its check gives.

use std::time::Duration;

use super::world::{
    MACHINE, STATEMENT, TCB, attester, judge, judge_edited, now, start, vendor, verifier_with,
};
use crate::simulated::{SimulatedMachine, SimulatedVendor};
use crate::{
    Attester, ChipId, Evidence, Expected, HostData, MachineBinding, Product, REPORT_BYTES, Reason,
    ReportData, Tcb,
};

const GUEST_POLICY: usize = 0x08;
const PLATFORM_INFO: usize = 0x40;

#[test]
fn good_evidence_is_accepted_and_marked_as_simulated() {
    let claims = judge(&verifier_with(""), &attester().attest(STATEMENT).unwrap()).unwrap();
    assert!(claims.simulated());
    assert_eq!(claims.snp().unwrap().product(), Product::Genoa);
    assert_eq!(claims.measurement(), &MACHINE.measurement);
    assert_eq!(claims.chip_id(), &MACHINE.chip_id);
    assert_eq!(claims.snp().unwrap().host_data(), &MACHINE.host_data);
    assert_eq!(claims.report_data(), &STATEMENT);
    assert_eq!(claims.snp().unwrap().current_tcb(), &TCB);
    assert_eq!(claims.root(), &vendor().root_hash().unwrap());
}

#[test]
fn a_turin_machine_is_accepted_with_its_own_layout() {
    let turin = SimulatedVendor::create(Product::Turin, start()).unwrap();
    let mut chip_id = [0; 64];
    chip_id[..8].fill(7);
    let tcb = Tcb {
        fmc: Some(1),
        ..TCB
    };
    let machine = SimulatedMachine {
        chip_id: ChipId::new(chip_id),
        tcb,
        ..MACHINE
    };
    let text = super::world::policy_text("")
        .replace(
            &hex::encode(vendor().root_hash().unwrap()),
            &hex::encode(turin.root_hash().unwrap()),
        )
        .replace("[snp.min_tcb.genoa]", "[snp.min_tcb.turin]\nfmc = 1");
    let policy = crate::Policy::from_toml(&text).unwrap();
    let verifier = crate::Verifier::new(policy, &turin.trust_store().unwrap()).unwrap();
    let evidence = turin
        .attester(machine, start())
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    let expected = Expected {
        machine: &machine.binding(),
        report_data: STATEMENT,
    };
    let claims = verifier.verify(&evidence, &expected, now()).unwrap();
    assert_eq!(
        (
            claims.snp().unwrap().product(),
            claims.snp().unwrap().reported_tcb()
        ),
        (Product::Turin, &tcb)
    );
}

/// One correctly signed report per check, refused for that check's reason.
#[test]
fn each_check_refuses_a_report_that_fails_it_alone() {
    type Edit = fn(&mut [u8; REPORT_BYTES]);
    let cases: [(Reason, Edit); 20] = [
        (Reason::ReportVersion, |report| report[0] = 2),
        (Reason::ReportVersion, |report| report[0] = 4),
        (Reason::ReportEncoding, |report| report[0x4C] = 1),
        (Reason::ReportEncoding, |report| report[0x18B] = 1),
        (Reason::ReportEncoding, |report| report[0x188] = 0x17),
        // These are reserved bytes that `sev` reads past: in a TCB, and behind the signature, where nothing is signed.
        (Reason::ReportEncoding, |report| report[0x3A] = 1),
        (Reason::ReportEncoding, |report| report[0x330] = 1),
        (Reason::ReportEncoding, |report| report[0x49F] = 0x80),
        (Reason::SignatureAlgorithm, |report| report[0x34] = 2),
        (Reason::SigningKey, |report| report[0x48] = 1 << 2),
        (Reason::SigningKey, |report| report[0x48] = 1 << 1),
        (Reason::VcekProduct, |report| report[0x189] = 0x01),
        (Reason::VcekChipId, |report| report[0x1A0] ^= 1),
        (Reason::VcekTcb, |report| report[0x180] += 1),
        (Reason::Vmpl, |report| report[0x30] = 1),
        (Reason::TcbCurrent, |report| report[0x38] -= 1),
        (Reason::TcbCommitted, |report| report[0x1E0] -= 1),
        (Reason::Measurement, |report| report[0x90] ^= 1),
        (Reason::HostData, |report| report[0xC0] ^= 1),
        (Reason::ReportData, |report| report[0x50] ^= 1),
    ];
    for (index, (reason, edit)) in cases.into_iter().enumerate() {
        assert_eq!(judge_edited(edit).unwrap_err(), reason, "case {index}");
    }
}

#[test]
fn each_guest_policy_bit_is_refused_for_its_own_reason_unless_it_is_allowed() {
    let cases = [
        (16, Reason::GuestSmt, "allow_smt = true"),
        (
            18,
            Reason::GuestMigrationAgent,
            "allow_migration_agent = true",
        ),
        (19, Reason::GuestDebug, "allow_debug = true"),
        (21, Reason::GuestCxl, "allow_cxl = true"),
    ];
    for (bit, reason, allowance) in cases {
        let edit =
            |report: &mut [u8; REPORT_BYTES]| report[GUEST_POLICY + bit / 8] |= 1 << (bit % 8);
        assert_eq!(judge_edited(edit).unwrap_err(), reason);
        let evidence = attester().attest_edited(STATEMENT, edit).unwrap();
        assert!(
            judge(&verifier_with(allowance), &evidence).is_ok(),
            "{allowance}"
        );
    }
}

#[test]
fn reserved_guest_policy_bits_are_refused() {
    assert_eq!(
        judge_edited(|report| report[GUEST_POLICY + 2] = 0).unwrap_err(),
        Reason::GuestPolicyReserved
    );
    assert_eq!(
        judge_edited(|report| report[GUEST_POLICY + 3] = 1 << 2).unwrap_err(),
        Reason::GuestPolicyReserved
    );
}

#[test]
fn each_requirement_refuses_a_machine_without_it_and_accepts_one_with_it() {
    // Nobody signs the ID block of these machines.
    let signed_svn = format!(
        "min_guest_svn = 1\nid_key_digests = [\"{}\"]",
        "00".repeat(48)
    );
    let cases = [
        (
            "require_single_socket = true",
            GUEST_POLICY + 2,
            1 << 4,
            Reason::GuestSingleSocket,
        ),
        (
            "require_ciphertext_hiding = true",
            PLATFORM_INFO,
            1 << 4,
            Reason::PlatformCiphertextHiding,
        ),
        (
            "require_tsme = true",
            PLATFORM_INFO,
            1 << 1,
            Reason::PlatformTsme,
        ),
        (
            "require_ecc = true",
            PLATFORM_INFO,
            1 << 2,
            Reason::PlatformEcc,
        ),
        ("", PLATFORM_INFO, 1 << 5, Reason::PlatformAliasCheck),
        (&signed_svn, 0x04, 1, Reason::GuestSvn),
    ];
    for (lines, at, bit, reason) in cases {
        let verifier = verifier_with(lines);
        let without = attester()
            .attest_edited(STATEMENT, |report| report[at] &= !bit)
            .unwrap();
        assert_eq!(judge(&verifier, &without).unwrap_err(), reason, "{lines}");
        let with = attester()
            .attest_edited(STATEMENT, |report| report[at] |= bit)
            .unwrap();
        assert!(judge(&verifier, &with).is_ok(), "{lines}");
    }
}

#[test]
fn an_unknown_platform_bit_is_recorded_and_not_refused() {
    let edited = attester()
        .attest_edited(STATEMENT, |report| report[PLATFORM_INFO] |= 1 << 6)
        .unwrap();
    assert_eq!(
        judge(&verifier_with(""), &edited)
            .unwrap()
            .snp()
            .unwrap()
            .platform_info()
            >> 6
            & 1,
        1
    );
}

#[test]
fn firmware_whose_key_is_below_the_minimum_is_refused() {
    // Reported TCB and VCEK agree, so the minimum alone can refuse.
    let low = SimulatedMachine {
        tcb: Tcb {
            microcode: 83,
            ..TCB
        },
        ..MACHINE
    };
    let low = vendor().attester(low, start()).unwrap();
    let evidence = low
        .attest_edited(STATEMENT, |report| {
            report[0x38 + 7] = 84;
            report[0x1E0 + 7] = 84;
        })
        .unwrap();
    assert_eq!(
        judge(&verifier_with(""), &evidence).unwrap_err(),
        Reason::TcbReported
    );
}

#[test]
fn a_denied_chip_is_refused_even_where_it_is_enrolled() {
    let verifier = verifier_with(&format!("denied_chips = [\"{}\"]", MACHINE.chip_id));
    assert_eq!(
        judge(&verifier, &attester().attest(STATEMENT).unwrap()).unwrap_err(),
        Reason::ChipDenied
    );
}

#[test]
fn a_launch_configuration_that_the_policy_does_not_list_is_refused() {
    let evidence = attester().attest(STATEMENT).unwrap();
    let other = verifier_with(&format!("host_data = [\"{}\"]", "00".repeat(32)));
    assert_eq!(
        judge(&other, &evidence).unwrap_err(),
        Reason::HostDataPolicy
    );
    let same = verifier_with(&format!("host_data = [\"{}\"]", MACHINE.host_data));
    assert!(judge(&same, &evidence).is_ok());
}

#[test]
fn evidence_of_another_machine_or_statement_is_refused() {
    let (verifier, evidence) = (verifier_with(""), attester().attest(STATEMENT).unwrap());
    let verify = |machine: MachineBinding, report_data| {
        verifier
            .verify(
                &evidence,
                &Expected {
                    machine: &machine,
                    report_data,
                },
                now(),
            )
            .map(|_| ())
    };
    let own = MACHINE.binding();
    assert_eq!(verify(own, STATEMENT), Ok(()));
    assert_eq!(
        verify(
            MachineBinding {
                chip_id: ChipId::new([1; 64]),
                ..own
            },
            STATEMENT
        ),
        Err(Reason::ChipId)
    );
    assert_eq!(
        verify(
            MachineBinding {
                host_data: HostData::new([1; 32]),
                ..own
            },
            STATEMENT
        ),
        Err(Reason::HostData)
    );
    assert_eq!(
        verify(own, ReportData::new([0; 64])),
        Err(Reason::ReportData)
    );
}

#[test]
fn evidence_before_and_after_its_certificates_is_refused_beyond_the_skew() {
    let (verifier, evidence) = (verifier_with(""), attester().attest(STATEMENT).unwrap());
    let at = |time| {
        verifier
            .verify(
                &evidence,
                &Expected {
                    machine: &MACHINE.binding(),
                    report_data: STATEMENT,
                },
                time,
            )
            .map(|_| ())
    };
    let (second, skew) = (Duration::from_secs(1), Duration::from_secs(300));
    let end = start() + Duration::from_secs(7 * 365 * 24 * 60 * 60);
    assert_eq!(at(start() - skew), Ok(()));
    assert_eq!(
        at(start() - skew - second),
        Err(Reason::CertificateNotYetValid)
    );
    assert_eq!(at(end + skew), Ok(()));
    assert_eq!(at(end + skew + second), Err(Reason::CertificateExpired));
}

#[test]
fn a_signature_by_another_machine_is_refused() {
    let other = vendor()
        .attester(MACHINE, start())
        .unwrap()
        .attest(STATEMENT)
        .unwrap();
    let swapped = Evidence::new(*other.halves().0, attester().vcek_der().to_vec()).unwrap();
    assert_eq!(
        judge(&verifier_with(""), &swapped).unwrap_err(),
        Reason::ReportSignature
    );
}

#[test]
fn a_signature_with_padding_is_refused_for_its_padding() {
    for at in [0x2A0 + 48, 0x2A0 + 71, 0x2A0 + 72 + 48, 0x2A0 + 143] {
        let mut report = *attester().attest(STATEMENT).unwrap().halves().0;
        report[at] = 1;
        let padded = Evidence::new(report, attester().vcek_der().to_vec()).unwrap();
        assert_eq!(
            judge(&verifier_with(""), &padded).unwrap_err(),
            Reason::SignaturePadding
        );
    }
}

/// Flips all bits of the first 64 bytes and every 7th elsewhere: 7 and 8 share no factor, so every bit position of a byte is
/// met. The chain is cached, so each flip costs one P-384 verification at most.
#[test]
fn single_bit_flips_all_over_a_report_are_refused() {
    let (verifier, evidence) = (verifier_with(""), attester().attest(STATEMENT).unwrap());
    assert!(judge(&verifier, &evidence).is_ok());
    for bit in (0..0x40 * 8).chain((0x40 * 8..REPORT_BYTES * 8).step_by(7)) {
        let mut report = *evidence.halves().0;
        report[bit / 8] ^= 1 << (bit % 8);
        let flipped = Evidence::new(report, evidence.halves().1.to_vec()).unwrap();
        assert!(
            judge(&verifier, &flipped).is_err(),
            "bit {bit} was flipped and nobody minded"
        );
    }
}
