//! Bad certificates, case by case.

use x509_cert::der::Encode as _;
use x509_cert::der::asn1::{OctetString, Utf8StringRef};

use super::super::super::certificate::CMW;
use super::super::super::cmw;
use super::*;

/// The extension with this value.
fn raw(value: Vec<u8>) -> CustomExtension {
    let arcs: Vec<u64> = CMW.arcs().map(u64::from).collect();
    CustomExtension::from_oid_content(&arcs, value)
}

/// The extension around this CBOR.
fn cbor(record: Vec<u8>) -> CustomExtension {
    raw(OctetString::new(record).unwrap().to_der().unwrap())
}

/// The CBOR of good evidence's record.
fn record(evidence: &[u8]) -> Vec<u8> {
    let wrapped = cmw::wrap(evidence);
    // An OCTET STRING of more than 255 bytes and less than 65536: tag, 0x82, two bytes of length.
    assert_eq!(wrapped[..2], [4, 0x82]);
    wrapped[4..].to_vec()
}

/// A good record in which these bytes stand for those.
fn replaced(evidence: &[u8], from: &[u8], to: &[u8]) -> CustomExtension {
    let record = record(evidence);
    let mut at = record.windows(from.len());
    let at = at.position(|window| window == from).unwrap();
    cbor([&record[..at], to, &record[at + from.len()..]].concat())
}

pub(super) fn later(dates: Dates, by: Duration) -> Dates {
    Dates {
        not_before: dates.not_before + by,
        not_after: dates.not_after + by,
    }
}

