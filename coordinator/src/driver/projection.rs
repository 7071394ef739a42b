//! Which facts an accepted event gives to the audit log.

use consort_aggregation::{Digest, MemberIndex};
use consort_audit::{Epsilon, Event, Fact, JobState as AuditState, Phase, Proof, RoundRef};
use consort_contract::OrganisationId;
use consort_daemon::record::{code, hash, job, organisation, text};
use consort_proto::convert::AttemptKey;
use consort_round::messages::member_set_hash;

use crate::jobs::{Final, JobEvent, JobState, RunningAttempt, Stage, Stamped};
use crate::recorder::report_hash;

/// What an event met and left.
pub(super) struct Moment<'a> {
    /// The state after the event.
    pub(super) state: &'a JobState,
    /// The stage before it.
    pub(super) stage_before: &'a Stage,
    /// The attempt that ran before it.
    pub(super) attempt_before: Option<&'a RunningAttempt>,
    /// The phase before it.
    pub(super) phase_before: Option<&'static str>,
    /// The phase after it.
    pub(super) phase_after: Option<&'static str>,
    /// Whether the evidence of an advert has a simulated root.
    pub(super) simulated: bool,
    /// Hashes of the released file and manifest.
    pub(super) released: Option<(Digest, Digest)>,
}

impl Moment<'_> {
    /// The facts of an event, in order.
    pub(super) fn facts(&self, stamped: &Stamped) -> Vec<Fact> {
        let at = stamped.at_unix_ms;
        let id = job(&self.state.contract.id);
        let of_job = |event| Fact::of_job(id.clone(), event);
        let key = self
            .attempt_before
            .or(self.state.attempt.as_ref())
            .map(|attempt| &attempt.key);
        let mut facts: Vec<_> = self
            .job_events(&stamped.event)
            .into_iter()
            .map(of_job)
            .collect();
        if let Some(round) = key.map(round_ref) {
            let events = self
                .round_events(&stamped.event)
                .into_iter()
                .chain(self.phase_event(at));
            facts.extend(events.map(|event| Fact::of_round(id.clone(), round, event)));
        }
        if let JobEvent::Ended(ending) = &stamped.event {
            if let Some((model, manifest)) =
                self.released.filter(|_| ending.state == Final::Completed)
            {
                facts.push(of_job(Event::ModelReleased {
                    model: hash(&model),
                    manifest: hash(&manifest),
                }));
            }
            let state = match ending.state {
                Final::Completed => AuditState::Completed,
                Final::Failed => AuditState::Failed,
                Final::Cancelled => AuditState::Cancelled,
            };
            facts.push(of_job(Event::JobState { state }));
        }
        facts
    }

    fn job_events(&self, event: &JobEvent) -> Vec<Event> {
        let contract = hash(&self.state.contract.hash);
        match event {
            JobEvent::Submitted(_) => vec![
                Event::JobSubmitted {
                    contract,
                    by: text("operator"),
                },
                Event::JobState {
                    state: AuditState::Voting,
                },
            ],
            JobEvent::Voted(vote) => {
                let mut events = vec![Event::Vote {
                    organisation: organisation(vote.organisation.as_str()),
                    contract,
                    approve: vote.approve,
                }];
                if *self.stage_before == Stage::Voting && self.state.stage == Stage::Running {
                    events.push(Event::JobState {
                        state: AuditState::Running,
                    });
                }
                events
            }
            JobEvent::RoundOpened(_)
            | JobEvent::Advertised(_)
            | JobEvent::Shared(_)
            | JobEvent::Sealed { .. }
            | JobEvent::Survivors(_)
            | JobEvent::Confirmed(_)
            | JobEvent::Unmasked(_)
            | JobEvent::Departed(_)
            | JobEvent::Blamed(_)
            | JobEvent::PhaseExpired
            | JobEvent::Released(_)
            | JobEvent::Aborted { .. }
            | JobEvent::Restarted
            | JobEvent::Ended(_) => Vec::new(),
        }
    }

    fn round_events(&self, event: &JobEvent) -> Vec<Event> {
        match event {
            JobEvent::RoundOpened(open) => {
                let thresholds = &open.terms.thresholds;
                vec![Event::RoundOpened {
                    context: hash(&open.terms.context()),
                    model: hash(&open.terms.model),
                    cohort: open
                        .terms
                        .cohort
                        .values()
                        .map(|m| organisation(m.organisation.as_str()))
                        .collect(),
                    n_min: thresholds.minimum(),
                    threshold: thresholds.threshold(),
                }]
            }
            JobEvent::Advertised(advert) => {
                let by = self.name(advert.member);
                vec![
                    Event::EvidenceVerdict {
                        organisation: by.clone(),
                        accepted: true,
                        code: code("accepted"),
                        simulated: self.simulated,
                        report: report_hash(&advert.evidence),
                    },
                    Event::Advert {
                        organisation: by,
                        advert: hash(&Digest::of(&advert.signature.0)),
                    },
                ]
            }
            JobEvent::Shared(message) => {
                let statement = &message.statement;
                let shares = hash(&Digest::of(&statement.signature.0));
                vec![Event::Shares {
                    organisation: self.name(statement.member),
                    shares,
                }]
            }
            JobEvent::Sealed { seal, .. } => {
                vec![Event::UpdateAcknowledged {
                    organisation: self.name(seal.member),
                    tree: hash(&seal.tree_hash),
                }]
            }
            JobEvent::Blamed(blamed) => {
                let proof = |bytes| Proof::new(bytes).ok();
                let record = proof(blamed.record.encode());
                let event =
                    record
                        .zip(proof(blamed.proceedings.encode()))
                        .map(|(record, proceedings)| Event::Blame {
                            organisation: self.name(blamed.member),
                            fault: code(blamed.record.fault()),
                            record,
                            proceedings,
                        });
                event.into_iter().collect()
            }
            JobEvent::Survivors(survivors) => vec![Event::Survivors {
                members: survivors
                    .members
                    .iter()
                    .map(|member| self.name(*member))
                    .collect(),
                root: hash(&member_set_hash(&survivors.members)),
            }],
            JobEvent::Released(released) => {
                let mut events = self.spends();
                events.push(Event::RoundReleased {
                    aggregate: hash(&released.result.aggregate),
                });
                events
            }
            JobEvent::Aborted { code: reason, .. } => {
                let mut events = if crate::jobs::is_spent(reason) {
                    self.spends()
                } else {
                    Vec::new()
                };
                events.push(Event::RoundAborted { code: code(reason) });
                events
            }
            JobEvent::Submitted(_)
            | JobEvent::Voted(_)
            | JobEvent::Confirmed(_)
            | JobEvent::Unmasked(_)
            | JobEvent::Departed(_)
            | JobEvent::PhaseExpired
            | JobEvent::Restarted
            | JobEvent::Ended(_) => Vec::new(),
        }
    }

    /// What the members whose updates were complete have spent. A member that paid and died before is known to its own ledger.
    fn spends(&self) -> Vec<Event> {
        let sealed = self
            .attempt_before
            .iter()
            .flat_map(|attempt| attempt.sealed.iter());
        let names = sealed.filter_map(|member| self.state.contract.name_of(*member));
        names.filter_map(|name| self.spend(name)).collect()
    }

    fn spend(&self, name: &OrganisationId) -> Option<Event> {
        let rounds = self.state.spent.get(name).copied().unwrap_or_default();
        let epsilon = Epsilon::new(self.state.contract.epsilon_after(rounds)).ok()?;
        Some(Event::Spend {
            by: organisation(name.as_str()),
            epsilon,
        })
    }

    fn phase_event(&self, at_unix_ms: u64) -> Option<Event> {
        let after = self
            .phase_after
            .filter(|after| Some(*after) != self.phase_before)?;
        let deadlines = self.state.contract.deadlines();
        let (phase, span) = match after {
            "joining" => (Phase::Joining, deadlines.joining_ms),
            "sharing" => (Phase::Sharing, deadlines.sharing_ms),
            "collecting" => (Phase::Collecting, deadlines.collecting_ms),
            "confirming" => (Phase::Confirming, deadlines.confirming_ms),
            "unmasking" => (Phase::Unmasking, deadlines.unmasking_ms),
            _ => return None,
        };
        Some(Event::PhaseChanged {
            phase,
            deadline_unix_ms: at_unix_ms.saturating_add(span),
        })
    }

    fn name(&self, member: MemberIndex) -> consort_audit::Organisation {
        organisation(
            self.state
                .contract
                .name_of(member)
                .map_or("unknown", OrganisationId::as_str),
        )
    }
}

fn round_ref(key: &AttemptKey) -> RoundRef {
    RoundRef {
        number: key.round.0.into(),
        attempt: key.attempt.0,
    }
}
