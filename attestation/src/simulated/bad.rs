//! What a vendor signs in tests alone: certificates that were edited first, a VLEK.

use std::time::SystemTime;

use p384::pkcs8::EncodePublicKey as _;
use rand_core::OsRng;
use rsa::RsaPrivateKey;
use rsa::pss::SigningKey;
use rsa::signature::{RandomizedSigner, SignatureEncoding};
use sha2::Sha384;
use x509_cert::der::asn1::BitString;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Decode, Encode, EncodePem};
use x509_cert::{Certificate, TbsCertificate};

use super::der::{Subject, authority_extensions, issue, vlek_extensions};
use super::vendor::{making, spki};
use super::{SimulatedAttester, SimulatedMachine, SimulatedVendor, SimulationFault};
use crate::machine::ChipId;

/// The serial numbers of a simulated vendor's signing keys.
pub(crate) const ASK_SERIAL: u32 = 2;
pub(crate) const ASVK_SERIAL: u32 = 3;

/// A cloud provider's key, its own signing key's certificate, and the key that signed it.
pub(crate) struct SimulatedProvider {
    asvk_key: RsaPrivateKey,
    /// ASVK and ARK, as AMD bundles them.
    pub(crate) roots_pem: String,
}

impl SimulatedVendor {
    /// Makes a machine whose VCEK was edited before it was signed, for cases that a sound verifier must refuse.
    pub(crate) fn attester_with_edited_vcek(
        &self,
        machine: SimulatedMachine,
        now: SystemTime,
        edit: impl FnOnce(&mut TbsCertificate),
    ) -> Result<SimulatedAttester, SimulationFault> {
        let mut attester = self.attester(machine, now)?;
        let vcek = edited(attester.vcek_der(), &self.ask_key, edit)?;
        attester.set_vcek_der(vcek);
        Ok(attester)
    }

    /// The vendor's bundle of roots, with an ARK or ASK that was edited and signed again.
    pub(crate) fn edited_roots_pem(
        &self,
        index: usize,
        edit: impl FnOnce(&mut TbsCertificate),
    ) -> Result<String, SimulationFault> {
        let blocks = crate::pem::blocks(self.roots_pem()?.as_bytes()).map_err(|_| making("pem"))?;
        let mut edit = Some(edit);
        let mut text = String::new();
        for (at, block) in blocks.iter().enumerate() {
            let der = match edit.take_if(|_| at == index) {
                Some(edit) => edited(&block.der, self.root_key()?, edit)?,
                None => block.der.clone(),
            };
            let certificate = Certificate::from_der(&der).map_err(making)?;
            text += &certificate.to_pem(LineEnding::LF).map_err(making)?;
        }
        Ok(text)
    }

    /// Makes a cloud provider's signing key.
    pub(crate) fn provider(&self, now: SystemTime) -> Result<SimulatedProvider, SimulationFault> {
        let asvk_key = RsaPrivateKey::new(&mut OsRng, 2048).map_err(making)?;
        let public = asvk_key.to_public_key().to_public_key_der();
        let subject = Subject {
            issuer: &format!("ARK-{}", self.product),
            common_name: &format!("SEV-VLEK-{}", self.product),
            serial: ASVK_SERIAL,
            key: spki(public.map_err(making)?.as_bytes())?,
            extensions: authority_extensions(false).map_err(making)?,
        };
        let signer = SigningKey::new(self.root_key()?.clone());
        let asvk = issue(subject, &signer, now).map_err(making)?;
        let pem = |certificate: &Certificate| certificate.to_pem(LineEnding::LF).map_err(making);
        Ok(SimulatedProvider {
            roots_pem: pem(&asvk)? + &pem(&self.ark)?,
            asvk_key,
        })
    }

    /// A machine of a cloud provider's, whose reports its VLEK signs. It hides its chip's identifier, as real ones do.
    pub(crate) fn vlek_attester(
        &self,
        provider: &SimulatedProvider,
        machine: SimulatedMachine,
        csp_id: &str,
        now: SystemTime,
    ) -> Result<SimulatedAttester, SimulationFault> {
        let key = p384::ecdsa::SigningKey::random(&mut OsRng);
        let public = key.verifying_key().to_public_key_der();
        let subject = Subject {
            issuer: &format!("SEV-VLEK-{}", self.product),
            common_name: "SEV-VLEK",
            serial: 0,
            key: spki(public.map_err(making)?.as_bytes())?,
            extensions: vlek_extensions(self.product, &machine.tcb, csp_id).map_err(making)?,
        };
        let signer = SigningKey::new(provider.asvk_key.clone());
        let vlek = issue(subject, &signer, now).map_err(making)?;
        let machine = SimulatedMachine {
            chip_id: ChipId::HIDDEN,
            ..machine
        };
        let der = vlek.to_der().map_err(making)?;
        Ok(SimulatedAttester::new(self.product, machine, key, der).signing_as_vlek())
    }
}

/// A certificate that was edited and signed again.
fn edited(
    der: &[u8],
    key: &RsaPrivateKey,
    edit: impl FnOnce(&mut TbsCertificate),
) -> Result<Vec<u8>, SimulationFault> {
    let mut certificate = Certificate::from_der(der).map_err(making)?;
    edit(&mut certificate.tbs_certificate);
    let signed = certificate.tbs_certificate.to_der().map_err(making)?;
    let signature = SigningKey::<Sha384>::new(key.clone()).sign_with_rng(&mut OsRng, &signed);
    certificate.signature = BitString::from_bytes(&signature.to_bytes()).map_err(making)?;
    certificate.to_der().map_err(making)
}
