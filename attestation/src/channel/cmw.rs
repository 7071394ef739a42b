//! Evidence as certificates carry it: a CMW record of RFC 9999, in CBOR, in the extension `id-pe-cmw`.
//!
//! The RFC lets the extension hold JSON or CBOR (`CMW ::= CHOICE { json UTF8String, cbor OCTET STRING }`, its section on PKIX formats);
//! evidence is binary, so it is CBOR here, in the deterministic encoding of RFC 8949, section 4.2.1: one form for each record, and no other is
//! read.

use x509_cert::der::asn1::{OctetString, OctetStringRef};
use x509_cert::der::{Decode, Encode};

use super::certificate::CertificateReason;
use crate::require::require;

/// The record's type: evidence of this project, in the encoding of [`crate::Evidence`]. It is a media type of the unregistered tree (RFC 6838,
/// section 3.4), as both ends are this project's.
const TYPE: &str = "application/x.consort-evidence";

/// The record's indicator: the bit of Evidence alone (RFC 9999, `cm-type`).
const EVIDENCE: u64 = 1 << 2;

/// Type, value, indicator.
const MEMBERS: u64 = 3;

/// CBOR's major types (RFC 8949, section 3.1).
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
}

/// The value, DER, of the extension that carries this evidence.
///
/// # Panics
/// On evidence of more than 256 MiB, which DER's reader here does not hold.
pub fn wrap(evidence: &[u8]) -> Vec<u8> {
    let record = [
        &head(major::ARRAY, MEMBERS),
        &head(major::TEXT, TYPE.len() as u64),
        TYPE.as_bytes(),
        &head(major::BYTES, evidence.len() as u64),
        evidence,
        &head(major::UNSIGNED, EVIDENCE),
    ]
    .concat();
    let record = OctetString::new(record).and_then(|record| record.to_der());
    record.expect("evidence is far below what DER can hold")
}

/// The evidence in an extension's value.
///
/// # Errors
/// [`CertificateReason::Wrapper`] and [`CertificateReason::WrappedType`].
pub fn unwrap(extension: &[u8]) -> Result<&[u8], CertificateReason> {
    const MALFORMED: CertificateReason = CertificateReason::Wrapper;
    let record = OctetStringRef::from_der(extension).map_err(|_| MALFORMED)?;
    let mut rest = record.as_bytes();
    let members = take_head(&mut rest, major::ARRAY).ok_or(MALFORMED)?;
    require(members == MEMBERS, MALFORMED)?;
    let kind = take_string(&mut rest, major::TEXT).ok_or(MALFORMED)?;
    require(kind == TYPE.as_bytes(), CertificateReason::WrappedType)?;
    let evidence = take_string(&mut rest, major::BYTES).ok_or(MALFORMED)?;
    let indicator = take_head(&mut rest, major::UNSIGNED).ok_or(MALFORMED)?;
    require(indicator == EVIDENCE, CertificateReason::WrappedType)?;
    require(rest.is_empty(), MALFORMED)?;
    Ok(evidence)
}

/// An item's head in its shortest form (RFC 8949, sections 3 and 4.2.1).
fn head(major: u8, value: u64) -> Vec<u8> {
    let major = major << 5;
    let wide = value.to_be_bytes();
    match value {
        0..24 => vec![major | wide[7]],
        24..0x100 => vec![major | 24, wide[7]],
        0x100..0x1_0000 => [&[major | 25], &wide[6..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major | 26], &wide[4..]].concat(),
        0x1_0000_0000.. => [&[major | 27], &wide[..]].concat(),
    }
}

/// The value of the head that these bytes begin with, if it is of this type and in its shortest form.
fn take_head(bytes: &mut &[u8], major: u8) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let width = match first & 0x1F {
        0..24 => 0,
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        // Reserved, or of a length that is not said (RFC 8949, section 3.2).
        28.. => return None,
    };
    let (number, rest) = rest.split_at_checked(width)?;
    let value = match width {
        0 => u64::from(first & 0x1F),
        _ => number
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    };
    let taken = bytes.get(..1 + width)?;
    if head(major, value) != taken {
        return None;
    }
    *bytes = rest;
    Some(value)
}

fn take_string<'a>(bytes: &mut &'a [u8], major: u8) -> Option<&'a [u8]> {
    let length = usize::try_from(take_head(bytes, major)?).ok()?;
    let (string, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8949, appendix A.
    #[test]
    fn heads_are_those_of_the_rfcs_examples() {
        for (value, encoded) in [
            (0, "00"),
            (10, "0a"),
            (23, "17"),
            (24, "1818"),
            (100, "1864"),
            (1000, "1903e8"),
            (1_000_000, "1a000f4240"),
            (1_000_000_000_000, "1b000000e8d4a51000"),
        ] {
            let bytes = hex::decode(encoded).unwrap();
            assert_eq!(head(0, value), bytes);
            let mut rest = bytes.as_slice();
            assert_eq!(take_head(&mut rest, 0), Some(value));
            assert!(rest.is_empty());
        }
        // Ten, twenty-three and a thousand in longer forms; heads of no length that is said; half a head.
        for bad in ["180a", "1817", "1a000003e8", "1f", "9f", "1c", "19", "1903"] {
            let bytes = hex::decode(bad).unwrap();
            assert_eq!(
                take_head(&mut bytes.as_slice(), bytes[0] >> 5),
                None,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_record_has_the_layout_of_rfc_9999() {
        let wrapped = wrap(b"evidence");
        let record = [
            b"\x83\x78\x1e".as_slice(),
            b"application/x.consort-evidence",
            b"\x48evidence\x04",
        ]
        .concat();
        let length = u8::try_from(record.len()).unwrap();
        assert_eq!(wrapped, [&[4, length], record.as_slice()].concat());
        assert_eq!(unwrap(&wrapped), Ok(b"evidence".as_slice()));
    }

    #[test]
    fn every_length_survives() {
        for length in [0, 23, 24, 255, 256, 5000, 70_000] {
            let evidence = vec![7; length];
            assert_eq!(unwrap(&wrap(&evidence)), Ok(evidence.as_slice()));
        }
    }
}
