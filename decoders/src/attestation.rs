//! Evidence, the judgement on it, policies and the vendors' certificates.

use crate::{Decoder, Outcome, code, text};
use consort_attestation::attester::CertificateTable;
use consort_attestation::channel::{PeerCertificate, message_of, unwrap_evidence, wrap_evidence};
use consort_attestation::measure::LaunchImage;
use consort_attestation::simulated::{SimulatedMachine, TdDeclaration};
use consort_attestation::{
    ChipId, Claims, Evidence, Expected, HostData, MachineBinding, Measurement, Policy, ReportData,
    Tcb, TrustStore, Verifier,
};
use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::NamedTempFile;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "evidence",
        decode: evidence,
    },
    Decoder {
        name: "evidence-judged",
        decode: evidence_judged,
    },
    Decoder {
        name: "attestation-policy",
        decode: policy,
    },
    Decoder {
        name: "trust-bundle",
        decode: trust_bundle,
    },
    Decoder {
        name: "revocation-list",
        decode: revocation_list,
    },
    Decoder {
        name: "tdx-quote",
        decode: quote_judged,
    },
    Decoder {
        name: "tdx-collateral",
        decode: collateral,
    },
    Decoder {
        name: "attestation-report",
        decode: report,
    },
    Decoder {
        name: "certificate-table",
        decode: certificate_table,
    },
    Decoder {
        name: "firmware",
        decode: firmware,
    },
    Decoder {
        name: "channel-message",
        decode: channel_message,
    },
    Decoder {
        name: "channel-certificate",
        decode: channel_certificate,
    },
    Decoder {
        name: "evidence-wrapper",
        decode: evidence_wrapper,
    },
];

/// The simulated machine whose evidence the corpus holds.
pub const MACHINE: SimulatedMachine = SimulatedMachine {
    chip_id: ChipId::new([0xC1; 64]),
    measurement: Measurement::new([0x4D; 48]),
    host_data: HostData::new([0x4F; 32]),
    tcb: Tcb {
        fmc: None,
        bootloader: 10,
        tee: 1,
        snp: 25,
        microcode: 84,
    },
};

/// The simulated TD whose quote the corpus holds.
pub const TD: TdDeclaration = TdDeclaration {
    platform: [0x7D; 16],
    mr_td: Measurement::new([0x4D; 48]),
    host_data: HostData::new([0x4F; 32]),
};

fn evidence(bytes: &[u8]) -> Outcome {
    let evidence = Evidence::from_bytes(bytes).map_err(code!())?;
    assert_eq!(evidence.to_bytes(), bytes);
    Ok(())
}

/// The corpus' simulated vendor is the one trusted root.
static STORE: LazyLock<TrustStore> = LazyLock::new(|| {
    let mut store = TrustStore::new();
    store
        .add_pem_bundle(include_bytes!("../corpus/trust-bundle/valid"))
        .expect("the corpus' bundle is valid");
    store
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let policy = Policy::from_toml(include_str!("../corpus/attestation-policy/valid"))
        .expect("the corpus' policy is valid");
    Verifier::new(policy, &STORE).expect("the policy names the bundle's root")
});

/// The corpus' simulated Intel is the one trusted root.
static TDX_VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let mut store = TrustStore::new();
    store
        .add_collateral(include_bytes!("../corpus/tdx-collateral/valid"))
        .expect("the corpus' collateral is valid");
    let root: String = store.root_hashes()[0]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let policy = format!(
        "[trust]\nroots = []\ndangerous_simulated_roots = [\"{root}\"]\n[tdx]\nquote_versions = [4, 5]\nmr_td = [\"{}\"]\n",
        TD.mr_td
    );
    let policy = Policy::from_toml(&policy).expect("the policy is whole");
    Verifier::new(policy, &store).expect("the policy names the collateral's root")
});

