//! Guests, platforms and firmware that a policy refuses.

use super::*;

pub(super) fn guests_and_platforms() -> Vec<Case> {
    let case = |name: &str, reason, evidence: &Evidence| Case::new(name, reason, evidence);
    let policy = |bit: usize| edited(|report| report[0x08 + bit / 8] ^= 1 << (bit % 8));
    let platform = |bit: u8| edited(|report| report[0x40] &= !(1 << bit));
    let mut cases = vec![
        case("VMPL 1", Reason::Vmpl, &edited(|report| report[0x30] = 1)),
        case(
            "VMPL 3 where 2 is allowed",
            Reason::Vmpl,
            &edited(|report| report[0x30] = 3),
        )
        .snp("max_vmpl = 2"),
        case("VMPL 256", Reason::Vmpl, &edited(|report| report[0x31] = 1)),
        case("no bit 17", Reason::GuestPolicyReserved, &policy(17)),
        case("bit 26", Reason::GuestPolicyReserved, &policy(26)),
        case("bit 63", Reason::GuestPolicyReserved, &policy(63)),
        case("SMT", Reason::GuestSmt, &policy(16)),
        case(
            "a migration agent",
            Reason::GuestMigrationAgent,
            &policy(18),
        ),
        case("debugging", Reason::GuestDebug, &policy(19)),
        case("CXL", Reason::GuestCxl, &policy(21)),
        case("any sockets", Reason::GuestSingleSocket, &edited(|_| ()))
            .snp("require_single_socket = true"),
        case("no alias check", Reason::PlatformAliasCheck, &platform(5)),
        case(
            "no ciphertext hiding",
            Reason::PlatformCiphertextHiding,
            &platform(4),
        )
        .snp("require_ciphertext_hiding = true"),
        case("no ECC", Reason::PlatformEcc, &platform(2)).snp("require_ecc = true"),
        case("no TSME", Reason::PlatformTsme, &platform(1)).snp("require_tsme = true"),
    ];
    let components: [(&str, usize); 4] =
        [("boot loader", 0), ("tee", 1), ("snp", 6), ("microcode", 7)];
    for (component, byte) in components {
        for (level, at, reason) in [
            ("current", 0x38, Reason::TcbCurrent),
            ("committed", 0x1E0, Reason::TcbCommitted),
            ("launch", 0x1F0, Reason::TcbLaunch),
        ] {
            let name = format!("{level} {component} below the minimum");
            cases.push(case(
                &name,
                reason,
                &edited(|report| report[at + byte] -= 1),
            ));
        }
        // Reported level and VCEK agree, so the minimum alone can refuse.
        let mut tcb = TCB;
        *component_of(&mut tcb, byte) -= 1;
        let low = vendor()
            .attester(SimulatedMachine { tcb, ..MACHINE }, start())
            .unwrap();
        let evidence = low.attest_edited(STATEMENT, |report| {
            for at in [0x38, 0x1E0, 0x1F0] {
                report[at + byte] += 1;
            }
        });
        let name = format!("reported {component} below the minimum");
        cases.push(case(&name, Reason::TcbReported, &evidence.unwrap()));
    }
    for (part, byte) in [("boot loader", 0), ("tee", 1), ("snp", 6)] {
        let evidence = edited(|report| report[0x38 + byte] += 1);
        let name = format!("a {part} that is not committed");
        cases.push(case(&name, Reason::FirmwareProvisional, &evidence));
    }
    let minimum = "min_firmware.genoa = \"1.55.40\"";
    for (index, part) in ["build", "minor", "major"].into_iter().enumerate() {
        let mut lower = |at: &[usize], name: &str, reason, lines: &str| {
            let evidence = edited(|report| at.iter().for_each(|at| report[at + index] -= 1));
            cases.push(case(&format!("{name} {part}"), reason, &evidence).snp(lines));
        };
        lower(
            &[0x1E8],
            "an old firmware, by its",
            Reason::FirmwareCurrent,
            &format!("{minimum}\nallow_provisional_firmware = true"),
        );
        lower(
            &[0x1EC],
            "a committed firmware that is old, by its",
            Reason::FirmwareCommitted,
            &format!("{minimum}\nallow_provisional_firmware = true"),
        );
        lower(
            &[0x1EC],
            "a firmware that is not committed, by its",
            Reason::FirmwareProvisional,
            "",
        );
    }
    cases
}
