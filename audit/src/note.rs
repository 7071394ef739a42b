//! Signed notes (C2SP signed-note, <https://c2sp.org/signed-note>): a text, and beneath it who signed it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// Largest note in bytes: a checkpoint has some 200, a signature line some 150.
const MAX_NOTE_BYTES: usize = 16 * 1024;
/// Most signatures on a note: "at least 16" must be supported, the log needs one and a few witnesses.
const MAX_SIGNATURES: usize = 32;
/// The same of a note that the members of a consortium co-signed: up to 1 024 of them, and the log.
const MAX_COSIGNATURES: usize = 1_025;
/// Largest co-signed note in bytes: a line is at most a name of 140 bytes, 104 of base64 and a few more.
const MAX_COSIGNED_BYTES: usize = 320 * 1024;
/// The signature type of Ed25519.
const TYPE_ED25519: u8 = 0x01;
/// Begins a signature line: an em dash and a space.
const SIGNATURE_PREFIX: &str = "— ";

/// Signs notes in the name of one key.
///
/// # Security
/// Holds the secret key, which is wiped on drop; the debug form shows the name alone.
pub struct NoteSigner {
    key: SigningKey,
    verifier: NoteVerifier,
}

impl NoteSigner {
    /// A signer that appears as `name`, usually the origin of the log.
    ///
    /// # Errors
    /// [`NoteError::Name`] if the name is empty or holds a space, a plus sign or a control character.
    pub fn new(name: &str, key: SigningKey) -> Result<Self, NoteError> {
        let verifier = NoteVerifier::new(name, key.verifying_key())?;
        Ok(Self { key, verifier })
    }

    /// The public side.
    pub fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// Signs `text`, which must end in a newline.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] if the text could not be read back: no newline at its end, a control character, or too long.
    pub fn sign(&self, text: &str) -> Result<SignedNote, NoteError> {
        let mut blob = self.verifier.id.to_vec();
        blob.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        let line = format!(
            "{SIGNATURE_PREFIX}{} {}\n",
            self.verifier.name,
            STANDARD.encode(blob)
        );
        let note: SignedNote = format!("{text}\n{line}").parse()?;
        if note.text == text {
            Ok(note)
        } else {
            Err(NoteError::Malformed("the text holds a signature line"))
        }
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NoteSigner({}, 32-byte key)", self.verifier.name)
    }
}

/// A name and a public key, written as `name+id+base64(type ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl NoteVerifier {
    /// The verifier of a key under a name.
    ///
    /// # Errors
    /// [`NoteError::Name`] if the name is empty or holds a space, a plus sign or a control character.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        // key ID = SHA-256(name ‖ 0x0A ‖ type ‖ key)[..4] (signed-note, "Signatures").
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', TYPE_ED25519])
            .chain_update(key.as_bytes())
            .finalize();
        Ok(Self {
            name: name.to_owned(),
            id: [hash[0], hash[1], hash[2], hash[3]],
            key,
        })
    }

    /// The verifier of a key of 32 bytes (RFC 8032) under a name.
    ///
    /// # Errors
    /// [`NoteError::Key`] if the bytes are no key, [`NoteError::Name`] as [`NoteVerifier::new`].
    pub fn from_bytes(name: &str, key: &[u8; 32]) -> Result<Self, NoteError> {
        Self::new(
            name,
            VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key)?,
        )
    }

    /// The name the key signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl fmt::Display for NoteVerifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = vec![TYPE_ED25519];
        blob.extend_from_slice(self.key.as_bytes());
        write!(
            out,
            "{}+{:08x}+{}",
            self.name,
            u32::from_be_bytes(self.id),
            STANDARD.encode(blob)
        )
    }
}

impl FromStr for NoteVerifier {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        // Base64 holds plus signs, the name none: split from the left.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(blob)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let blob = STANDARD.decode(blob).map_err(|_| NoteError::Key)?;
        let Some((&TYPE_ED25519, key)) = blob.split_first() else {
            return Err(NoteError::Key);
        };
        let key: &[u8; 32] = key.try_into().map_err(|_| NoteError::Key)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key)?;
        let verifier = Self::new(name, key)?;
        // One spelling for one key: this also compares the key id.
        if verifier.to_string() == text {
            Ok(verifier)
        } else {
            Err(NoteError::Key)
        }
    }
}

