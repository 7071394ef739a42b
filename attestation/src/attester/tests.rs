//! The kernel's interface by a kernel of the test's own: a real folder, whose attributes behave as drivers/virt/coco/tsm.c has
//! them, and a simulated machine that signs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::configfs::ConfigfsTsm;
use super::entries::{Configfs, Entries};
use super::{Attester, AttesterFault, CertificateTable, StapledCertificates, machine_of};
use crate::certificate::EndorsementKey;
use crate::evidence::{Evidence, REPORT_BYTES};
use crate::statements::ReportData;
use crate::tests::world::{MACHINE, STATEMENT, attester, judge, start, vendor, verifier_with};
use crate::tests::{real_evidence, tdx_world};
use crate::{ChipId, Product};

const VCEK: &str = "63da758de6644564adc5f4b93be8accd";
const VLEK: &str = "a8074bc2a25a483eaae639c045a0b8a1";
const ARK: &str = "c0b406a4a803495297433fb6014cd0ae";

/// A table as AMD 56421, section 4.1.8.1 lays it out.
fn table(certificates: &[(&str, &[u8])]) -> Vec<u8> {
    let mut offset = (certificates.len() + 1) * 24;
    let mut rows = Vec::new();
    for (guid, certificate) in certificates {
        rows.extend(hex::decode(guid).unwrap());
        rows.extend(u32::try_from(offset).unwrap().to_le_bytes());
        rows.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        offset += certificate.len();
    }
    rows.extend([0; 24]);
    let bodies = certificates.iter().flat_map(|(_, bytes)| bytes.to_vec());
    rows.into_iter().chain(bodies).collect()
}

type Answer = Box<dyn Fn(ReportData) -> Vec<u8> + Send + Sync>;

/// The kernel's folder, in which nobody may leave an entry.
struct Folder(tempfile::TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        let left = fs::read_dir(self.0.path()).unwrap().count();
        assert_eq!(left, 0, "an entry was left behind");
    }
}

/// What the kernel does when an entry is written to.
struct Kernel {
    _folder: Folder,
    configfs: Configfs,
    provider: &'static str,
    floor: u32,
    outblob: Answer,
    /// `None`: the attribute is not there.
    auxblob: Option<Vec<u8>>,
    /// How many of the next reports somebody else writes into.
    races: AtomicU32,
    /// Whether writes of the statement are dropped, as the kernel drops them when it is busy.
    drops_statement: bool,
    refuses: Option<i32>,
    made: AtomicU32,
}

impl Kernel {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            configfs: Configfs {
                folder: folder.path().to_owned(),
            },
            _folder: Folder(folder),
            provider: "sev_guest\n",
            floor: 0,
            outblob: Box::new(|asked| attester().attest(asked).unwrap().report().to_vec()),
            auxblob: Some(table(&[(ARK, b"no root"), (VCEK, attester().vcek_der())])),
            races: AtomicU32::new(0),
            drops_statement: false,
            refuses: None,
            made: AtomicU32::new(0),
        }
    }

    fn put(&self, entry: &str, attribute: &str, bytes: &[u8]) {
        fs::write(self.path(entry).join(attribute), bytes).unwrap();
    }

    fn written_to(&self, entry: &str) {
        let bytes = self.configfs.read(entry, "generation", 64).unwrap();
        let generation: u64 = String::from_utf8(bytes).unwrap().trim().parse().unwrap();
        let next = format!("{}\n", generation.wrapping_add(1));
        self.put(entry, "generation", next.as_bytes());
    }

    fn attester(self) -> ConfigfsTsm {
        self.attester_with(StapledCertificates::none())
    }

    fn attester_with(self, stapled: StapledCertificates) -> ConfigfsTsm {
        ConfigfsTsm::over(Box::new(self), stapled, 0)
    }

    fn fault(self) -> AttesterFault {
        self.attester().attest(STATEMENT).unwrap_err()
    }
}

impl Entries for Kernel {
    fn path(&self, entry: &str) -> PathBuf {
        self.configfs.path(entry)
    }

