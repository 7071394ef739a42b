//! Co-signatures (C2SP tlog-cosignature, <https://c2sp.org/tlog-cosignature>): a witness says that the checkpoint is that of the
//! longest log it has seen, and that the log extends all that it saw before.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::note::{NoteError, NoteSignature, SignedNote, is_name};

/// Bytes of a co-signature: the time in seconds since 1970, big-endian, then the signature.
pub const COSIGNATURE_BYTES: usize = 72;

/// The signature type of an Ed25519 co-signature.
const TYPE_COSIGNATURE: u8 = 0x04;

/// "It MUST NOT exceed 2^63 - 1" (tlog-cosignature, "Format").
const MAX_TIME: u64 = i64::MAX.unsigned_abs();

/// A witness's co-signature, a `timestamped_signature`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cosignature([u8; COSIGNATURE_BYTES]);

impl Cosignature {
    /// Co-signs the text of a checkpoint as of a time; `sign` is Ed25519 (RFC 8032) under the witness's key.
    ///
    /// # Security
    /// Only after the checkpoint was found to be of the log that the witness knows ([`crate::judge_head`]): that is what it says.
    /// The message begins with `cosignature/v1`, which no canonical encoding does, so that no other statement of the same key is
    /// a co-signature.
    pub fn new(text: &str, unix_s: u64, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let unix_s = unix_s.min(MAX_TIME);
        let mut bytes = [0; COSIGNATURE_BYTES];
        bytes[..8].copy_from_slice(&unix_s.to_be_bytes());
        bytes[8..].copy_from_slice(&sign(message(text, unix_s).as_bytes()));
        Self(bytes)
    }

    /// Reads [`COSIGNATURE_BYTES`]; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The time, then the signature.
    pub fn as_bytes(&self) -> &[u8; COSIGNATURE_BYTES] {
        &self.0
    }

    fn unix_s(&self) -> u64 {
        let (time, _) = self
            .0
            .split_first_chunk()
            .expect("72 bytes are more than 8");
        u64::from_be_bytes(*time)
    }
}

impl fmt::Debug for Cosignature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cosignature(at {})", self.unix_s())
    }
}

/// A witness: its name, and its public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl WitnessKey {
    /// The witness of a key of 32 bytes (RFC 8032) under a name.
    ///
    /// # Errors
    /// [`NoteError::Key`] or [`NoteError::Name`].
    pub fn new(name: &str, key: &[u8; 32]) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key)?;
        // key ID = SHA-256(name ‖ 0x0A ‖ 0x04 ‖ key)[..4] (tlog-cosignature, "Format").
        let hash = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', TYPE_COSIGNATURE])
            .chain_update(key.as_bytes())
            .finalize();
        Ok(Self {
            name: name.to_owned(),
            id: [hash[0], hash[1], hash[2], hash[3]],
            key,
        })
    }

    /// The name it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time as of which this witness co-signed a checkpoint's text, seconds since 1970.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if the co-signature does not hold.
    pub fn verify(&self, text: &str, cosignature: &Cosignature) -> Result<u64, NoteError> {
        let failed = || NoteError::Signature {
            name: self.name.clone(),
        };
        let unix_s = cosignature.unix_s();
        if unix_s > MAX_TIME {
            return Err(failed());
        }
        let signature = Signature::from_slice(&cosignature.0[8..]).map_err(|_| failed())?;
        (self.key)
            .verify_strict(message(text, unix_s).as_bytes(), &signature)
            .map_err(|_| failed())?;
        Ok(unix_s)
    }
}

impl SignedNote {
    /// Adds the line of a co-signature, once for each witness. Whether it holds, [`WitnessKey::verify`] says.
    pub fn add_cosignature(&mut self, witness: &WitnessKey, cosignature: &Cosignature) {
        if self.line_of(witness).is_none() {
            self.signatures.push(NoteSignature {
                name: witness.name.clone(),
                id: witness.id,
                signature: cosignature.0.to_vec(),
            });
        }
    }

    /// When a witness co-signed this note; `None` if it did not.
    ///
    /// # Errors
    /// [`NoteError::Signature`] if a line in its name does not hold.
    pub fn cosigned_by(&self, witness: &WitnessKey) -> Result<Option<u64>, NoteError> {
        let Some(line) = self.line_of(witness) else {
            return Ok(None);
        };
        let cosignature = Cosignature::from_slice(&line.signature);
        let cosignature = cosignature.ok_or_else(|| NoteError::Signature {
            name: witness.name.clone(),
        })?;
        witness.verify(&self.text, &cosignature).map(Some)
    }