/// A note that is well-formed; whether a signature holds is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    pub(crate) text: String,
    pub(crate) signatures: Vec<NoteSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteSignature {
    pub(crate) name: String,
    pub(crate) id: [u8; 4],
    pub(crate) signature: Vec<u8>,
}

impl SignedNote {
    /// Reads a note that all members of a consortium may have co-signed, which is longer than notes are otherwise.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] if it breaks the format or these bounds.
    pub fn read_cosigned(note: &str) -> Result<Self, NoteError> {
        read(note, MAX_COSIGNED_BYTES, MAX_COSIGNATURES)
    }

    /// The text, if `verifier` signed it.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] if it did not, [`NoteError::Signature`] if a signature in its name does not hold.
    ///
    /// # Security
    /// Ed25519 (RFC 8032) with the strict check, which refuses keys of small order and signatures that another could
    /// have bent. Signatures of others are not looked at.
    pub fn verified(&self, verifier: &NoteVerifier) -> Result<&str, NoteError> {
        let mut own = self
            .signatures
            .iter()
            .filter(|line| line.name == verifier.name && line.id == verifier.id)
            .peekable();
        if own.peek().is_none() {
            return Err(NoteError::Unsigned {
                name: verifier.name.clone(),
            });
        }
        for line in own {
            let failed = || NoteError::Signature {
                name: verifier.name.clone(),
            };
            let signature = Signature::from_slice(&line.signature).map_err(|_| failed())?;
            verifier
                .key
                .verify_strict(self.text.as_bytes(), &signature)
                .map_err(|_| failed())?;
        }
        Ok(&self.text)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.text)?;
        for line in &self.signatures {
            let blob = [line.id.as_slice(), &line.signature].concat();
            writeln!(
                out,
                "{SIGNATURE_PREFIX}{} {}",
                line.name,
                STANDARD.encode(blob)
            )?;
        }
        Ok(())
    }
}

impl FromStr for SignedNote {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        read(note, MAX_NOTE_BYTES, MAX_SIGNATURES)
    }
}

fn read(note: &str, max_bytes: usize, max_signatures: usize) -> Result<SignedNote, NoteError> {
    let refuse = |reason| Err(NoteError::Malformed(reason));
    if note.len() > max_bytes {
        return refuse("it is too long");
    }
    if note.chars().any(|char| char < ' ' && char != '\n') {
        return refuse("it holds a control character");
    }
    // The last empty line divides: the text may hold others.
    let Some(empty_line) = note.rfind("\n\n") else {
        return refuse("no empty line divides text and signatures");
    };
    let (text, signatures) = (&note[..=empty_line], &note[empty_line + 2..]);
    let Some(signatures) = signatures.strip_suffix('\n') else {
        return refuse("it does not end in a signature line");
    };
    let signatures = signatures
        .split('\n')
        .map(signature_line)
        .collect::<Result<Vec<_>, _>>()?;
    if signatures.len() > max_signatures {
        return refuse("it has too many signatures");
    }
    Ok(SignedNote {
        text: text.to_owned(),
        signatures,
    })
}

fn signature_line(line: &str) -> Result<NoteSignature, NoteError> {
    let malformed = || NoteError::Malformed("a signature line is not '— name base64'");
    let (name, blob) = line
        .strip_prefix(SIGNATURE_PREFIX)
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(malformed)?;
    let blob = STANDARD.decode(blob).map_err(|_| malformed())?;
    let (id, signature) = blob.split_first_chunk::<4>().ok_or_else(malformed)?;
    if !is_name(name) || signature.is_empty() {
        return Err(malformed());
    }
    Ok(NoteSignature {
        name: name.to_owned(),
        id: *id,
        signature: signature.to_vec(),
    })
}

pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|char| char.is_whitespace() || char.is_control() || char == '+')
}

/// A note or a key is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// A key name is empty or holds a space, a plus sign or a control character.
    #[error("a key name is not empty and holds no space, plus sign or control character")]
    Name,
    /// The text of a verifier key is none.
    #[error(
        "a verifier key is written name+id+base64, with the id that belongs to the name and key"
    )]
    Key,
    /// The note breaks the format.
    #[error("the signed note is malformed: {0}")]
    Malformed(&'static str),
    /// The key did not sign the note.
    #[error("{name} did not sign the note")]
    Unsigned {
        /// The name of the key.
        name: String,
    },
    /// A signature does not hold.
    #[error("the signature of {name} does not hold; the note was changed or signed by another key")]
    Signature {
        /// The name of the key.
        name: String,
    },
}

