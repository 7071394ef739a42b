//! The files that `consort attest` reads.

use std::path::Path;

use consort_attestation::{Evidence, Explainer, Policy, REPORT_BYTES, TrustStore, certificate_der};

use crate::failure::{Failure, at};

/// What a file holds.
pub(super) enum Read {
    /// What is taken for evidence, as nodes exchange it or put together from two files; whether it is any, whoever judges it says.
    Evidence(Vec<u8>),
    /// A report alone.
    Report(Box<[u8; REPORT_BYTES]>),
}

/// Reads evidence as nodes exchange it, or a report, with its certificate if one is given.
pub(super) fn evidence_or_report(file: &Path, vcek: Option<&Path>) -> Result<Read, Failure> {
    let bytes = std::fs::read(file).map_err(at(file))?;
    // A quote as the kernel hands it out has zeros behind it.
    let bytes = Evidence::of_quote(&bytes).map_or(bytes, |quote| quote.to_bytes());
    let Ok(report) = <[u8; REPORT_BYTES]>::try_from(bytes.as_slice()) else {
        if vcek.is_some() {
            let what = format!(
                "{} is no report of 1184 bytes, so --vcek says nothing",
                file.display()
            );
            return Err(Failure::usage("attest_not_a_report", what));
        }
        return Ok(Read::Evidence(bytes));
    };
    let Some(vcek) = vcek else {
        return Ok(Read::Report(Box::new(report)));
    };
    let der = certificate_der(&std::fs::read(vcek).map_err(at(vcek))?).ok_or_else(|| {
        let what = format!("{} is neither DER nor one PEM certificate", vcek.display());
        Failure::usage("attest_certificate_unusable", what)
    })?;
    let evidence = Evidence::new(report, der)
        .map_err(|reason| Failure::refused(reason.code(), reason.meaning()))?;
    Ok(Read::Evidence(evidence.to_bytes()))
}

/// Reads what is taken for a report with its certificate.
pub(super) fn evidence(file: &Path, vcek: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match evidence_or_report(file, vcek)? {
        Read::Evidence(bytes) => Ok(bytes),
        Read::Report(_) => Err(Failure::usage(
            "attest_certificate_missing",
            "a report alone cannot be judged: give the certificate of its key with --vcek FILE",
        )),
    }
}

/// Reads every bundle of roots and all collateral of a folder, then every revocation list; which is which, their content says. A file that is neither is
/// an error: a list that was passed over would be a revocation that nobody sees.
pub(super) fn roots(dir: &Path) -> Result<TrustStore, Failure> {
    let mut files = std::fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(at(dir))?;
    files.sort();
    let unusable = |file: &Path, error: consort_attestation::TrustError| {
        Failure::usage(error.code(), format!("{}: {error}", file.display()))
    };
    let (mut store, mut lists) = (TrustStore::new(), Vec::new());
    for file in &files {
        let content = std::fs::read(file).map_err(at(file))?;
        let holds = |label: &[u8]| content.windows(label.len()).any(|bytes| bytes == label);
        if content.trim_ascii_start().first() == Some(&JSON_OBJECT) {
            store
                .add_collateral(&content)
                .map_err(|error| unusable(file, error))?;
        } else if holds(b"-----BEGIN CERTIFICATE-----") {
            store
                .add_pem_bundle(&content)
                .map_err(|error| unusable(file, error))?;
        } else if holds(b"-----BEGIN X509 CRL-----") || content.first() == Some(&DER_SEQUENCE) {
            lists.push((file, content));
        } else {
            let what = format!(
                "{} is neither a PEM bundle of roots nor a revocation list nor Intel's collateral; keep nothing else in the folder of roots",
                file.display()
            );
            return Err(Failure::usage("attest_roots_file", what));
        }
    }
    for (file, list) in lists {
        store
            .add_crl(&list)
            .map_err(|error| unusable(file, error))?;
    }
    Ok(store)
}

/// With which DER begins a certificate or a revocation list.
const DER_SEQUENCE: u8 = 0x30;

/// With which Intel's collateral begins.
const JSON_OBJECT: u8 = b'{';

/// Who explains evidence: by a policy, or, without one, by what can be asked of any evidence under those of AMD's and Intel's roots
/// that were given.
pub(super) fn explainer(file: Option<&Path>, store: &TrustStore) -> Result<Explainer, Failure> {
    let Some(file) = file else {
        return Explainer::vendors_roots_alone(store).ok_or_else(|| {
            let what = "none of AMD's roots nor Intel's is in the folder of roots; give AMD's bundles or Intel's collateral, or a policy that pins others";
            Failure::usage("attest_roots_missing", what)
        });
    };
    let policy = Policy::from_toml(&std::fs::read_to_string(file).map_err(at(file))?)
        .map_err(|error| Failure::usage(error.code(), format!("{}: {error}", file.display())))?;
    Explainer::new(policy, store).map_err(|error| Failure::usage(error.code(), error))
}
