//! The kernel's report interface, `/sys/kernel/config/tsm/report` (Documentation/ABI/testing/configfs-tsm, Linux 6.7).
//!
//! Its provider is SEV-SNP's or TDX's, which knows no privilege levels and brings no certificates beside its quote.
//!
//! Each report has an entry of its own: a folder is made, the statement and the privilege level are written into it, report and
//! certificates are read, and the folder is removed. The entry's generation counts writes, so that a write of somebody else's, or
//! one that the kernel did not take, shows.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::assemble::{assemble, assemble_quote};
use super::certificates::{CertificateTable, StapledCertificates};
use super::entries::{Configfs, Entries};
use super::{Attester, AttesterFault};
use crate::evidence::{Evidence, MAX_EVIDENCE_BYTES, REPORT_BYTES};
use crate::statements::ReportData;

/// Where the kernel has it.
const FOLDER: &str = "/sys/kernel/config/tsm/report";

/// The provider whose `outblob` is an SEV-SNP report.
const SNP_PROVIDER: &str = "sev_guest";

/// The provider whose `outblob` is a quote of Intel TDX.
const TDX_PROVIDER: &str = "tdx_guest";

/// How often a raced report is asked for anew. One race is an accident, three are somebody's doing.
const MAX_ATTEMPTS: u32 = 3;

/// How many names are tried for an entry: others of this process's number (of another container, or of one that was killed) may
/// have left theirs.
const MAX_NAMES: u64 = 64;

/// The most bytes of an attribute of one line.
const MAX_LINE_BYTES: usize = 256;

/// What is written to an entry of SEV-SNP: the statement, and the level.
const SNP_WRITES: u64 = 2;

/// What is written to an entry of TDX, which knows no levels: the statement.
const TDX_WRITES: u64 = 1;

/// Evidence by the kernel's report interface.
///
/// # Security
/// The certificates come from the host, which is not trusted: their table is read with its bounds checked, and only the one whose
/// key signed the report is taken. Whether that key is AMD's is for whoever verifies the evidence.
pub struct ConfigfsTsm {
    entries: Box<dyn Entries>,
    stapled: StapledCertificates,
    vmpl: u32,
    made: AtomicU64,
}

impl ConfigfsTsm {
    /// The interface where the kernel has it. Certificates that the host does not hand out are looked for among the stapled
    /// ones; reports are asked for at this VMPL, which is 0 unless something runs below the kernel.
    pub fn new(stapled: StapledCertificates, vmpl: u32) -> Self {
        let folder = PathBuf::from(FOLDER);
        Self::over(Box::new(Configfs { folder }), stapled, vmpl)
    }

    pub(super) fn over(entries: Box<dyn Entries>, stapled: StapledCertificates, vmpl: u32) -> Self {
        Self {
            entries,
            stapled,
            vmpl,
            made: AtomicU64::new(0),
        }
    }

    /// What the hardware signed, and what lies beside it; nothing when somebody else wrote to the entry.
    fn once(&self, report_data: ReportData) -> Result<Option<Answer>, AttesterFault> {
        let entry = self.make()?;
        let provider = entry.line("provider")?;
        match provider.as_str() {
            SNP_PROVIDER => self.report(&entry, report_data),
            TDX_PROVIDER => quote(&entry, report_data),
            _ => Err(AttesterFault::Provider(provider)),
        }
    }

    /// A report, and the table of certificates beside it.
    fn report(
        &self,
        entry: &Entry<'_>,
        report_data: ReportData,
    ) -> Result<Option<Answer>, AttesterFault> {
        let floor = number(&entry.line("privlevel_floor")?)?;
        if u64::from(self.vmpl) < floor {
            return Err(AttesterFault::PrivilegeLevel {
                asked: self.vmpl,
                floor: u32::try_from(floor).unwrap_or(u32::MAX),
            });
        }
        let before = number(&entry.line("generation")?)?;
        entry.write("inblob", report_data.as_bytes())?;
        entry.write("privlevel", self.vmpl.to_string().as_bytes())?;
        let report = entry.read("outblob", REPORT_BYTES)?;
        let table = entry.certificates()?;
        // The kernel's counter is an unsigned long that wraps.
        if number(&entry.line("generation")?)? != before.wrapping_add(SNP_WRITES) {
            return Ok(None);
        }
        let report = report.try_into().map_err(|_| AttesterFault::Malformed {
            what: "the kernel's outblob",
            why: "it is shorter than a report of 1184 bytes",
        })?;
        Ok(Some(Answer::Report(Box::new(report), table)))
    }

