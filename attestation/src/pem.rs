//! PEM files with several blocks, as AMD's bundles are (RFC 7468).

use x509_cert::der::pem;

/// What a block of a file says it is, and its bytes.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) der: Vec<u8>,
}

/// A file that is not a list of PEM blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotPem;

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const CRL: &str = "X509 CRL";

const BEGIN: &str = "-----BEGIN ";

/// Reads every block of a file. A file of nothing but white space has none; text before the first block is passed over.
pub(crate) fn blocks(file: &[u8]) -> Result<Vec<Block>, NotPem> {
    let text = std::str::from_utf8(file).map_err(|_| NotPem)?;
    let mut parts = text.split(BEGIN);
    let preamble = parts.next().unwrap_or_default();
    let blocks = parts
        .map(|part| {
            let block = format!("{BEGIN}{}\n", part.trim_ascii_end());
            let (label, der) = pem::decode_vec(block.as_bytes()).map_err(|_| NotPem)?;
            Ok(Block {
                label: label.to_owned(),
                der,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if blocks.is_empty() && !preamble.trim_ascii().is_empty() {
        return Err(NotPem);
    }
    Ok(blocks)
}

/// The bytes of a file that holds one object, as PEM under this label or as bare DER.
pub(crate) fn one(file: &[u8], label: &str) -> Result<Vec<u8>, NotPem> {
    // A SEQUENCE; no PEM begins with the character 0.
    if file.first() == Some(&0x30) {
        return Ok(file.to_vec());
    }
    let [block] = <[Block; 1]>::try_from(blocks(file)?).map_err(|_| NotPem)?;
    if block.label == label {
        Ok(block.der)
    } else {
        Err(NotPem)
    }
}
