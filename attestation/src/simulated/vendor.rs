//! The vendor: a self-made ARK that signed an ASK, which signs the VCEKs of simulated machines.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use p384::pkcs8::EncodePublicKey as _;
use rand_core::OsRng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::pss::SigningKey;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode, Encode, EncodePem};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::der::{Subject, authority_extensions, issue, vcek_extensions};
use super::machine::{SimulatedAttester, SimulatedMachine};
use crate::certificate::{name_value, oid, parse_strict};
use crate::machine::Product;
use crate::pem;
use crate::trust::{TrustError, TrustStore};

/// The file of a vendor's directory that verifiers are given: ASK and ARK, PEM, as AMD bundles them.
pub const ROOTS_FILE: &str = "roots.pem";

/// The file of a vendor's directory that signs machines: the ASK's private key, PKCS#8 PEM, readable by its owner alone.
pub const SIGNING_KEY_FILE: &str = "signing-key.pem";

/// AMD signs with 4096 bits. A simulated root proves nothing either way, and 2048 are made in a fifth of a second.
const RSA_BITS: usize = 2048;

/// A simulated vendor of one product.
pub struct SimulatedVendor {
    pub(super) product: Product,
    pub(super) ark: Certificate,
    ask: Certificate,
    pub(super) ask_key: RsaPrivateKey,
    /// Signs revocation lists as long as the vendor that was made lives. It is never saved.
    pub(super) ark_key: Option<RsaPrivateKey>,
}

impl SimulatedVendor {
    /// Makes a new root and signing key. The root's private key is not saved: it has nothing else to sign but revocation lists.
    ///
    /// # Errors
    /// [`SimulationFault::Making`].
    pub fn create(product: Product, now: SystemTime) -> Result<Self, SimulationFault> {
        let ark_key = RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(making)?;
        let ask_key = RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(making)?;
        let (ark_name, ask_name) = (format!("ARK-{product}"), format!("SEV-{product}"));
        let signer = SigningKey::new(ark_key.clone());
        let certificate = |common_name: &str, serial, key: &RsaPrivateKey| {
            let key = spki(
                key.to_public_key()
                    .to_public_key_der()
                    .map_err(making)?
                    .as_bytes(),
            )?;
            let subject = Subject {
                issuer: &ark_name,
                common_name,
                serial,
                key,
                extensions: authority_extensions(common_name == ark_name).map_err(making)?,
            };
            issue(subject, &signer, now).map_err(making)
        };
        let ark = certificate(&ark_name, 1, &ark_key)?;
        let ask = certificate(&ask_name, 2, &ask_key)?;
        Ok(Self {
            product,
            ark,
            ask,
            ask_key,
            ark_key: Some(ark_key),
        })
    }

    /// Reads a vendor from the directory it was saved in.
    ///
    /// # Errors
    /// [`SimulationFault::Reading`] or [`SimulationFault::Malformed`].
    pub fn load(directory: &Path) -> Result<Self, SimulationFault> {
        let read =
            |name| fs::read_to_string(directory.join(name)).map_err(SimulationFault::Reading);
        let malformed = || SimulationFault::Malformed(ROOTS_FILE);
        let blocks = pem::blocks(read(ROOTS_FILE)?.as_bytes()).map_err(|_| malformed())?;
        let certificates = blocks
            .iter()
            .map(|block| parse_strict(&block.der).map_err(|_| malformed()))
            .collect::<Result<Vec<_>, _>>()?;
        let [ask, ark] = <[Certificate; 2]>::try_from(certificates)
            .map_err(|_| SimulationFault::Malformed(ROOTS_FILE))?;
        let product = name_value(&ask.tbs_certificate.subject, oid::COMMON_NAME)
            .and_then(|name| Product::from_vcek_name(name.strip_prefix("SEV-")?))
            .ok_or(SimulationFault::Malformed(ROOTS_FILE))?;
        let ask_key = RsaPrivateKey::from_pkcs8_pem(&read(SIGNING_KEY_FILE)?);
        let ask_key = ask_key.map_err(|_| SimulationFault::Malformed(SIGNING_KEY_FILE))?;
        Ok(Self {
            product,
            ark,
            ask,
            ask_key,
            ark_key: None,
        })
    }

