//! This member as a witness of the coordinator's audit log: what an announcement is bound to must be the log that it saw before.

use consort_aggregation::Digest;
use consort_audit::{
    Checkpoint, ConsistencyProof, Cosignature, Distrust, Hash, NoteError, NoteVerifier, ProvenHead,
    SignedNote, head_hash, judge_head, log_origin,
};
use consort_contract::JobId;
use consort_proto::convert::ShownHead;
use consort_round::RoundOpen;

use super::{Agent, AgentFault, Effect};

impl Agent {
    /// What is to be asked before an announcement is believed; nothing when its log head is known to be of the log. Only of what the
    /// coordinator signed, about a job that all approved.
    pub(super) fn unproven_head(&self, open: &RoundOpen) -> Option<Effect> {
        let (job, head) = (&open.terms.job, open.terms.log_head);
        let is_own = self.agreements.get(job).is_some_and(|it| it.approved());
        if !is_own || self.proven.get(job) == Some(&head) {
            return None;
        }
        open.verify(&self.site.roster.coordinator().identity).ok()?;
        let kept = self.longest_log.as_ref();
        if kept.is_some_and(|kept| head_hash(kept) == hash(head)) {
            return None;
        }
        Some(Effect::ProveHead {
            job: job.clone(),
            head,
            kept_entries: self.kept_entries(),
        })
    }

    /// The coordinator showed a head, or did not.
    pub(super) fn head_shown(
        &mut self,
        job: &JobId,
        head: Digest,
        kept_entries: u64,
        shown: Result<ShownHead, String>,
    ) -> Result<Vec<Effect>, AgentFault> {
        let shown = match shown {
            Ok(shown) => shown,
            Err(problem) => {
                tracing::warn!(%job, problem, "the log head was not shown; it will be asked for again");
                return Ok(Vec::new());
            }
        };
        // Another job's announcement was proven meanwhile: what was shown is a proof from where this member is no more.
        if kept_entries != self.kept_entries() {
            return self.announced_before(job);
        }
        let (note, proven) = match self.judge(head, &shown) {
            Ok(proven) => proven,
            Err(distrust) => return self.refuse_log(job, head, &shown, &distrust),
        };
        let mut effects = Vec::new();
        if proven.is_newest() {
            // Stored first: from here on a shorter or another log is noticed, and only what was noticed is co-signed.
            self.state.keep_log_head(&note.to_string())?;
            self.longest_log = Some(note);
            effects.push(self.cosign(head, proven.checkpoint()));
        }
        self.proven.insert(job.clone(), head);
        effects.extend(self.announced_before(job)?);
        Ok(effects)
    }

    fn judge(&self, head: Digest, shown: &ShownHead) -> Result<(SignedNote, ProvenHead), Distrust> {
        let malformed = |error: NoteError| Distrust::Checkpoint(error.into());
        let note: SignedNote = shown.checkpoint.parse().map_err(malformed)?;
        let proof: Vec<Hash> = shown.proof.iter().copied().map(Hash).collect();
        let key = self.log_key().map_err(malformed)?;
        // Rule R20a.
        // Rule R20b.
        let proven = judge_head(&hash(head), self.longest_log.as_ref(), &note, &proof, &key)?;
        Ok((note, proven))
    }

    /// Keeps two checkpoints that are not shown to be of one log, and takes no part in what is bound to the newer one. A
    /// coordinator that comes back with the log that this member knows is believed again.
    fn refuse_log(
        &mut self,
        job: &JobId,
        head: Digest,
        shown: &ShownHead,
        distrust: &Distrust,
    ) -> Result<Vec<Effect>, AgentFault> {
        let code = distrust.code();
        metrics::counter!("consort_participant_refusals_total", "code" => code).increment(1);
        if self
            .rounds
            .get(job)
            .is_some_and(|running| running.waits_for(head))
        {
            self.rounds.remove(job);
        }
        let record = distrust.contradiction().zip(self.contradiction(shown));
        let Some(((kept, length), record)) = record else {
            tracing::error!(%job, code, %distrust, "this member takes no part in an attempt whose log head does not hold");
            return Ok(Vec::new());
        };
        self.state
            .keep_log_contradiction(kept, length, &record.to_string())?;
        tracing::error!(
            %job, code, %distrust,
            "the coordinator's log is not the one that this member saw: it was restored from an old backup, or is rewritten, or others are shown another one. This member takes no part in what is bound to it. Both checkpoints are kept: stop this participant, export them with `consort participant log-head`, and compare with the other members"
        );
        Ok(Vec::new())
    }

    /// Both checkpoints, with the proof that does not hold.
    fn contradiction(&self, shown: &ShownHead) -> Option<ConsistencyProof> {
        let (old, new) = (self.longest_log.clone()?, shown.checkpoint.parse().ok()?);
        let hashes = shown.proof.iter().copied().map(Hash);
        Some(ConsistencyProof {
            hashes: hashes.take(consort_audit::MAX_PROOF_HASHES).collect(),
            old,
            new,
        })
    }

    fn cosign(&self, head: Digest, checkpoint: &Checkpoint) -> Effect {
        let identity = &self.site.identity;
        let now = (self.site.unix_s)();
        let sign = |message: &[u8]| identity.sign(message).0;
        let cosignature = Cosignature::new(&checkpoint.to_string(), now, sign);
        Effect::Cosign { head, cosignature }
    }

    /// Entries of the longest log that this member has seen.
    fn kept_entries(&self) -> u64 {
        let kept = self.longest_log.as_ref().zip(self.log_key().ok());
        let kept = kept.and_then(|(kept, key)| Checkpoint::verified(kept, &key).ok());
        kept.map_or(0, |kept| kept.size)
    }

    fn log_key(&self) -> Result<NoteVerifier, NoteError> {
        let roster = &self.site.roster;
        let identity = roster.coordinator().identity;
        NoteVerifier::from_bytes(
            &log_origin(roster.consortium().as_str()),
            identity.as_bytes(),
        )
    }
}

fn hash(head: Digest) -> Hash {
    Hash(*head.as_bytes())
}
