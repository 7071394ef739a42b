//! Revocation lists: an ARK says which of the keys it certified must not be believed any more (RFC 5280, section 5).

use std::collections::BTreeSet;
use std::time::SystemTime;

use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extensions;
use x509_cert::name::Name;

use crate::snp;
use crate::trust::TrustError;

/// A revocation list whose form was found good. Who signed it is [`RevocationList::is_signed_by`]'s matter.
#[derive(Clone)]
pub(crate) struct RevocationList {
    list: CertificateList,
    /// Serial numbers, as their DER has them.
    revoked: BTreeSet<Vec<u8>>,
    pub(crate) this_update: SystemTime,
    pub(crate) next_update: SystemTime,
}

impl RevocationList {
    /// Reads a list that is exactly its own DER, names its successor's date, and holds nothing critical that is not
    /// understood: a list for a part of the certificates only, or changes to another list, say so in a critical extension
    /// (sections 5.2.4 and 5.2.5).
    pub(crate) fn parse(der: &[u8]) -> Result<Self, TrustError> {
        let list = CertificateList::from_der(der).map_err(|_| TrustError::CrlMalformed)?;
        let again = list.to_der().map_err(|_| TrustError::CrlMalformed)?;
        let tbs = &list.tbs_cert_list;
        let whole_bytes = list.signature.unused_bits() == 0;
        if again != der || list.signature_algorithm != tbs.signature || !whole_bytes {
            return Err(TrustError::CrlMalformed);
        }
        let entries = tbs.revoked_certificates.as_deref().unwrap_or_default();
        let critical = |extensions: &Option<Extensions>| {
            let extensions = extensions.as_deref().unwrap_or_default();
            extensions.iter().any(|extension| extension.critical)
        };
        if critical(&tbs.crl_extensions)
            || entries.iter().any(|it| critical(&it.crl_entry_extensions))
        {
            return Err(TrustError::CrlMalformed);
        }
        // RFC 5280, section 5.1.2.5: a conforming issuer says when the next list is due.
        let next_update = tbs.next_update.ok_or(TrustError::CrlMalformed)?;
        Ok(Self {
            revoked: entries
                .iter()
                .map(|entry| entry.serial_number.as_bytes().to_vec())
                .collect(),
            this_update: tbs.this_update.to_system_time(),
            next_update: next_update.to_system_time(),
            list,
        })
    }

    pub(crate) fn issuer(&self) -> &Name {
        &self.list.tbs_cert_list.issuer
    }

    pub(crate) fn is_signed_by(&self, ark: &Certificate) -> bool {
        let Ok(message) = self.list.tbs_cert_list.to_der() else {
            return false;
        };
        let algorithm = &self.list.signature_algorithm;
        snp::is_signed_with_pss(ark, algorithm, &message, self.list.signature.raw_bytes())
    }

    /// Whether a certificate of this issuer was revoked, whatever the reason and the date.
    pub(crate) fn revokes(&self, certificate: &Certificate) -> bool {
        let serial = certificate.tbs_certificate.serial_number.as_bytes();
        self.revoked.contains(serial)
    }

    pub(crate) fn len(&self) -> usize {
        self.revoked.len()
    }
}