    /// Writes [`ROOTS_FILE`] and [`SIGNING_KEY_FILE`] into a directory, which is made if need be. Files already there are
    /// never overwritten: machines may stand under them.
    ///
    /// # Errors
    /// [`SimulationFault::Writing`].
    pub fn save(&self, directory: &Path) -> Result<(), SimulationFault> {
        fs::create_dir_all(directory).map_err(SimulationFault::Writing)?;
        let key = self.ask_key.to_pkcs8_pem(LineEnding::LF).map_err(making)?;
        write_new(&directory.join(SIGNING_KEY_FILE), key.as_bytes(), 0o600)?;
        write_new(
            &directory.join(ROOTS_FILE),
            self.roots_pem()?.as_bytes(),
            0o644,
        )
    }

    /// ASK and ARK as a PEM bundle, for [`TrustStore::add_pem_bundle`].
    ///
    /// # Errors
    /// [`SimulationFault::Making`].
    pub fn roots_pem(&self) -> Result<String, SimulationFault> {
        let pem = |certificate: &Certificate| certificate.to_pem(LineEnding::LF).map_err(making);
        Ok(pem(&self.ask)? + &pem(&self.ark)?)
    }

    /// SHA-256 of the root's DER: what a policy names under `trust.dangerous_simulated_roots`.
    ///
    /// # Errors
    /// [`SimulationFault::Making`].
    pub fn root_hash(&self) -> Result<[u8; 32], SimulationFault> {
        Ok(Sha256::digest(self.ark.to_der().map_err(making)?).into())
    }

    /// A trust store that holds this vendor's root alone.
    ///
    /// # Errors
    /// [`SimulationFault::Making`] or [`SimulationFault::Trust`].
    pub fn trust_store(&self) -> Result<TrustStore, SimulationFault> {
        let mut store = TrustStore::new();
        store.add_pem_bundle(self.roots_pem()?.as_bytes())?;
        Ok(store)
    }

    /// The product this vendor makes.
    pub fn product(&self) -> Product {
        self.product
    }

    /// Makes a machine: a fresh VCEK for its chip at its firmware level, signed by this vendor.
    ///
    /// # Errors
    /// [`SimulationFault::Making`].
    pub fn attester(
        &self,
        machine: SimulatedMachine,
        now: SystemTime,
    ) -> Result<SimulatedAttester, SimulationFault> {
        let key = p384::ecdsa::SigningKey::random(&mut OsRng);
        let hardware_id = &machine.chip_id.as_bytes()[..self.product.chip_id_bytes()];
        let subject = Subject {
            issuer: &format!("SEV-{}", self.product),
            common_name: "SEV-VCEK",
            serial: 0,
            key: spki(
                key.verifying_key()
                    .to_public_key_der()
                    .map_err(making)?
                    .as_bytes(),
            )?,
            extensions: vcek_extensions(self.product, &machine.tcb, hardware_id).map_err(making)?,
        };
        let vcek = self.sign(subject, now)?;
        Ok(SimulatedAttester::new(
            self.product,
            machine,
            key,
            vcek.to_der().map_err(making)?,
        ))
    }

    fn sign(&self, subject: Subject<'_>, now: SystemTime) -> Result<Certificate, SimulationFault> {
        issue(subject, &SigningKey::new(self.ask_key.clone()), now).map_err(making)
    }
}

/// A simulated vendor could not be made, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SimulationFault {
    /// A key or certificate could not be made.
    #[error("a simulated key or certificate could not be made: {0}")]
    Making(String),
    /// The directory could not be written. Files that are already there are left alone.
    #[error("the simulated vendor could not be saved")]
    Writing(#[source] std::io::Error),
    /// The directory could not be read.
    #[error("the simulated vendor could not be read")]
    Reading(#[source] std::io::Error),
    /// A file of the directory does not hold what it should.
    #[error("the simulated vendor's {0} does not hold what it should")]
    Malformed(&'static str),
    /// Its roots do not make a trust store.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl SimulationFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Making(_) => "simulated.making",
            Self::Writing(_) => "simulated.writing",
            Self::Reading(_) => "simulated.reading",
            Self::Malformed(_) => "simulated.malformed",
            Self::Trust(error) => error.code(),
        }
    }
}

pub(super) fn spki(der: &[u8]) -> Result<SubjectPublicKeyInfoOwned, SimulationFault> {
    SubjectPublicKeyInfoOwned::from_der(der).map_err(making)
}

pub(super) fn making(error: impl std::fmt::Display) -> SimulationFault {
    SimulationFault::Making(error.to_string())
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SimulationFault> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(SimulationFault::Writing)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(SimulationFault::Writing)
}