    fn make(&self, entry: &str) -> io::Result<()> {
        if let Some(code) = self.refuses {
            return Err(io::Error::from_raw_os_error(code));
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        self.configfs.make(entry)?;
        self.put(entry, "provider", self.provider.as_bytes());
        self.put(entry, "generation", format!("{}\n", u64::MAX).as_bytes());
        self.put(entry, "inblob", b"");
        // TDX knows no levels: the kernel shows these of SEV-SNP alone.
        if self.provider == "sev_guest\n" {
            let floor = format!("{}\n", self.floor);
            self.put(entry, "privlevel_floor", floor.as_bytes());
            self.put(entry, "privlevel", b"");
        }
        Ok(())
    }

    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        if self.drops_statement && attribute == "inblob" {
            return Ok(());
        }
        self.configfs.write(entry, attribute, bytes)?;
        self.written_to(entry);
        Ok(())
    }

    fn read(&self, entry: &str, attribute: &str, most: usize) -> io::Result<Vec<u8>> {
        if attribute == "outblob" {
            let asked: [u8; 64] = self
                .configfs
                .read(entry, "inblob", 64)?
                .try_into()
                .unwrap_or([0; 64]);
            self.put(entry, "outblob", &(self.outblob)(ReportData::new(asked)));
            if let Some(auxblob) = &self.auxblob {
                self.put(entry, "auxblob", auxblob);
            }
            let races = |left: u32| left.checked_sub(1);
            if self
                .races
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, races)
                .is_ok()
            {
                self.written_to(entry);
            }
        }
        self.configfs.read(entry, attribute, most)
    }

    /// The kernel takes the attributes away with the entry.
    fn remove(&self, entry: &str) -> io::Result<()> {
        for attribute in fs::read_dir(self.path(entry))? {
            fs::remove_file(attribute?.path())?;
        }
        self.configfs.remove(entry)
    }
}

#[test]
fn the_kernels_report_with_the_hosts_certificate_is_accepted() {
    let evidence = Kernel::new().attester().attest(STATEMENT).unwrap();
    judge(&verifier_with(""), &evidence).unwrap();
    assert_eq!(machine_of(&evidence).unwrap(), MACHINE.binding());
}

#[test]
fn a_hidden_chip_is_named_by_its_certificate() {
    let hidden = attester().attest_edited(STATEMENT, |report| report[0x1A0..0x1E0].fill(0));
    assert_eq!(machine_of(&hidden.unwrap()).unwrap(), MACHINE.binding());
    let shown = vendor().attester(MACHINE, start()).unwrap();
    assert_ne!(
        machine_of(&shown.attest(STATEMENT).unwrap())
            .unwrap()
            .chip_id,
        ChipId::HIDDEN
    );
}

#[test]
fn a_host_without_certificates_needs_a_stapled_one() {
    for auxblob in [
        None,
        Some(Vec::new()),
        Some(table(&[(VLEK, attester().vcek_der())])),
    ] {
        let kernel = || Kernel {
            auxblob: auxblob.clone(),
            ..Kernel::new()
        };
        let fault = kernel().fault();
        assert_eq!(fault.code(), "attest.attester-no-certificate");
        let address = format!(
            "https://kdsintf.amd.com/vcek/v1/Genoa/{}?blSPL=10&teeSPL=01&snpSPL=25&ucodeSPL=84 ",
            "c1".repeat(64)
        );
        assert!(fault.to_string().contains(&address), "{fault}");

        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, der: &[u8]| fs::write(folder.path().join(name), der).unwrap();
        let other = vendor().attester(MACHINE, start()).unwrap();
        file("a-former-level.der", other.vcek_der());
        file("this-level.der", attester().vcek_der());
        for path in [
            folder.path().to_owned(),
            folder.path().join("this-level.der"),
        ] {
            let attester = kernel().attester_with(StapledCertificates::at(path));
            judge(&verifier_with(""), &attester.attest(STATEMENT).unwrap()).unwrap();
        }
        let former = StapledCertificates::at(folder.path().join("a-former-level.der"));
        let fault = kernel()
            .attester_with(former)
            .attest(STATEMENT)
            .unwrap_err();
        assert_eq!(fault.code(), "attest.attester-no-certificate");
    }
}

#[test]
fn a_stapled_certificate_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let without = || Kernel {
        auxblob: None,
        ..Kernel::new()
    };
    let code = |path: &Path| {
        let stapled = StapledCertificates::at(path.to_owned());
        without()
            .attester_with(stapled)
            .attest(STATEMENT)
            .unwrap_err()
            .code()
    };
    let file = folder.path().join("vcek.der");
    assert_eq!(code(&file), "attest.attester-io");
    fs::write(&file, vec![0x30; 8 * 1024 + 1]).unwrap();
    assert_eq!(code(&file), "attest.attester-malformed");
    fs::write(&file, b"no certificate").unwrap();
    assert_eq!(code(&file), "attest.attester-malformed");
    fs::remove_file(&file).unwrap();
    for number in 0..65 {
        fs::write(folder.path().join(number.to_string()), b"0").unwrap();
    }
    assert_eq!(code(folder.path()), "attest.attester-malformed");
}

