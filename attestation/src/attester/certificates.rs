//! Certificates of the key that signs reports: a table that the host hands out, and files that an operator stapled.
//!
//! The host is not trusted, and the table is its bytes: every offset and length in it is looked at before anything is read, and
//! the table can neither overlap its certificates nor reach past its own end.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::AttesterFault;
use crate::certificate::{EndorsementKey, certificate_der};

/// The GUIDs under which a table names the certificates of signing keys (AMD 56421, section 4.1.8.1), as bytes.
const VCEK_GUID: [u8; GUID_BYTES] =
    *b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
const VLEK_GUID: [u8; GUID_BYTES] =
    *b"\xa8\x07\x4b\xc2\xa2\x5a\x48\x3e\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1";

const GUID_BYTES: usize = 16;

/// A row: a GUID, an offset into the table and a length, 4 bytes little-endian each. A row of zeros ends them.
const ROW_BYTES: usize = GUID_BYTES + 8;

/// The most rows of a table. AMD names six kinds of certificate; a host may add its own.
const MAX_ROWS: usize = 32;

/// The most bytes of a stapled certificate: as evidence, it must fit [`crate::MAX_EVIDENCE_BYTES`].
const MAX_FILE_BYTES: u64 = 8 * 1024;

/// The most files of a folder that are read: one for each firmware level that a machine had, and room.
const MAX_FILES: usize = 64;

/// The certificates of signing keys that a host hands out beside a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateTable {
    certificates: Vec<(EndorsementKey, Vec<u8>)>,
}

impl CertificateTable {
    /// The most bytes of a table: what the kernel's attribute can hold (`TSM_OUTBLOB_MAX`).
    pub const MAX_BYTES: usize = 32 * 1024;

    /// A host that hands out nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads a table. One of no bytes is empty; certificates of other kinds (ASK, ARK, revocation lists) are passed over, as roots
    /// never come from a host.
    ///
    /// # Errors
    /// [`AttesterFault::Malformed`] when a row reaches past the table's end or into its rows, or the rows do not end.
    pub fn parse(bytes: &[u8]) -> Result<Self, AttesterFault> {
        let malformed = |why| AttesterFault::Malformed {
            what: "the host's table of certificates",
            why,
        };
        if bytes.len() > Self::MAX_BYTES {
            return Err(malformed("it is longer than it can be"));
        }
        if bytes.is_empty() {
            return Ok(Self::empty());
        }
        let rows: Vec<Row> = bytes
            .chunks_exact(ROW_BYTES)
            .take(MAX_ROWS + 1)
            .map(Row::read)
            .take_while(|row| !row.is_end())
            .collect();
        let after_rows = (rows.len() + 1) * ROW_BYTES;
        if rows.len() > MAX_ROWS || after_rows > bytes.len() {
            return Err(malformed("its rows do not end"));
        }
        let mut certificates = Vec::new();
        for row in rows {
            if row.offset < after_rows {
                return Err(malformed("a certificate lies over its rows"));
            }
            let certificate = row
                .offset
                .checked_add(row.length)
                .and_then(|end| bytes.get(row.offset..end))
                .ok_or_else(|| malformed("a certificate lies past its end"))?;
            let key = match row.guid {
                VCEK_GUID => EndorsementKey::Vcek,
                VLEK_GUID => EndorsementKey::Vlek,
                _ => continue,
            };
            if let Some(der) = certificate_der(certificate) {
                certificates.push((key, der));
            }
        }
        Ok(Self { certificates })
    }

    /// The certificates of this kind of key, DER.
    pub(super) fn of(&self, key: EndorsementKey) -> impl Iterator<Item = &Vec<u8>> {
        self.certificates
            .iter()
            .filter(move |(kind, _)| *kind == key)
            .map(|(_, der)| der)
    }
}

struct Row {
    guid: [u8; GUID_BYTES],
    offset: usize,
    length: usize,
}

impl Row {
    fn read(bytes: &[u8]) -> Self {
        let number = |at: usize| {
            let bytes = bytes[at..at + 4].try_into().expect("four bytes were cut");
            // A target whose usize is smaller holds no such offset, and nothing lies there.
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        Self {
            guid: bytes[..GUID_BYTES]
                .try_into()
                .expect("a row begins with its GUID"),
            offset: number(GUID_BYTES),
            length: number(GUID_BYTES + 4),
        }
    }

    fn is_end(&self) -> bool {
        self.guid == [0; GUID_BYTES]
    }
}

/// Certificates that an operator put beside the machine, since its host hands out none or old ones: a file, or a folder of files,
/// DER or PEM.
///
/// They are read anew for each report, so that a machine whose firmware was updated needs a new file and no restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StapledCertificates {
    path: Option<PathBuf>,
}

impl StapledCertificates {
    /// None: the host's have to do.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of a file or of a folder.
    pub fn at(path: PathBuf) -> Self {
        Self { path: Some(path) }
    }

    /// The certificates, DER, in the order of their names.
    pub(super) fn read(&self) -> Result<Vec<Vec<u8>>, AttesterFault> {
        let Some(path) = &self.path else {
            return Ok(Vec::new());
        };
        let mut files = vec![path.clone()];
        if path.is_dir() {
            files = std::fs::read_dir(path)
                .and_then(|entries| {
                    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
                    paths.take(MAX_FILES + 1).collect()
                })
                .map_err(failed(path))?;
            if files.len() > MAX_FILES {
                return Err(unusable("there are more than 64 files in the folder"));
            }
            files.sort();
        }
        files.iter().map(|file| read_one(file)).collect()
    }
}

fn read_one(file: &Path) -> Result<Vec<u8>, AttesterFault> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed(file))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unusable("it is longer than 8 KiB"));
    }
    certificate_der(&bytes).ok_or_else(|| unusable("it is neither DER nor one PEM certificate"))
}

fn unusable(why: &'static str) -> AttesterFault {
    AttesterFault::Malformed {
        what: "a stapled certificate",
        why,
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> AttesterFault {
    let what = format!("reading the stapled certificate {}", path.display());
    move |source| AttesterFault::Io { what, source }
}