/// Everything that the verifier reads: report, certificate, chain. The explanation, which looks at more of bad evidence, comes
/// to the same verdict.
fn evidence_judged(bytes: &[u8]) -> Outcome {
    let evidence = Evidence::from_bytes(bytes).map_err(code!())?;
    judged_alike(&VERIFIER, &MACHINE.binding(), &evidence)
}

/// A quote of Intel TDX, and all that it brings.
fn quote_judged(bytes: &[u8]) -> Outcome {
    let evidence = Evidence::of_quote(bytes).map_err(code!())?;
    // Nobody looks at fields of what does not read.
    let _fields = consort_attestation::fields::of_evidence(&evidence);
    judged_alike(&TDX_VERIFIER, &TD.binding(), &evidence)
}

fn judged_alike(verifier: &Verifier, machine: &MachineBinding, evidence: &Evidence) -> Outcome {
    let expected = Expected {
        machine,
        report_data: ReportData::new([0x5A; 64]),
    };
    // A day after the simulated certificates begin: 2026-01-02.
    let now = UNIX_EPOCH + Duration::from_secs(1_767_312_000);
    let judged = verifier.verify(evidence, &expected, now);
    let explained = verifier.explain(&evidence.to_bytes(), &(&expected).into(), now);
    let unrefused = explained.outcome.map(|it| it.simulated);
    assert_eq!(
        judged.as_ref().map(Claims::simulated),
        unrefused.as_ref().copied()
    );
    judged.map(drop).map_err(code!())
}

fn policy(bytes: &[u8]) -> Outcome {
    Policy::from_toml(text(bytes)?).map(drop).map_err(code!())
}

fn collateral(bytes: &[u8]) -> Outcome {
    TrustStore::new().add_collateral(bytes).map_err(code!())
}

fn trust_bundle(bytes: &[u8]) -> Outcome {
    TrustStore::new().add_pem_bundle(bytes).map_err(code!())
}

/// The certificates that a host hands out beside a report.
fn certificate_table(bytes: &[u8]) -> Outcome {
    CertificateTable::parse(bytes).map(drop).map_err(code!())
}

fn revocation_list(bytes: &[u8]) -> Outcome {
    STORE.clone().add_crl(bytes).map_err(code!())
}

/// A report as people are shown it, field by field.
fn report(bytes: &[u8]) -> Outcome {
    let report = bytes.try_into().map_err(|_| "report_size".to_owned())?;
    consort_attestation::fields::of_report(report)
        .map(drop)
        .map_err(code!())
}

thread_local! {
    /// The image is measured from a file.
    static FIRMWARE: NamedTempFile = NamedTempFile::new().expect("the system has a folder for temporary files");
}

/// An image as `consort attest measure` measures it, with a kernel, which reads one more page of its metadata.
fn firmware(bytes: &[u8]) -> Outcome {
    FIRMWARE.with(|file| {
        std::fs::write(file.path(), bytes).expect("a temporary file can be written");
        let image = LaunchImage {
            firmware: file.path().to_owned(),
            kernel: Some("/dev/null".into()),
            initrd: None,
            append: None,
            vcpus: 1,
            vcpu_type: "EPYC-v4".to_owned(),
            guest_features: 1,
        };
        image.digest().map(drop).map_err(code!())
    })
}

/// What comes in a frame before anything vouches for the peer.
fn channel_message(bytes: &[u8]) -> Outcome {
    let (_, again) = message_of(bytes).ok_or_else(|| "channel_malformed".to_owned())?;
    assert_eq!(again, bytes);
    Ok(())
}

/// What TLS hands on before a peer has shown its key.
fn channel_certificate(bytes: &[u8]) -> Outcome {
    let certificate = PeerCertificate::parse(bytes).map_err(code!())?;
    assert!(bytes.len() > certificate.spki().len() + certificate.evidence_bytes().len());
    Ok(())
}

/// A certificate's extension: it has one form.
fn evidence_wrapper(bytes: &[u8]) -> Outcome {
    let evidence = unwrap_evidence(bytes).map_err(code!())?;
    assert_eq!(wrap_evidence(evidence), bytes);
    Ok(())
}
