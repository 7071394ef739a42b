//! Published digests, and files that are no firmware.

use std::path::Path;

use super::ovmf::{ENTRY_HEADER_BYTES, FOOTER_FROM_END};
use super::{LaunchImage, MAX_VCPUS};

/// The end of an OVMF build, made from the figures of the AmdSev build that `virtee/sev` and `sev-snp-measure` measure in
/// their tests: reset vector, hash table and the seven metadata items. All else is zero.
fn firmware() -> Vec<u8> {
    let mut data = vec![0; 4096];
    let items: [[u32; 3]; 7] = [
        [0x80_0000, 0x9000, 1],
        [0x80_A000, 0x3000, 1],
        [0x80_D000, 0x1000, 2],
        [0x80_E000, 0x1000, 3],
        [0x80_F000, 0x1000, 4],
        [0x81_0000, 0x1000, 0x10],
        [0x81_1000, 0xF000, 1],
    ];
    let mut metadata = b"ASEV".to_vec();
    for word in [16 + 7 * 12, 1, 7] {
        metadata.extend(u32::to_le_bytes(word));
    }
    metadata.extend(
        items
            .as_flattened()
            .iter()
            .flat_map(|word| word.to_le_bytes()),
    );
    let at = data.len() - 1364;
    data[at..at + metadata.len()].copy_from_slice(&metadata);

    let entry = |content: &[u32], guid: &str| {
        let guid = uuid_le(guid);
        let mut entry: Vec<u8> = content.iter().flat_map(|word| word.to_le_bytes()).collect();
        let length = u16::try_from(entry.len() + ENTRY_HEADER_BYTES).unwrap();
        entry.extend(length.to_le_bytes());
        entry.extend(guid);
        entry
    };
    let mut table = entry(&[1364], "dc886566-984a-4798-a75e-5585a7bf67cc");
    table.extend(entry(
        &[0x81_0C00, 0x400],
        "7255371f-3a3b-4b04-927b-1da6efa8d454",
    ));
    table.extend(entry(&[0x80_B004], "00f771de-1a7e-4fcb-890e-68c77e2fb44e"));
    let length = u16::try_from(table.len() + ENTRY_HEADER_BYTES).unwrap();
    table.extend(length.to_le_bytes());
    table.extend(uuid_le("96b582de-1fb2-45f7-baea-a366c55a082d"));
    let at = data.len() - FOOTER_FROM_END - table.len();
    let end = data.len() - FOOTER_FROM_END;
    data[at..end].copy_from_slice(&table);
    data
}

#[test]
fn the_firmware_that_is_fuzzed_is_the_one_of_these_tests() {
    assert_eq!(
        firmware(),
        include_bytes!("../../../decoders/corpus/firmware/valid")
    );
}

/// An identifier as it is written, in the order of its bytes in memory.
fn uuid_le(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut bytes).unwrap();
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

fn image(firmware: &Path) -> LaunchImage {
    LaunchImage {
        firmware: firmware.to_owned(),
        kernel: Some("/dev/null".into()),
        initrd: Some("/dev/null".into()),
        append: None,
        vcpus: 1,
        vcpu_type: "EPYC-v4".to_owned(),
        guest_features: 1,
    }
}

/// `virtee/sev`, tests/measurement.rs: `test_snp_ovmf_hash_gen_snp_only` and `test_snp_ovmf_hash_gen_default`. The firmware's
/// digest is given there too, so that its other bytes do not matter.
#[test]
fn the_published_digests_come_out() {
    const FIRMWARE: &str = "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), firmware()).unwrap();
    for (guest_features, published) in [
        (
            0x1,
            "ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e9fc98646d4a07a9079397fa3852819b5",
        ),
        (
            0x21,
            "329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683632b9b50e4e1d7fa41179ef98a7ef198",
        ),
    ] {
        let image = LaunchImage {
            guest_features,
            ..image(file.path())
        };
        let digest = image.digest_from(Some(FIRMWARE)).unwrap();
        assert_eq!(digest.to_string(), published);
    }
}

#[test]
fn everything_a_machine_is_started_with_changes_its_digest() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let other_firmware = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), firmware()).unwrap();
    let mut bytes = firmware();
    bytes[0] = 1;
    std::fs::write(other_firmware.path(), bytes).unwrap();
    let kernel = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(kernel.path(), b"kernel").unwrap();
    let base = image(file.path());
    let digests = [
        base.clone(),
        image(other_firmware.path()),
        LaunchImage {
            kernel: Some(kernel.path().to_owned()),
            ..base.clone()
        },
        LaunchImage {
            initrd: Some(kernel.path().to_owned()),
            ..base.clone()
        },
        LaunchImage {
            append: Some("quiet".to_owned()),
            ..base.clone()
        },
        LaunchImage {
            kernel: None,
            initrd: None,
            ..base.clone()
        },
        LaunchImage {
            vcpus: 2,
            ..base.clone()
        },
        LaunchImage {
            vcpu_type: "EPYC-Genoa".to_owned(),
            ..base.clone()
        },
        LaunchImage {
            guest_features: 0x21,
            ..base.clone()
        },
    ]
    .map(|image| image.digest().unwrap());
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
    assert_eq!(base.digest().unwrap(), digests[0]);
}

#[test]
fn a_file_that_is_no_firmware_is_refused_and_never_panics() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let measured = |bytes: &[u8]| {
        std::fs::write(file.path(), bytes).unwrap();
        image(file.path()).digest()
    };
    let good = firmware();
    assert!(measured(&good).is_ok());
    assert!(measured(&[]).is_err());
    for length in (0..good.len()).step_by(97) {
        assert!(measured(&good[..length]).is_err(), "{length} bytes");
    }
    // Every byte of the metadata and of the table, set to what is least and most: it may be measured, it may be refused.
    let (metadata, table) = (good.len() - 1364, good.len() - 160);
    for at in (metadata..metadata + 100).chain(table..good.len() - FOOTER_FROM_END) {
        for value in [0, 0x7F, 0xFF] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = measured(&bad);
        }
    }
}

#[test]
fn options_that_do_not_fit_are_refused_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), firmware()).unwrap();
    let base = image(file.path());
    let code = |image: LaunchImage| image.digest().unwrap_err().code();
    assert_eq!(
        code(LaunchImage {
            kernel: None,
            ..base.clone()
        }),
        "measure.without-kernel"
    );
    assert_eq!(
        code(LaunchImage {
            append: Some("quiet ".to_owned()),
            ..base.clone()
        }),
        "measure.append"
    );
    assert_eq!(
        code(LaunchImage {
            vcpus: 0,
            ..base.clone()
        }),
        "measure.vcpus"
    );
    assert_eq!(
        code(LaunchImage {
            vcpus: MAX_VCPUS + 1,
            ..base.clone()
        }),
        "measure.vcpus"
    );
    assert_eq!(
        code(LaunchImage {
            vcpu_type: "Xeon".to_owned(),
            ..base.clone()
        }),
        "measure.vcpu-type"
    );
    assert_eq!(
        code(LaunchImage {
            kernel: Some("/nowhere".into()),
            ..base.clone()
        }),
        "measure.file"
    );
    assert_eq!(
        code(LaunchImage {
            firmware: "/nowhere".into(),
            ..base
        }),
        "measure.file"
    );
}
