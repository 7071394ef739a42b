//! What witnesses of the audit log ask and say.

use consort_aggregation::Digest;

use super::{WireError, digest, fixed};
use crate::wire::audit::v1 as wire;

/// Bytes of a co-signature: a time and a signature.
pub const COSIGNATURE_BYTES: usize = 72;

/// An announced checkpoint as a coordinator shows it; that it is the announced one is not checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownHead {
    /// The signed note.
    pub checkpoint: String,
    /// The hashes of the proof.
    pub proof: Vec<[u8; 32]>,
}

/// Which head is asked for, and how many entries the caller keeps a checkpoint of.
///
/// # Errors
/// [`WireError`] names the field.
pub fn prove_head_from_wire(request: &wire::ProveHeadRequest) -> Result<(Digest, u64), WireError> {
    Ok((digest(&request.log_head, "log_head")?, request.kept_entries))
}

/// To the wire.
pub fn shown_head_to_wire(shown: ShownHead) -> wire::ProveHeadResponse {
    wire::ProveHeadResponse {
        checkpoint: shown.checkpoint,
        proof: shown.proof.concat(),
    }
}

/// From the wire.
///
/// # Errors
/// [`WireError`] when the proof is not whole hashes.
pub fn shown_head_from_wire(response: wire::ProveHeadResponse) -> Result<ShownHead, WireError> {
    let (proof, rest) = response.proof.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(WireError::invalid(
            "proof",
            "a proof is hashes of 32 bytes each",
        ));
    }
    Ok(ShownHead {
        proof: proof.to_vec(),
        checkpoint: response.checkpoint,
    })
}

/// Which head, and the co-signature on it; whether it holds is not checked here.
///
/// # Errors
/// [`WireError`] names the field.
pub fn cosign_from_wire(
    request: &wire::CosignRequest,
) -> Result<(Digest, [u8; COSIGNATURE_BYTES]), WireError> {
    let head = digest(&request.log_head, "log_head")?;
    Ok((head, fixed(&request.cosignature, "cosignature")?))
}