    fn make(&self) -> Result<Entry<'_>, AttesterFault> {
        let mut last = None;
        for _ in 0..MAX_NAMES {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let name = format!("consort-{}-{number}", std::process::id());
            match self.entries.make(&name) {
                Ok(()) => {
                    return Ok(Entry {
                        entries: &*self.entries,
                        name,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
                Err(error) => {
                    return Err(AttesterFault::of_io(self.entries.path(&name), error));
                }
            }
        }
        let source = last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into());
        let what = format!("making one of {MAX_NAMES} entries in {FOLDER}");
        Err(AttesterFault::Io { what, source })
    }
}

impl Attester for ConfigfsTsm {
    fn attest(&self, report_data: ReportData) -> Result<Evidence, AttesterFault> {
        for _ in 0..MAX_ATTEMPTS {
            match self.once(report_data)? {
                Some(Answer::Report(report, table)) => {
                    return assemble(*report, report_data, &table, &self.stapled);
                }
                Some(Answer::Quote(quote)) => return assemble_quote(&quote, report_data),
                None => {}
            }
        }
        Err(AttesterFault::Raced(MAX_ATTEMPTS))
    }
}

/// What the hardware signed, by its kind.
enum Answer {
    Report(Box<[u8; REPORT_BYTES]>, CertificateTable),
    Quote(Vec<u8>),
}

/// A quote, which brings its certificates itself. The kernel has the host's quoting service sign it.
fn quote(entry: &Entry<'_>, report_data: ReportData) -> Result<Option<Answer>, AttesterFault> {
    let before = number(&entry.line("generation")?)?;
    entry.write("inblob", report_data.as_bytes())?;
    let quote = entry.read("outblob", MAX_EVIDENCE_BYTES)?;
    if number(&entry.line("generation")?)? != before.wrapping_add(TDX_WRITES) {
        return Ok(None);
    }
    Ok(Some(Answer::Quote(quote)))
}

/// An entry of this process's own, removed when it is dropped.
struct Entry<'a> {
    entries: &'a dyn Entries,
    name: String,
}

impl Entry<'_> {
    fn write(&self, attribute: &str, bytes: &[u8]) -> Result<(), AttesterFault> {
        self.entries
            .write(&self.name, attribute, bytes)
            .map_err(|error| self.fault(attribute, error))
    }

    fn read(&self, attribute: &str, most: usize) -> Result<Vec<u8>, AttesterFault> {
        self.entries
            .read(&self.name, attribute, most)
            .map_err(|error| self.fault(attribute, error))
    }

    /// An attribute of one line of text.
    fn line(&self, attribute: &str) -> Result<String, AttesterFault> {
        let bytes = self.read(attribute, MAX_LINE_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|_| AttesterFault::Malformed {
            what: "an attribute of the kernel's report entry",
            why: "it is not text",
        })?;
        Ok(text.trim_ascii_end().to_owned())
    }

    /// The host's certificates. A host may hand out none: then the attribute is empty, or is not there.
    fn certificates(&self) -> Result<CertificateTable, AttesterFault> {
        let read = self
            .entries
            .read(&self.name, "auxblob", CertificateTable::MAX_BYTES);
        match read {
            Ok(bytes) => CertificateTable::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(CertificateTable::empty()),
            Err(error) => Err(self.fault("auxblob", error)),
        }
    }

    fn fault(&self, attribute: &str, error: io::Error) -> AttesterFault {
        if error.kind() == io::ErrorKind::FileTooLarge {
            return AttesterFault::Malformed {
                what: "an attribute of the kernel's report entry",
                why: "it is longer than it can be",
            };
        }
        AttesterFault::of_io(self.entries.path(&self.name).join(attribute), error)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // What cannot be removed holds a few kilobytes of the kernel's and no secret; the next entry has another name.
        let _left = self.entries.remove(&self.name);
    }
}

fn number(line: &str) -> Result<u64, AttesterFault> {
    line.parse().map_err(|_| AttesterFault::Malformed {
        what: "an attribute of the kernel's report entry",
        why: "it is not a number",
    })
}
