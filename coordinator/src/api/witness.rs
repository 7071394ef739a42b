//! Members as witnesses of the audit log: each is shown that the log it saw goes on, and co-signs what it saw.

use std::sync::Arc;

use consort_audit::{Cosignature, WitnessKey, witness_name};
use consort_proto::convert::{cosign_from_wire, prove_head_from_wire, shown_head_to_wire};
use consort_proto::wire::audit::v1 as wire;
use consort_proto::wire::audit::v1::witness_service_server::WitnessService;
use tonic::{Request, Response, Status};

use super::{caller, status, unavailable};
use crate::driver::Desk;
use crate::error::{Fault, Refusal, RefusalKind};

/// The participants' side of the audit log.
pub struct Witnesses(pub Arc<Desk>);

#[tonic::async_trait]
impl WitnessService for Witnesses {
    async fn prove_head(
        &self,
        request: Request<wire::ProveHeadRequest>,
    ) -> Result<Response<wire::ProveHeadResponse>, Status> {
        caller(&request)?;
        let (head, kept_entries) =
            prove_head_from_wire(request.get_ref()).map_err(|error| status(&error.into()))?;
        // It waits for whoever writes to the log: that may block a thread, not the runtime.
        let services = self.0.services().clone();
        let shown =
            tokio::task::spawn_blocking(move || services.recorder.prove(&head, kept_entries));
        let shown = shown
            .await
            .map_err(|_| Status::internal("the request was not carried out"))?;
        let shown = shown.ok_or_else(|| status(&unknown_head()))?;
        Ok(Response::new(shown_head_to_wire(shown)))
    }

    async fn cosign(
        &self,
        request: Request<wire::CosignRequest>,
    ) -> Result<Response<wire::CosignResponse>, Status> {
        let (from, _) = caller(&request)?;
        let (head, cosignature) =
            cosign_from_wire(request.get_ref()).map_err(|error| status(&error.into()))?;
        let roster = &self.0.services().roster;
        let name = witness_name(roster.consortium().as_str(), from.as_str());
        let witness = roster
            .member(&from)
            .and_then(|entry| WitnessKey::new(&name, entry.identity.as_bytes()).ok());
        let (Some(witness), Some(cosignature)) = (witness, Cosignature::from_slice(&cosignature))
        else {
            let what = "only a member of the roster is a witness";
            let refusal = Refusal::new(RefusalKind::Forbidden, "not_a_member", what);
            return Err(status(&refusal));
        };
        // A write to disk: milliseconds that may block a thread, not the runtime.
        let services = self.0.services().clone();
        let kept = tokio::task::spawn_blocking(move || {
            services.recorder.cosign(&head, &witness, &cosignature)
        });
        match kept.await {
            Ok(Ok(Ok(new))) => {
                if new {
                    metrics::counter!("consort_log_cosignatures_total").increment(1);
                }
                Ok(Response::new(wire::CosignResponse {}))
            }
            Ok(Ok(Err(refused))) => Err(status(&Refusal::from(refused))),
            Ok(Err(error)) => {
                let fault = Fault::Audit(error);
                let answer = unavailable(&fault);
                self.0.fail(fault);
                Err(answer)
            }
            Err(_) => Err(Status::internal("the request was not carried out")),
        }
    }
}

fn unknown_head() -> Refusal {
    consort_audit::NotCosigned::UnknownHead.into()
}