#[test]
fn a_race_is_tried_again_and_three_are_a_fault() {
    let raced = |races| Kernel {
        races: AtomicU32::new(races),
        ..Kernel::new()
    };
    for races in [1, 2] {
        let evidence = raced(races).attester().attest(STATEMENT).unwrap();
        judge(&verifier_with(""), &evidence).unwrap();
    }
    assert_eq!(raced(3).fault().code(), "attest.attester-raced");
}

/// The kernel hears the statement when the file is closed, and tells nobody when it does not take it.
#[test]
fn a_statement_that_the_kernel_did_not_take_is_noticed() {
    let kernel = Kernel {
        drops_statement: true,
        ..Kernel::new()
    };
    assert_eq!(kernel.fault().code(), "attest.attester-raced");
}

#[test]
fn a_report_on_another_statement_is_not_sent() {
    let kernel = Kernel {
        outblob: Box::new(|_| {
            let other = ReportData::new([0x11; 64]);
            attester().attest(other).unwrap().report().to_vec()
        }),
        ..Kernel::new()
    };
    assert_eq!(kernel.fault().code(), "attest.attester-other-statement");
}

/// A kernel whose provider is TDX's, with what Intel's service pads quotes with.
fn tdx_kernel(padding: &'static [u8]) -> Kernel {
    Kernel {
        provider: "tdx_guest\n",
        outblob: Box::new(move |asked| {
            let quote = tdx_world::attester().attest(asked).unwrap();
            [quote.report(), padding].concat()
        }),
        auxblob: None,
        ..Kernel::new()
    }
}

#[test]
fn a_quote_comes_without_what_the_kernel_hands_out_behind_it() {
    for padding in [[].as_slice(), &[0; 70]] {
        let evidence = tdx_kernel(padding).attester().attest(STATEMENT).unwrap();
        assert_eq!(evidence.technology(), crate::Technology::Tdx);
        assert_eq!(machine_of(&evidence), Ok(tdx_world::TD.binding()));
        assert_eq!(
            evidence,
            Evidence::from_bytes(&evidence.to_bytes()).unwrap()
        );
    }
    let behind = tdx_kernel(b"more").fault();
    assert_eq!(behind.code(), "attest.attester-malformed");
}

#[test]
fn a_quote_about_another_statement_or_of_a_raced_entry_is_not_sent() {
    let other = Kernel {
        outblob: Box::new(|_| {
            let other = ReportData::new([9; 64]);
            tdx_world::attester()
                .attest(other)
                .unwrap()
                .report()
                .to_vec()
        }),
        ..tdx_kernel(&[])
    };
    assert_eq!(other.fault().code(), "attest.attester-other-statement");
    let raced = Kernel {
        races: AtomicU32::new(u32::MAX),
        ..tdx_kernel(&[])
    };
    assert_eq!(raced.fault().code(), "attest.attester-raced");
    let dropped = Kernel {
        drops_statement: true,
        ..tdx_kernel(&[])
    };
    assert_eq!(dropped.fault().code(), "attest.attester-raced");
}

#[test]
fn another_provider_and_a_higher_floor_are_told() {
    let arm = Kernel {
        provider: "arm_cca_guest\n",
        ..Kernel::new()
    };
    let fault = arm.fault();
    assert_eq!(fault.code(), "attest.attester-provider");
    assert!(fault.to_string().contains("arm_cca_guest"), "{fault}");
    let floor = Kernel {
        floor: 2,
        ..Kernel::new()
    };
    assert_eq!(floor.fault().code(), "attest.attester-privilege-level");
}

#[test]
fn blobs_of_other_lengths_are_not_taken() {
    for length in [0, REPORT_BYTES - 1, REPORT_BYTES + 1, 1 << 20] {
        let kernel = Kernel {
            outblob: Box::new(move |_| vec![0; length]),
            ..Kernel::new()
        };
        assert_eq!(
            kernel.fault().code(),
            "attest.attester-malformed",
            "{length}"
        );
    }
    let kernel = Kernel {
        auxblob: Some(vec![0; CertificateTable::MAX_BYTES + 1]),
        ..Kernel::new()
    };
    assert_eq!(kernel.fault().code(), "attest.attester-malformed");
}