pub(super) fn all() -> Vec<Case> {
    use CertificateReason::{
        Critical, Encoding, Evidence as Attested, Expired, Life, Missing, NotYetValid, Size, Twice,
        WrappedType, Wrapper,
    };
    let now = world::now();
    let second = Duration::from_secs(1);
    let good = dates(now);
    let skew = Duration::from_secs(300);
    let not_the_statement = Attested(Reason::ReportData);
    let mut trailing = Draft::new().certificate().to_vec();
    trailing.push(0);
    let carrying = |carry: fn(Vec<u8>) -> Option<CustomExtension>| Draft::new().carrying(carry);
    let mut cases = vec![
        // Too long, and nothing else is wrong with it.
        case("oversize", Size, oversize()),
        case("bytes behind the certificate", Encoding, trailing.into()),
        case("no certificate", Encoding, vec![0x30, 0].into()),
    ];
    cases.extend([
        case("no evidence", Missing, carrying(|_| None)),
        case(
            "a critical extension",
            Critical,
            carrying(|evidence| {
                let mut extension = extension(&evidence);
                extension.set_criticality(true);
                Some(extension)
            }),
        ),
        case("evidence twice", Twice, twice()),
        case(
            "an empty extension",
            Wrapper,
            carrying(|_| Some(raw(Vec::new()))),
        ),
        case(
            "JSON",
            Wrapper,
            carrying(|_| {
                let json = "[\"application/x.consort-evidence\",\"AA\",4]";
                Some(raw(Utf8StringRef::new(json).unwrap().to_der().unwrap()))
            }),
        ),
        case(
            "bytes behind the OCTET STRING",
            Wrapper,
            carrying(|evidence| Some(raw([cmw::wrap(&evidence), vec![0]].concat()))),
        ),
        case(
            "bytes behind the record",
            Wrapper,
            carrying(|evidence| Some(cbor([record(&evidence), vec![0]].concat()))),
        ),
        case(
            "a record of two",
            Wrapper,
            carrying(|evidence| {
                let mut record = record(&evidence);
                record.pop();
                record[0] = 0x82;
                Some(cbor(record))
            }),
        ),
        case(
            "a record of four",
            Wrapper,
            carrying(|evidence| {
                let mut record = record(&evidence);
                record[0] = 0x84;
                Some(cbor([record, vec![0]].concat()))
            }),
        ),
        case(
            "a record that says it is of four",
            Wrapper,
            carrying(|evidence| {
                let mut record = record(&evidence);
                record[0] = 0x84;
                Some(cbor(record))
            }),
        ),
        case(
            "a record of no length that is said",
            Wrapper,
            carrying(|evidence| {
                let mut record = record(&evidence);
                record[0] = 0x9F;
                Some(cbor([record, vec![0xFF]].concat()))
            }),
        ),
        case(
            "a head that is longer than it need be",
            Wrapper,
            carrying(|evidence| {
                let mut record = record(&evidence);
                record.pop();
                Some(cbor([record, vec![0x18, 4]].concat()))
            }),
        ),
        case(
            "a record that is cut",
            Wrapper,
            carrying(|evidence| {
                let record = record(&evidence);
                Some(cbor(record[..record.len() - 100].to_vec()))
            }),
        ),
        case(
            "evidence as text",
            Wrapper,
            carrying(|evidence| {
                let length = u16::try_from(evidence.len()).unwrap().to_be_bytes();
                let bytes = [&[0x59], length.as_slice()].concat();
                let text = [&[0x79], length.as_slice()].concat();
                Some(replaced(&evidence, &bytes, &text))
            }),
        ),
        case(
            "another type",
            WrappedType,
            carrying(|evidence| Some(replaced(&evidence, b"x.consort-", b"x.another-"))),
        ),
        case(
            "an indicator of attestation results",
            WrappedType,
            carrying(|evidence| {
                let mut record = record(&evidence);
                *record.last_mut().unwrap() = 8;
                Some(cbor(record))
            }),
        ),
    ]);
    cases.extend([
        case(
            "a second more than a day",
            Life,
            Draft::dated(Dates {
                not_after: good.not_after + second,
                ..good
            })
            .certificate(),
        ),
        case(
            "an end before the beginning",
            Life,
            Draft::dated(Dates {
                not_before: now,
                not_after: now - second,
            })
            .certificate(),
        ),
        case(
            "from the future",
            NotYetValid,
            Draft::dated(later(good, 2 * skew + second)).certificate(),
        ),
        case(
            "expired",
            Expired,
            Draft::dated(Dates {
                not_before: good.not_before - 2 * skew,
                not_after: now - skew - second,
            })
            .certificate(),
        ),
        case(
            "what is no evidence",
            Attested(Reason::EvidenceEncoding),
            carrying(|_| Some(extension(&[7; 300]))),
        ),
        case(
            "evidence that is longer than is read",
            Attested(Reason::EvidenceSize),
            carrying(|_| Some(extension(&vec![7; crate::MAX_EVIDENCE_BYTES + 1]))),
        ),
        case(
            "another role",
            not_the_statement,
            Draft {
                role: Role::Coordinator,
                ..Draft::new()
            }
            .certificate(),
        ),
        case(
            "an extension that was copied from another certificate",
            not_the_statement,
            Draft {
                own_key: false,
                ..Draft::new()
            }
            .certificate(),
        ),
        case(
            "a later end than the machine stated",
            not_the_statement,
            Draft {
                stated: Dates {
                    not_after: good.not_after - second,
                    ..good
                },
                ..Draft::new()
            }
            .certificate(),
        ),
        case(
            "an earlier beginning than the machine stated",
            not_the_statement,
            Draft {
                stated: Dates {
                    not_before: good.not_before + second,
                    ..good
                },
                ..Draft::new()
            }
            .certificate(),
        ),
        case(
            "a debugged machine",
            Attested(Reason::GuestDebug),
            Draft {
                edit: |report| report[0xA] |= 1 << 3,
                ..Draft::new()
            }
            .certificate(),
        ),
        case(
            "other software",
            Attested(Reason::Measurement),
            Draft {
                edit: |report| report[0x90] ^= 1,
                ..Draft::new()
            }
            .certificate(),
        ),
        case(
            "old firmware",
            Attested(Reason::TcbCurrent),
            Draft {
                edit: |report| report[0x38] -= 1,
                ..Draft::new()
            }
            .certificate(),
        ),
        Case {
            policy: world::policy_text(&format!("denied_chips = [\"{}\"]", CLINIC.chip_id)),
            ..case(
                "a machine that was shut out",
                Attested(Reason::ChipDenied),
                Draft::new().certificate(),
            )
        },
        Case {
            policy: world::policy_text("").replace(
                &hex::encode(world::vendor().root_hash().unwrap()),
                &hex::encode(other_vendor().root_hash().unwrap()),
            ),
            ..case(
                "a simulated machine where its root is not pinned",
                Attested(Reason::ChainUnknownRoot),
                Draft::new().certificate(),
            )
        },
        Case {
            now: world::start() + Duration::from_secs(8 * 365 * 24 * 60 * 60),
            ..case(
                "an endorsement that has ended",
                Attested(Reason::CertificateExpired),
                Draft::dated(dates(
                    world::start() + Duration::from_secs(8 * 365 * 24 * 60 * 60),
                ))
                .certificate(),
            )
        },
    ]);
    cases
}

/// A good certificate but for its length: another extension fills it.
fn oversize() -> CertificateDer<'static> {
    let key = TlsKey::generate().unwrap();
    let draft = Draft::new();
    let evidence = draft.evidence(&key);
    let fill = OctetString::new(vec![0; MAX_CERTIFICATE_BYTES]).unwrap();
    let fill =
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], fill.to_der().unwrap());
    key.certificate(draft.written, [extension(&evidence), fill])
        .unwrap()
}

fn twice() -> CertificateDer<'static> {
    let key = TlsKey::generate().unwrap();
    let draft = Draft::new();
    let evidence = draft.evidence(&key);
    key.certificate(draft.written, [extension(&evidence), extension(&evidence)])
        .unwrap()
}
