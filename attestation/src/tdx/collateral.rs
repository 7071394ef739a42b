//! Intel's collateral for one family of platforms: which firmware levels are good, who the quoting enclave is, and which keys were
//! revoked. It lies with the verifier, as roots do: a peer that brought its own could choose an older one that is still valid.

use std::time::SystemTime;

use dcap_qvl::{QeIdentity, QuoteCollateralV3, TcbInfo};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode as _};

use crate::certificate::{Dates, name_value, oid, parse_strict};
use crate::crl::RevocationList;
use crate::pem;
use crate::trust::{SIMULATED_ORGANISATION, TrustError};

/// Collateral whose form was found good. Who signed it is looked at with each quote.
#[derive(Clone)]
pub(crate) struct Collateral {
    pub(super) inner: QuoteCollateralV3,
    pub(super) root_der: Vec<u8>,
    /// SHA-256 of the root that everything in it leads to.
    pub(crate) root_hash: [u8; 32],
    /// Whether the root says of itself that it is no hardware vendor's.
    pub(crate) says_simulated: bool,
    /// The family of platforms that it is about.
    pub(crate) fmspc: [u8; 6],
    /// The provisioning enclave that it is about.
    pub(crate) pce_id: [u8; 2],
    /// By which of Intel's appraisals: the lower of the two numbers.
    pub(crate) evaluation_number: u32,
    /// When all of it is valid.
    pub(crate) dates: Dates,
}

impl Collateral {
    /// Reads collateral as Intel's and everybody's tools write it: a JSON object of the eight parts.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, TrustError> {
        let malformed = |_| TrustError::CollateralMalformed;
        let mut inner: QuoteCollateralV3 =
            serde_json::from_slice(json).map_err(|_| TrustError::CollateralMalformed)?;
        // The library would look at this chain in place of the quote's.
        inner.pck_certificate_chain = None;
        let tcb: TcbInfo =
            serde_json::from_str(&inner.tcb_info).map_err(|_| TrustError::CollateralMalformed)?;
        let enclave: QeIdentity = serde_json::from_str(&inner.qe_identity)
            .map_err(|_| TrustError::CollateralMalformed)?;
        let mut fmspc = [0; 6];
        hex::decode_to_slice(&tcb.fmspc, &mut fmspc)
            .map_err(|_| TrustError::CollateralMalformed)?;
        let mut pce_id = [0; 2];
        hex::decode_to_slice(&tcb.pce_id, &mut pce_id)
            .map_err(|_| TrustError::CollateralMalformed)?;
        let (pck_crl, root_crl) = (
            RevocationList::parse(&inner.pck_crl).map_err(malformed)?,
            RevocationList::parse(&inner.root_ca_crl).map_err(malformed)?,
        );
        let mut dates = window(&tcb.issue_date, &tcb.next_update)?
            .and(window(&enclave.issue_date, &enclave.next_update)?);
        for list in [&pck_crl, &root_crl] {
            dates = dates.and(Dates {
                not_before: list.this_update,
                not_after: list.next_update,
            });
        }
        let mut root_der = None;
        for chain in [
            &inner.pck_crl_issuer_chain,
            &inner.tcb_info_issuer_chain,
            &inner.qe_identity_issuer_chain,
        ] {
            let blocks =
                pem::blocks(chain.as_bytes()).map_err(|_| TrustError::CollateralMalformed)?;
            for block in &blocks {
                let certificate =
                    parse_strict(&block.der).map_err(|_| TrustError::CollateralMalformed)?;
                dates = dates.and(Dates::of(&certificate));
            }
            let root = blocks.last().ok_or(TrustError::CollateralMalformed)?;
            if root_der.get_or_insert_with(|| root.der.clone()) != &root.der {
                return Err(TrustError::CollateralMalformed);
            }
        }
        let root_der = root_der.ok_or(TrustError::CollateralMalformed)?;
        let root = Certificate::from_der(&root_der).map_err(|_| TrustError::CollateralMalformed)?;
        Ok(Self {
            root_hash: Sha256::digest(&root_der).into(),
            says_simulated: name_value(&root.tbs_certificate.subject, oid::ORGANISATION)
                == Some(SIMULATED_ORGANISATION),
            fmspc,
            pce_id,
            evaluation_number: tcb
                .tcb_evaluation_data_number
                .min(enclave.tcb_evaluation_data_number),
            dates,
            inner,
            root_der,
        })
    }
}

fn window(from: &str, until: &str) -> Result<Dates, TrustError> {
    let time = |text: &str| -> Result<SystemTime, TrustError> {
        let time: DateTime = text.parse().map_err(|_| TrustError::CollateralMalformed)?;
        Ok(time.to_system_time())
    };
    Ok(Dates {
        not_before: time(from)?,
        not_after: time(until)?,
    })
}
