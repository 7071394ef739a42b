//! The own certificate: the process's TLS key, and evidence that a machine holds it, made anew before it ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::Error;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::Mutex;

use super::certificate::{CMW, MAX_CERTIFICATE_LIFE};
use super::cmw;
use super::error::{ChannelError, CorrelationId};
use super::in_force::ManifestId;
use crate::attester::{Attester, AttesterFault};
use crate::certificate::Dates;
use crate::statements::{self, ReportData, Role};

/// A certificate is dated back by as much as clocks commonly differ.
const BACKDATED: Duration = Duration::from_secs(300);

/// After half of its life a certificate is made anew: a peer whose clock is hours off, or a machine that gives no evidence for hours, does
/// not stop connections.
const RENEWED_AFTER: Duration = MAX_CERTIFICATE_LIFE
    .checked_div(2)
    .expect("two is not zero");

/// A certificate that a peer refused is made anew, but no sooner than this after it was made: the machine is asked no oftener because somebody
/// refuses.
const DOUBTED_AFTER: Duration = Duration::from_secs(60);

/// The process's TLS key, ECDSA P-256.
pub(super) struct TlsKey(KeyPair);

impl TlsKey {
    pub(super) fn generate() -> Result<Self, ChannelError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        key.map(Self).map_err(no_key)
    }

    /// The key, as DER SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> Vec<u8> {
        rcgen::PublicKeyData::subject_public_key_info(&self.0)
    }

    /// A certificate for this key: these dates, and these extensions.
    pub(super) fn certificate(
        &self,
        dates: Dates,
        extensions: impl IntoIterator<Item = CustomExtension>,
    ) -> Result<CertificateDer<'static>, ChannelError> {
        let mut params = CertificateParams::default();
        params.not_before = dates.not_before.into();
        params.not_after = dates.not_after.into();
        params.custom_extensions.extend(extensions);
        let certificate = params.self_signed(&self.0).map_err(no_key)?;
        Ok(certificate.der().clone())
    }

    /// What TLS signs with.
    pub(super) fn certified(
        &self,
        certificate: CertificateDer<'static>,
    ) -> Result<Arc<CertifiedKey>, ChannelError> {
        let key = PrivateKeyDer::try_from(self.0.serialize_der()).map_err(no_key)?;
        let key = any_ecdsa_type(&key)?;
        Ok(Arc::new(CertifiedKey::new(vec![certificate], key)))
    }
}

/// The newest certificate of one side of a channel.
pub(super) struct OwnCertificate {
    role: Role,
    attester: Arc<dyn Attester>,
    key: TlsKey,
    newest: Mutex<Option<Arc<Issued>>>,
}

/// A certificate as it was made.
pub(super) struct Issued {
    pub(super) certified: Arc<CertifiedKey>,
    /// The own key, as DER SubjectPublicKeyInfo.
    pub(super) spki: Vec<u8>,
    /// Under which a peer records what it thinks of it.
    pub(super) correlation: CorrelationId,
    dates: Dates,
    /// The manifest that was in force: what a new one asks of evidence, old evidence may not say.
    manifest: ManifestId,
}

impl Issued {
    fn is_fresh(&self, now: SystemTime, manifest: ManifestId) -> bool {
        let begun = self.dates.not_before <= now;
        begun && now < self.dates.not_before + RENEWED_AFTER && manifest == self.manifest
    }
}

impl OwnCertificate {
    pub(super) fn new(role: Role, attester: Arc<dyn Attester>) -> Result<Self, ChannelError> {
        Ok(Self {
            role,
            attester,
            key: TlsKey::generate()?,
            newest: Mutex::new(None),
        })
    }

    /// The certificate that a connection opens with: the newest, or one that is made now, for which others wait.
    pub(super) async fn newest(
        &self,
        now: SystemTime,
        manifest: ManifestId,
    ) -> Result<Arc<Issued>, ChannelError> {
        let mut newest = self.newest.lock().await;
        if let Some(issued) = newest.as_ref().filter(|it| it.is_fresh(now, manifest)) {
            return Ok(Arc::clone(issued));
        }
        let issued = Arc::new(self.issue(now, manifest).await?);
        *newest = Some(Arc::clone(&issued));
        Ok(issued)
    }

    /// A peer refused this certificate: the next connection opens with another, unless it is a minute old at most.
    pub(super) async fn doubt(&self, refused: &Arc<Issued>, now: SystemTime) {
        let made = refused.dates.not_before + BACKDATED;
        let mut newest = self.newest.lock().await;
        if newest.as_ref().is_some_and(|it| Arc::ptr_eq(it, refused)) && now >= made + DOUBTED_AFTER
        {
            *newest = None;
        }
    }

    async fn issue(&self, now: SystemTime, manifest: ManifestId) -> Result<Issued, ChannelError> {
        let spki = self.key.spki();
        let dates = dates(now);
        let statement =
            statements::certificate(self.role, &spki, dates.not_before, dates.not_after);
        let evidence = attest(&self.attester, statement.report_data()).await?;
        let certificate = self.key.certificate(dates, [extension(&evidence)])?;
        Ok(Issued {
            correlation: CorrelationId::of_certificate(&certificate),
            certified: self.key.certified(certificate)?,
            spki,
            dates,
            manifest,
        })
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> &TlsKey {
        &self.key
    }
}

/// Evidence's bytes. The attester may block, so it is asked on a thread of its own.
pub(super) async fn attest(
    attester: &Arc<dyn Attester>,
    report_data: ReportData,
) -> Result<Vec<u8>, ChannelError> {
    let attester = Arc::clone(attester);
    let attested = tokio::task::spawn_blocking(move || attester.attest(report_data)).await;
    let evidence = attested.map_err(|_| AttesterFault::new("the attester panicked"))??;
    Ok(evidence.to_bytes())
}

/// The extension that carries evidence, not critical.
pub(super) fn extension(evidence: &[u8]) -> CustomExtension {
    let arcs: Vec<u64> = CMW.arcs().map(u64::from).collect();
    CustomExtension::from_oid_content(&arcs, cmw::wrap(evidence))
}

/// From a little before now, for as long as a certificate may be valid, in whole seconds as certificates have them.
pub(super) fn dates(now: SystemTime) -> Dates {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let not_before = UNIX_EPOCH + Duration::from_secs(seconds).saturating_sub(BACKDATED);
    Dates {
        not_before,
        not_after: not_before + MAX_CERTIFICATE_LIFE,
    }
}

fn no_key(error: impl std::fmt::Display) -> ChannelError {
    ChannelError::Tls(Error::General(format!(
        "no TLS key or certificate could be made: {error}"
    )))
}
