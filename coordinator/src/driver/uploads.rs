//! Updates while they arrive: who may send one, where it goes, and that nothing of it stays when the attempt is over.

use std::sync::Arc;

use consort_aggregation::MemberIndex;
use consort_contract::OrganisationId;
use consort_proto::convert::AttemptKey;
use consort_round::coordinator::Round;
use consort_round::rejection::Rejection;

use super::command::Answer;
use super::core::Driver;
use crate::error::{Fault, Refusal};
use crate::release;
use crate::spool::Upload;

impl Driver {
    /// Where a member's update goes, if it may send one now or did.
    pub(super) fn upload(
        &mut self,
        from: &OrganisationId,
        key: &AttemptKey,
    ) -> Result<Result<Answer, Refusal>, Fault> {
        let index = match self.speaker(from, key) {
            Ok(index) => index,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let sealed = self.has_sealed(index);
        if !sealed {
            let admitted = match &self.round {
                Some(Round::Collecting(collecting)) => collecting.admits(index),
                Some(round) => Err(Rejection::WrongPhase {
                    message: "update",
                    phase: round.phase(),
                }),
                None => Err(Rejection::WrongPhase {
                    message: "update",
                    phase: "between rounds",
                }),
            };
            if let Err(rejection) = admitted {
                return Ok(Err(rejection.into()));
            }
        }
        if let Some(upload) = self.uploads.get(&index) {
            let upload = upload.clone();
            return Ok(Ok(Answer::Upload { upload, sealed }));
        }
        let blob = release::update_key(key, index)?;
        let schema = self.state.contract.plan.schema();
        let upload = Arc::new(Upload::new(self.services.blobs.clone(), blob, schema));
        self.uploads.insert(index, upload.clone());
        Ok(Ok(Answer::Upload { upload, sealed }))
    }

    /// Ends the uploads that will not count any more: of one member, or of all.
    pub(super) fn close_unsealed_uploads(&mut self, of: Option<MemberIndex>) -> Result<(), Fault> {
        let members: Vec<_> = match of {
            Some(member) => vec![member],
            None => self.uploads.keys().copied().collect(),
        };
        for member in members {
            if !self.has_sealed(member) {
                self.close_upload(member)?;
            }
        }
        Ok(())
    }

    fn close_upload(&mut self, member: MemberIndex) -> Result<(), Fault> {
        let Some(key) = self.state.attempt.as_ref().map(|attempt| &attempt.key) else {
            return Ok(());
        };
        let blob = release::update_key(key, member)?;
        match self.uploads.get(&member) {
            // It stays in the map, closed: a stream that still holds it is told so, and no other one is begun.
            Some(upload) => upload.close()?,
            None => drop(self.services.blobs.remove_spool(&blob)?),
        }
        // Chunks that were complete while the seal never came.
        self.services.blobs.remove(&blob)?;
        Ok(())
    }

    /// Removes every update below a prefix, finished or not.
    pub(super) fn remove_updates(&mut self, prefix: &str) -> Result<(), Fault> {
        for upload in std::mem::take(&mut self.uploads).into_values() {
            upload.close()?;
        }
        let blobs = &self.services.blobs;
        for key in blobs.spools(prefix)? {
            blobs.remove_spool(&key)?;
        }
        for key in blobs.list(prefix)? {
            blobs.remove(&key)?;
        }
        Ok(())
    }

    /// After a restart: removes what a crash kept from being removed. What may still be asked for is the sealed updates of the
    /// attempt that runs and, while they are collected, the others that have begun.
    pub(super) fn remove_stale_updates(&mut self) -> Result<(), Fault> {
        let attempt = self.state.attempt.as_ref().filter(|_| self.round.is_some());
        let collecting = matches!(self.round, Some(Round::Collecting(_)));
        let mut wanted = std::collections::BTreeSet::new();
        if let Some(attempt) = attempt {
            for member in &attempt.shared {
                let departed = attempt.departed.contains(member);
                if attempt.sealed.contains(member) || collecting && !departed {
                    wanted.insert(release::update_key(&attempt.key, *member)?);
                }
            }
        }
        let prefix = release::updates_of_job(self.id());
        let blobs = &self.services.blobs;
        for key in blobs.spools(&prefix)? {
            if !wanted.contains(&key) {
                blobs.remove_spool(&key)?;
            }
        }
        for key in blobs.list(&prefix)? {
            if !wanted.contains(&key) {
                blobs.remove(&key)?;
            }
        }
        Ok(())
    }

    pub(super) fn has_sealed(&self, member: MemberIndex) -> bool {
        let attempt = self.state.attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.sealed.contains(&member))
    }
}