#[test]
fn what_the_kernel_refuses_says_what_to_do() {
    for (error, code, says) in [
        (2, "attest.attester-no-interface", "6.7"),
        (6, "attest.attester-no-interface", "sev-guest driver"),
        (13, "attest.attester-denied", "root"),
        (1, "attest.attester-denied", "root"),
        (17, "attest.attester-io", "64 entries"),
        (12, "attest.attester-io", "kernel log"),
    ] {
        let fault = Kernel {
            refuses: Some(error),
            ..Kernel::new()
        }
        .fault();
        assert_eq!(fault.code(), code);
        assert!(fault.to_string().contains(says), "{fault}");
    }
}

#[test]
fn a_name_that_is_taken_is_passed_over() {
    let kernel = Kernel::new();
    let taken = format!("consort-{}-0", std::process::id());
    fs::create_dir(kernel.configfs.folder.join(&taken)).unwrap();
    let folder = kernel.configfs.folder.clone();
    let attester = kernel.attester();
    attester.attest(STATEMENT).unwrap();
    assert!(folder.join(&taken).is_dir());
    fs::remove_dir(folder.join(taken)).unwrap();
}

fn malformed(table: &[u8]) -> bool {
    matches!(
        CertificateTable::parse(table),
        Err(AttesterFault::Malformed { .. })
    )
}

#[test]
fn a_table_gives_the_certificates_of_signing_keys_alone() {
    let der = attester().vcek_der();
    let read = CertificateTable::parse(&table(&[
        (ARK, b"x"),
        (VCEK, der),
        (VLEK, b"neither DER nor PEM"),
    ]));
    let read = read.unwrap();
    assert_eq!(
        read.of(EndorsementKey::Vcek).collect::<Vec<_>>(),
        [&der.to_vec()]
    );
    assert_eq!(read.of(EndorsementKey::Vlek).count(), 0);
    assert_eq!(
        CertificateTable::parse(&[]).unwrap(),
        CertificateTable::empty()
    );
}

#[test]
fn a_table_that_reaches_outside_itself_is_refused() {
    let good = table(&[(VCEK, &[0x30; 10])]);
    assert!(!malformed(&good));
    let with = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let (offset, length) = (16, 20);
    assert!(malformed(&with(offset, 47)), "over its rows");
    assert!(malformed(&with(offset, 49)), "past its end");
    assert!(malformed(&with(offset, u32::MAX)));
    assert!(malformed(&with(length, 11)), "past its end");
    assert!(malformed(&with(length, u32::MAX)));
    assert!(malformed(&good[..24]), "rows that do not end");
    assert!(malformed(&good[..47]), "half a last row");
    assert!(malformed(&[0x63; 24 * 40]), "rows that do not end");
    assert!(malformed(&vec![0; CertificateTable::MAX_BYTES + 1]));
    let many: Vec<_> = (0..33).map(|_| (VCEK, [0x30].as_slice())).collect();
    assert!(malformed(&table(&many)));
    assert!(!malformed(&table(&many[1..])));
}

/// The same with a machine's genuine report and its genuine VCEK, in the table that its host would hand out.
#[test]
fn genuine_reports_find_their_certificate_among_others() {
    let Some(genuine) = real_evidence::genuine() else {
        return;
    };
    let others: Vec<&[u8]> = genuine.iter().map(|(_, it)| it.halves().1).collect();
    let rows: Vec<_> = others.iter().map(|der| (VCEK, *der)).collect();
    for (product, evidence) in &genuine {
        let (report, auxblob) = (evidence.report().to_vec(), table(&rows));
        let kernel = || Kernel {
            outblob: Box::new({
                let report = report.clone();
                move |_| report.clone()
            }),
            ..Kernel::new()
        };
        let asked = ReportData::new(report[0x50..0x90].try_into().unwrap());
        let with = Kernel {
            auxblob: Some(auxblob),
            ..kernel()
        };
        assert_eq!(&with.attester().attest(asked).unwrap(), evidence);
        let without = Kernel {
            auxblob: None,
            ..kernel()
        };
        let fault = without.attester().attest(asked).unwrap_err().to_string();
        assert!(fault.contains(&format!("/vcek/v1/{product}/")), "{fault}");
        assert_eq!(
            fault.contains("fmcSPL="),
            *product == Product::Turin,
            "{fault}"
        );
        assert!(Evidence::from_bytes(&evidence.to_bytes()).is_ok());
    }
}