impl NoteError {
    /// Stable code for gRPC details, metrics and the audit trail.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name => "note_name",
            Self::Key => "note_key",
            Self::Malformed(_) => "note_malformed",
            Self::Unsigned { .. } => "note_unsigned",
            Self::Signature { .. } => "note_signature",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the reference implementation (golang.org/x/mod/sumdb/note, package documentation).
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const SIGNATURE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn signer() -> NoteSigner {
        let seed = STANDARD.decode(SECRET).unwrap();
        NoteSigner::new(
            "PeterNeumann",
            SigningKey::from_bytes(seed[1..].try_into().unwrap()),
        )
        .unwrap()
    }

    #[test]
    fn the_known_note_is_signed_and_verified_byte_for_byte() {
        let known = format!("{TEXT}\n{SIGNATURE}");
        let signed = signer().sign(TEXT).unwrap();
        assert_eq!(signed.to_string(), known);
        let parsed: SignedNote = known.parse().unwrap();
        assert_eq!(parsed.verified(&KEY.parse().unwrap()).unwrap(), TEXT);
        assert_eq!(signer().verifier().to_string(), KEY);
    }

    #[test]
    fn a_key_with_any_byte_changed_is_refused() {
        for position in 0..KEY.len() {
            let mut bytes = KEY.as_bytes().to_vec();
            bytes[position] ^= 1;
            assert!(
                String::from_utf8(bytes)
                    .unwrap()
                    .parse::<NoteVerifier>()
                    .is_err(),
                "position {position}"
            );
        }
        for length in 0..KEY.len() {
            assert!(
                KEY[..length].parse::<NoteVerifier>().is_err(),
                "length {length}"
            );
        }
    }

    #[test]
    fn a_note_with_any_byte_changed_is_refused() {
        let note = signer().sign(TEXT).unwrap().to_string();
        for position in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.as_bytes().to_vec();
                bytes[position] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else {
                    continue;
                };
                let verdict = changed
                    .parse::<SignedNote>()
                    .and_then(|note| note.verified(signer().verifier()).map(str::to_owned));
                assert!(verdict.is_err(), "position {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_malformed_note_is_refused() {
        for refused in [
            "".to_owned(),
            TEXT.to_owned(),
            format!("{TEXT}\n"),
            format!("{TEXT}{SIGNATURE}"),
            format!("{TEXT}\n{}", SIGNATURE.trim_end()),
            format!("{TEXT}\n{SIGNATURE}\n"),
            format!("{TEXT}\r\n{SIGNATURE}"),
            format!("{TEXT}\n{}", SIGNATURE.replace("— ", "- ")),
            format!("{TEXT}\n{}", SIGNATURE.replace("nAM=", "nAM")),
            format!("{TEXT}\n— PeterNeumann x08gow==\n"),
            format!("{TEXT}\n{}", SIGNATURE.repeat(MAX_SIGNATURES + 1)),
            format!("{}\n{SIGNATURE}", "x\n".repeat(MAX_NOTE_BYTES)),
        ] {
            assert!(refused.parse::<SignedNote>().is_err(), "{refused:?}");
        }
        assert!(signer().sign("no newline").is_err());
        assert!(signer().sign("a tab\t\n").is_err());
        assert!(signer().sign("").is_err());
    }

    #[test]
    fn the_signature_of_another_is_none() {
        let note = signer().sign(TEXT).unwrap();
        let other = NoteSigner::new("PeterNeumann", SigningKey::from_bytes(&[7; 32])).unwrap();
        assert_eq!(
            note.verified(other.verifier()).unwrap_err().code(),
            "note_unsigned"
        );
        let both: SignedNote = format!("{note}{}", "— somebody.else AAAAAAAA\n")
            .parse()
            .unwrap();
        assert!(both.verified(signer().verifier()).is_ok());
    }

    #[test]
    fn a_signer_shows_no_key() {
        assert_eq!(
            format!("{:?}", signer()),
            "NoteSigner(PeterNeumann, 32-byte key)"
        );
    }
}
