//! Keys on P-256 and what they certify, as Intel's certificates have it (Intel, PCK certificate profile).

use std::time::{Duration, SystemTime};

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rand_core::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyUsagePurpose, PublicKeyData,
    SerialNumber, SignatureAlgorithm,
};
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{Encode, Tag};

use super::{faulty, making, named};
use crate::pem;
use crate::simulated::SimulationFault;

/// Intel's PCKs live seven years.
const LIFETIME: Duration = Duration::from_secs(7 * 365 * 24 * 60 * 60);

/// What an authority's key does.
pub(super) const SIGNS: &[KeyUsagePurpose] =
    &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

/// Intel's extension of a PCK.
pub(super) const SGX_EXTENSION: &[u64] = &[1, 2, 840, 113_741, 1, 13, 1];

/// A signing key, and its public key as certificates have it.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) secret: SigningKey,
    /// Uncompressed: 4, x, y.
    public: Vec<u8>,
}

impl Key {
    pub(crate) fn random() -> Self {
        let secret = SigningKey::random(&mut OsRng);
        let public = secret.verifying_key().to_encoded_point(false);
        Self {
            public: public.as_bytes().to_vec(),
            secret,
        }
    }

    /// x and y alone, as quotes have them.
    pub(crate) fn coordinates(&self) -> &[u8] {
        &self.public[1..]
    }

    /// R and S, 32 bytes each, as quotes and collateral have them.
    pub(crate) fn sign_raw(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.secret.sign(message);
        signature.to_bytes().to_vec()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: Signature = self.secret.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

/// A key and its certificate.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) key: Key,
    params: CertificateParams,
    der: Vec<u8>,
}

impl Certified {
    pub(super) fn root(now: SystemTime) -> Result<Self, SimulationFault> {
        let (key, mut params) = (Key::random(), params("Intel SGX Root CA", 1, now));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = SIGNS.to_vec();
        let der = params.self_signed(&key).map_err(faulty)?.der().to_vec();
        Ok(Self { key, params, der })
    }

    pub(crate) fn issue(
        &self,
        common_name: &str,
        serial: u64,
        now: SystemTime,
        edit: impl FnOnce(&mut CertificateParams),
    ) -> Result<Self, SimulationFault> {
        let (key, mut params) = (Key::random(), params(common_name, serial, now));
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer()).map_err(faulty)?;
        let der = certificate.der().to_vec();
        Ok(Self { key, params, der })
    }

    pub(super) fn issuer(&self) -> Issuer<'_, &Key> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn pem(&self) -> Result<String, SimulationFault> {
        encode_string(pem::CERTIFICATE, LineEnding::LF, &self.der).map_err(making)
    }

    pub(super) fn into_key(self) -> Key {
        self.key
    }
}

fn params(common_name: &str, serial: u64, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(common_name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = now.into();
    params.not_after = (now + LIFETIME).into();
    params
}

/// A platform, as its PCK tells of it.
pub(crate) struct Platform {
    pub(crate) ppid: Vec<u8>,
    pub(crate) pce_id: [u8; 2],
    pub(crate) fmspc: [u8; 6],
    /// Whether it may be extended, has its keys cached, runs hyper-threads: where it says.
    pub(crate) configuration: Option<[bool; 3]>,
}

/// What a PCK says of its platform: PPID, security versions of processor and provisioning enclave, the family, and the configuration.
pub(crate) fn sgx_extension(platform: &Platform) -> Result<Vec<u8>, SimulationFault> {
    let octets = |bytes: &[u8]| OctetStringRef::new(bytes)?.to_der();
    let entry = |last: &str, value: Vec<u8>| -> Result<Vec<u8>, SimulationFault> {
        let oid = format!("1.2.840.113741.1.13.1.{last}");
        let oid = ObjectIdentifier::new(&oid).map_err(making)?;
        let oid = oid.to_der().map_err(making)?;
        Ok(constructed(&[oid, value].concat()))
    };
    let mut tcb = Vec::new();
    for component in 1..=16 {
        let level = CPU_SVN[component - 1].to_der().map_err(making)?;
        tcb.extend(entry(&format!("2.{component}"), level)?);
    }
    tcb.extend(entry("2.17", PCE_SVN.to_der().map_err(making)?)?);
    tcb.extend(entry("2.18", octets(&CPU_SVN).map_err(making)?)?);
    let mut entries = vec![
        entry("1", octets(&platform.ppid).map_err(making)?)?,
        entry("2", constructed(&tcb))?,
        entry("3", octets(&platform.pce_id).map_err(making)?)?,
        entry("4", octets(&platform.fmspc).map_err(making)?)?,
        entry("5", vec![u8::from(Tag::Enumerated), 1, 0])?,
    ];
    if let Some(flags) = platform.configuration {
        let mut configuration = Vec::new();
        for (place, flag) in flags.iter().enumerate() {
            let flag = flag.to_der().map_err(making)?;
            configuration.extend(entry(&format!("7.{}", place + 1), flag)?);
        }
        entries.push(entry("7", constructed(&configuration))?);
    }
    Ok(constructed(&entries.concat()))
}

/// The platform's levels.
pub(super) const CPU_SVN: [u8; 16] = [3; 16];
pub(super) const PCE_SVN: u16 = 13;

/// A SEQUENCE of less than 64 KiB.
fn constructed(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("an extension is short");
    let [high, low] = length.to_be_bytes();
    let header = match (high, low) {
        (0, low @ ..0x80) => vec![0x30, low],
        (0, low) => vec![0x30, 0x81, low],
        (high, low) => vec![0x30, 0x82, high, low],
    };
    [header, content.to_vec()].concat()
}
