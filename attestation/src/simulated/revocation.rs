//! A simulated vendor's revocation lists.

use std::time::{Duration, SystemTime};

use rand_core::OsRng;
use rsa::RsaPrivateKey;
use rsa::pss::SigningKey;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use sha2::Sha384;
use x509_cert::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::der::Encode;
use x509_cert::der::asn1::BitString;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::DynSignatureAlgorithmIdentifier;
use x509_cert::time::Time;

use super::der::name;
use super::vendor::making;
use super::{SimulatedVendor, SimulationFault};

/// How long a simulated revocation list lasts.
pub(crate) const CRL_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl SimulatedVendor {
    /// A revocation list of the root's, DER, good for 30 days: it revokes the signing keys with these serial numbers.
    ///
    /// # Errors
    /// [`SimulationFault::Making`], also of a vendor that was loaded: the root's private key is never saved.
    pub fn revocation_list(
        &self,
        revoked: &[u32],
        now: SystemTime,
    ) -> Result<Vec<u8>, SimulationFault> {
        self.edited_revocation_list(revoked, now, |_| ())
    }

    /// A revocation list that is edited before it is signed, for cases that a sound verifier must refuse.
    pub(crate) fn edited_revocation_list(
        &self,
        revoked: &[u32],
        now: SystemTime,
        edit: impl FnOnce(&mut TbsCertList),
    ) -> Result<Vec<u8>, SimulationFault> {
        let signer = SigningKey::<Sha384>::new(self.root_key()?.clone());
        let algorithm = signer.signature_algorithm_identifier().map_err(making)?;
        let time = |time| Time::try_from(time).map_err(making);
        let entry = |serial: &u32| {
            Ok(RevokedCert {
                serial_number: SerialNumber::from(*serial),
                revocation_date: time(now)?,
                crl_entry_extensions: None,
            })
        };
        let entries: Vec<_> = revoked
            .iter()
            .map(entry)
            .collect::<Result<_, SimulationFault>>()?;
        let mut tbs = TbsCertList {
            version: Version::V2,
            signature: algorithm.clone(),
            issuer: name(&format!("ARK-{}", self.product())).map_err(making)?,
            this_update: time(now)?,
            next_update: Some(time(now + CRL_LIFETIME)?),
            revoked_certificates: (!entries.is_empty()).then_some(entries),
            crl_extensions: None,
        };
        edit(&mut tbs);
        let signature = signer.sign_with_rng(&mut OsRng, &tbs.to_der().map_err(making)?);
        let list = CertificateList {
            tbs_cert_list: tbs,
            signature_algorithm: algorithm,
            signature: BitString::from_bytes(&signature.to_bytes()).map_err(making)?,
        };
        list.to_der().map_err(making)
    }

    pub(super) fn root_key(&self) -> Result<&RsaPrivateKey, SimulationFault> {
        let unsaved = || making("the root's private key is not saved with a vendor");
        self.ark_key.as_ref().ok_or_else(unsaved)
    }
}