    /// The note as the log signed it, without what others wrote beneath.
    #[must_use]
    pub fn without_cosignatures(&self) -> Self {
        Self {
            text: self.text.clone(),
            signatures: self.signatures.iter().take(1).cloned().collect(),
        }
    }

    fn line_of(&self, witness: &WitnessKey) -> Option<&NoteSignature> {
        let of_witness = |line: &&NoteSignature| line.name == witness.name && line.id == witness.id;
        self.signatures.iter().find(of_witness)
    }
}

/// What is signed (tlog-cosignature, "Ed25519 signed message").
fn message(text: &str, unix_s: u64) -> String {
    format!("cosignature/v1\ntime {unix_s}\n{text}")
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    // The example of tlog-cosignature. Its witness's key is not published: what is compared is the form of the line.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    fn secret() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn witness(name: &str) -> WitnessKey {
        WitnessKey::new(name, &secret().verifying_key().to_bytes()).unwrap()
    }

    fn cosign(text: &str, unix_s: u64) -> Cosignature {
        Cosignature::new(text, unix_s, |message| secret().sign(message).to_bytes())
    }

    #[test]
    fn the_example_of_the_standard_is_read_and_its_time_is_the_one_it_names() {
        let note: SignedNote = EXAMPLE.parse().unwrap();
        let cosignature = Cosignature::from_slice(&note.signatures[1].signature).unwrap();
        assert_eq!(cosignature.unix_s(), 1_679_315_147);
        assert_eq!(note.without_cosignatures().signatures.len(), 1);
    }

    #[test]
    fn what_is_signed_is_the_message_of_the_standard() {
        let text =
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let expected = format!("cosignature/v1\ntime 1679315147\n{text}");
        Cosignature::new(text, 1_679_315_147, |signed| {
            assert_eq!(signed, expected.as_bytes());
            [0; 64]
        });
    }

    #[test]
    fn a_cosignature_holds_for_its_witness_its_text_and_its_time_alone() {
        let mut note: SignedNote = EXAMPLE.parse().unwrap();
        let (text, one) = (note.text.clone(), witness("demo/witness/clinic-1"));
        assert_eq!(note.cosigned_by(&one), Ok(None));
        let cosignature = cosign(&text, 1_700_000_000);
        note.add_cosignature(&one, &cosignature);
        note.add_cosignature(&one, &cosign(&text, 1_800_000_000));
        let again = SignedNote::read_cosigned(&note.to_string()).unwrap();
        assert_eq!(again.cosigned_by(&one), Ok(Some(1_700_000_000)));
        assert_eq!(
            again.cosigned_by(&witness("demo/witness/clinic-2")),
            Ok(None)
        );
        for position in 0..COSIGNATURE_BYTES {
            let mut changed = cosignature;
            changed.0[position] ^= 1;
            assert!(one.verify(&text, &changed).is_err(), "byte {position}");
        }
        assert!(
            one.verify(&text.replace("20852163", "20852164"), &cosignature)
                .is_err()
        );
    }

    #[test]
    fn a_cosignature_is_no_signature_of_the_log_and_the_other_way_round() {
        let note: SignedNote = EXAMPLE.parse().unwrap();
        let mut own = note.clone();
        let signer = crate::NoteSigner::new("demo/audit", secret()).unwrap();
        own.add_cosignature(&witness("demo/audit"), &cosign(&note.text, 5));
        assert_eq!(
            own.verified(signer.verifier()).unwrap_err().code(),
            "note_unsigned"
        );
        let signed = signer.sign(&note.text).unwrap();
        assert_eq!(signed.cosigned_by(&witness("demo/audit")), Ok(None));
    }

    #[test]
    fn a_thousand_members_fit_and_no_more() {
        let mut note: SignedNote = EXAMPLE.parse().unwrap();
        note.signatures.truncate(1);
        let name = |i: u32| format!("{}/witness/{}{i:04}", "c".repeat(64), "o".repeat(60));
        for i in 0..1_024 {
            note.add_cosignature(&witness(&name(i)), &cosign("", 0));
        }
        assert_eq!(
            SignedNote::read_cosigned(&note.to_string()),
            Ok(note.clone())
        );
        note.add_cosignature(&witness(&name(1_024)), &cosign("", 0));
        assert!(SignedNote::read_cosigned(&note.to_string()).is_err());
    }
}
