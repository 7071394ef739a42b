//! Four agents and the coordinator's round machine in one process, without network.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use super::*;
use crate::test_world::{
    MEMBERS, RECORDS, TestLog, agent, consent, coordinator, data_file, job, job_id, job_of, name,
    proposal, roster, secret, site,
};
use consort_aggregation::{Accumulator, AggregateSum, Canonical, MemberIndex, RoundKeyContext};
use consort_contract::{Algorithm, ApprovedVotes, IdentitySecret, Job, Plan, Signature};
use consort_model::{ArrivedParameters, ArrivingParameters, Parameters};
use consort_proto::convert::{directive_to_wire, vote_to_wire};
use consort_proto::wire::consent::v1::Approval;
use consort_round::blame::Unproven;
use consort_round::coordinator::{Accepted, Input as RoundInput, Opening, Round};
use consort_round::messages::keys_context;
use consort_round::split_view::Fault;
use consort_round::{
    Attempt, CohortMember, Deadlines, Millis, RoundNumber, RoundOpen, RoundTerms, ShareKeys,
    SplitView, Survivors,
};
use consort_storage::{MemoryStore, RecordStore};

#[path = "agent_fedavg_tests.rs"]
mod fedavg;
#[path = "agent_query_tests.rs"]
mod query;
#[path = "agent_sampled_tests.rs"]
mod sampled;
#[path = "agent_scaffold_tests.rs"]
mod scaffold;
#[path = "agent_sealed_tests.rs"]
mod sealed;
#[path = "agent_witness_tests.rs"]
mod witness;

/// The consortium in one process.
struct World {
    job: Job,
    plan: Plan,
    stores: BTreeMap<u8, Arc<dyn RecordStore>>,
    files: BTreeMap<u8, (tempfile::TempDir, PathBuf)>,
    agents: BTreeMap<u8, Agent>,
    votes: Vec<Vote>,
    trained: usize,
    /// The coordinator's log, as it stands; an attempt is announced under a length that its numbers give.
    log: TestLog,
    /// Who co-signed which head.
    cosigned: Vec<(u8, Digest, Cosignature)>,
    /// ctx2 of the attempt that was played last.
    context2: Option<RoundKeyContext>,
}

impl World {
    /// Four agents that voted yes and saw that all did.
    fn approved() -> Self {
        Self::approved_on(job())
    }

    fn approved_on((job, plan): (Job, Plan)) -> Self {
        let members = || 1..=MEMBERS;
        let stores: BTreeMap<_, _> = members()
            .map(|i| (i, Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>))
            .collect();
        let files: BTreeMap<_, _> = members().map(|i| (i, data_file(RECORDS))).collect();
        let agents = members()
            .map(|i| (i, agent(site(i, &files[&i].1), &stores[&i])))
            .collect();
        let votes = Vec::new();
        let mut world = Self {
            job,
            plan,
            stores,
            files,
            agents,
            votes,
            trained: 0,
            log: TestLog::new(40, 40),
            cosigned: Vec::new(),
            context2: None,
        };
        let event = Event::Proposal(proposal(&world.job, &world.plan));
        for i in members() {
            let vote = vote_of(&world.say(i, event.clone()));
            assert!(vote.approve, "{}", vote.reason);
            world.votes.push(vote);
        }
        for i in members() {
            let approval = world.approval();
            assert!(world.say(i, approval).is_empty());
        }
        world
    }

    fn approval(&self) -> Event {
        Event::Approval(Approval {
            job: job_id().to_string(),
            votes: self.votes.iter().map(vote_to_wire).collect(),
        })
    }

    fn say(&mut self, member: u8, event: Event) -> Vec<Effect> {
        self.tell(member, Input::Said(Box::new(event)))
    }

    /// What an agent wants done, once the coordinator has shown it the log heads that it asked for.
    fn tell(&mut self, member: u8, input: Input) -> Vec<Effect> {
        let agent = self.agents.get_mut(&member).unwrap();
        let mut effects = Vec::new();
        for effect in agent.handle(input).unwrap() {
            if let Effect::ProveHead {
                job,
                head,
                kept_entries,
            } = effect
            {
                let input = Input::Head {
                    job,
                    head,
                    kept_entries,
                    shown: Ok(self.log.shown(head, kept_entries)),
                };
                effects.extend(self.tell(member, input));
            } else if let Effect::Cosign { head, cosignature } = effect {
                self.cosigned.push((member, head, cosignature));
            } else {
                effects.push(effect);
            }
        }
        effects
    }

    /// As [`Self::say`], what may come in parts in as many as it has items.
    fn say_in_parts(&mut self, member: u8, event: Event) -> Vec<Effect> {
        let parts = in_parts(event).into_iter();
        parts.flat_map(|part| self.say(member, part)).collect()
    }

    fn restart(&mut self, member: u8, change: impl FnOnce(&mut Site)) {
        let mut site = site(member, &self.files[&member].1);
        change(&mut site);
        let restarted = agent(site, &self.stores[&member]);
        self.agents.insert(member, restarted);
    }

    fn open(&self, round: u32, attempt: u32, model: &Parameters) -> RoundOpen {
        let roster = roster();
        let contract = self.plan.contract_hash(&self.job);
        let keys = (1..=MEMBERS)
            .map(|i| (name(i), secret(i).public()))
            .collect();
        let votes = ApprovedVotes::verify(&job_id(), &contract, &keys, self.votes.clone());
        let cohort = (1..=MEMBERS).map(|i| {
            let member = CohortMember {
                organisation: name(i),
                identity: secret(i).public(),
            };
            (MemberIndex::new(i.into()).unwrap(), member)
        });
        let terms = RoundTerms {
            consortium: roster.consortium().clone(),
            job: job_id(),
            round: RoundNumber(round),
            attempt: Attempt(attempt),
            cohort: cohort.collect(),
            thresholds: *self.job.thresholds(),
            roster_root: roster.root(),
            contract,
            votes: votes.unwrap().hash(),
            model: model_digest(model),
            schema: self.plan.schema(),
            log_head: self.log.head(length_at(round, attempt)),
        };
        RoundOpen::new(terms, &coordinator())
    }

    /// Plays an attempt to its end with these members; the others stay silent.
    fn play(&mut self, open: &RoundOpen, model: &Parameters, members: &[u8]) -> AggregateSum {
        let deadlines = Deadlines {
            joining_ms: 10,
            sharing_ms: 10,
            collecting_ms: 10,
            confirming_ms: 10,
            unmasking_ms: 10,
        };
        let mut now = Millis(0);
        let mut updates = BTreeMap::new();
        let mut round = Round::open(Arc::new(open.clone()), deadlines, now);
        let key = AttemptKey::of(&open.terms);
        loop {
            let mut silent = true;
            for &i in members {
                let index = MemberIndex::new(i.into()).unwrap();
                let Some(directive) = round.directive(index) else {
                    continue;
                };
                silent = false;
                let mut effects: VecDeque<_> = self
                    .say_in_parts(i, directive_to_wire(&key, &directive))
                    .into();
                while let Some(effect) = effects.pop_front() {
                    match effect {
                        Effect::FetchModel {
                            job,
                            model: hash,
                            agreed,
                        } => {
                            assert_eq!(hash, model_digest(model));
                            let input = Input::Model {
                                job,
                                model: hash,
                                arrived: arrived(&agreed.0, &model.to_le_bytes()),
                            };
                            effects.extend(self.agents.get_mut(&i).unwrap().handle(input).unwrap());
                        }
                        Effect::Train(task) => {
                            self.trained += 1;
                            let (key, result) = (task.key.clone(), task.run(&mut rand_core::OsRng));
                            let input = Input::Trained { key, result };
                            effects.extend(self.agents.get_mut(&i).unwrap().handle(input).unwrap());
                        }
                        Effect::Send { message, .. } => {
                            round = accept(round, message_input(*message, open), now);
                        }
                        Effect::Upload { update, seal, .. } => {
                            assert_eq!(update.tree_hash(), seal.tree_hash);
                            updates.insert(index, update);
                            round = accept(round, RoundInput::Seal(seal), now);
                        }
                        Effect::Vote { .. } => panic!("no vote is due"),
                        Effect::Complain { .. } => panic!("nobody cheats"),
                        Effect::FetchKey(wanted) => panic!("{} lies plain", wanted.name),
                        Effect::ProveHead { .. } | Effect::Cosign { .. } => {
                            panic!("the head is asked for when it is announced")
                        }
                    }
                }
            }
            if let Some(collecting) = round.survivors_wanted() {
                self.context2 = round.proceedings().map(|about| *about.context2());
                let survivors = collecting.announce(&coordinator());
                round = accept(round, RoundInput::AnnounceSurvivors(survivors), now);
            } else if let Round::Opened(opening) = &round {
                return self.sum(opening, &updates);
            } else if silent {
                // Everybody who is there has answered: only time ends the phase.
                now = now.after(11);
                round = round.handle(RoundInput::Tick, now).round;
            }
            assert!(!matches!(round, Round::Aborted(_)), "{round:?}");
        }
    }

    fn sum(
        &self,
        opening: &Opening,
        updates: &BTreeMap<MemberIndex, Arc<MaskedUpdate>>,
    ) -> AggregateSum {
        let mut sum = Accumulator::new(self.plan.schema());
        for member in &opening.survivors {
            let packed: Vec<u8> = updates[member]
                .chunks()
                .flat_map(|(_, chunk)| chunk.to_vec())
                .collect();
            sum.add_packed(&packed).unwrap();
        }
        sum.subtract_masks(&opening.masks);
        sum.finish()
    }

    fn initial(&self) -> Parameters {
        Parameters::initial(self.job.model(), &self.job.initial_seed())
    }

    fn entries(&self, member: u8) -> u64 {
        self.agents[&member].ledger().sequence()
    }
}

/// How long the log is when an attempt is announced.
fn length_at(round: u32, attempt: u32) -> u64 {
    u64::from(10 * round + attempt)
}

fn accept(round: Round, input: RoundInput, now: Millis) -> Round {
    let transition = round.handle(input, now);
    assert_eq!(transition.outcome, Ok(Accepted::New));
    transition.round
}

fn message_input(message: MemberMessage, open: &RoundOpen) -> RoundInput {
    match message {
        MemberMessage::Advert(advert) => {
            RoundInput::Advertise(advert.verify(open, &crate::test_world::Trusting).unwrap())
        }
        MemberMessage::ShareKeys(shares) => RoundInput::ShareKeys(shares),
        MemberMessage::Confirmation(confirmation) => RoundInput::Confirm(confirmation),
        MemberMessage::Unmask(shares) => RoundInput::Unmask(shares),
        MemberMessage::Seal(_) => panic!("a seal goes with its update"),
    }
}

fn vote_of(effects: &[Effect]) -> Vote {
    match effects {
        [Effect::Vote { vote, .. }] => vote.clone(),
        other => panic!("one vote is due, not {other:?}"),
    }
}

fn in_parts(event: Event) -> Vec<Event> {
    if let Event::KeyList(list) = event {
        let parts = u32::try_from(list.adverts.len()).unwrap();
        let part = |(part, advert)| wire::KeyList {
            id: list.id.clone(),
            adverts: vec![advert],
            part,
            parts,
            ..wire::KeyList::default()
        };
        let adverts = (0..).zip(list.adverts);
        return adverts.map(part).map(Event::KeyList).collect();
    }
    if let Event::SharesDelivery(delivery) = event {
        // The boxes are the last part.
        let parts = u32::try_from(delivery.statements.len()).unwrap() + 1;
        let blank = wire::SharesDelivery {
            id: delivery.id,
            parts,
            ..wire::SharesDelivery::default()
        };
        let boxes = wire::SharesDelivery {
            sealed: delivery.sealed,
            part: parts - 1,
            ..blank.clone()
        };
        let part = |(part, statement)| wire::SharesDelivery {
            statements: vec![statement],
            part,
            ..blank.clone()
        };
        let statements = (0..).zip(delivery.statements).map(part);
        let all = statements.chain([boxes]);
        return all.map(Event::SharesDelivery).collect();
    }
    vec![event]
}

fn announcement(open: &RoundOpen) -> Event {
    directive_to_wire(
        &AttemptKey::of(&open.terms),
        &Directive::Advertise(open.clone()),
    )
}

#[test]
fn four_agents_complete_two_rounds_and_each_pays_once_a_round() {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let sum = world.play(&open, &initial, &[1, 2, 3, 4]);
    assert_eq!(sum.values().len(), 3);
    // Every value is a sum of 20 records' coordinates, each at most C, and of noise within its bound: masks are gone.
    let unit = i64::try_from(world.plan.noise().grid().bits().units()).unwrap();
    let noise = i64::try_from(world.plan.noise().noise_bound()).unwrap();
    let bound = 20 * unit + 4 * noise;
    assert!(sum.values().iter().all(|value| value.abs() <= bound));

    let next = Parameters::new(world.job.model(), vec![0.5, -0.25]).unwrap();
    let open = world.open(2, 1, &next);
    world.play(&open, &next, &[1, 2, 3, 4]);
    for i in 1..=MEMBERS {
        assert_eq!(world.entries(i), 2);
    }
    assert_eq!(world.trained, 8);
}

#[test]
fn a_round_completes_without_a_member_that_stays_silent_and_that_member_pays_nothing() {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    world.play(&open, &initial, &[1, 2, 4]);
    assert_eq!(world.entries(3), 0);
    assert_eq!(world.entries(4), 1);
}

#[test]
fn after_a_restart_the_same_attempt_is_not_answered_and_the_next_one_is() {
    let mut world = World::approved();
    let initial = world.initial();
    let first = world.open(1, 1, &initial);
    assert_eq!(world.say(2, announcement(&first)).len(), 2);
    world.restart(2, |_| ());
    assert!(world.say(2, announcement(&first)).is_empty());
    let second = world.open(1, 2, &initial);
    let effects = world.say(2, announcement(&second));
    assert!(matches!(
        effects.as_slice(),
        [Effect::Send { .. }, Effect::Train(_)]
    ));
}

#[test]
fn a_key_list_is_answered_once_its_parts_have_come_in_order_and_not_before() {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let deadlines = Deadlines {
        joining_ms: 10,
        sharing_ms: 10,
        collecting_ms: 10,
        confirming_ms: 10,
        unmasking_ms: 10,
    };
    let mut round = Round::open(Arc::new(open.clone()), deadlines, Millis(0));
    for i in 1..=MEMBERS {
        for effect in world.say(i, announcement(&open)) {
            if let Effect::Send { message, .. } = effect {
                round = accept(round, message_input(*message, &open), Millis(0));
            }
        }
    }
    let directive = round.directive(MemberIndex::new(1).unwrap()).unwrap();
    let parts = in_parts(directive_to_wire(&AttemptKey::of(&open.terms), &directive));
    assert_eq!(parts.len(), usize::from(MEMBERS));
    // A part is missing, then the first one.
    for place in [0, 1, 3, 2, 3] {
        assert!(world.say(1, parts[place].clone()).is_empty(), "{place}");
    }
    // The stream broke; a new one says all again.
    let answers: Vec<_> = parts
        .iter()
        .map(|part| world.say(1, part.clone()).len())
        .collect();
    assert_eq!(answers, [0, 0, 0, 1]);
}

#[test]
fn a_repeated_announcement_gets_the_same_advert_and_no_second_training() {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let advert = |effects: Vec<Effect>| match effects.into_iter().next() {
        Some(Effect::Send { message, .. }) => *message,
        other => panic!("an advert is due, not {other:?}"),
    };
    let once = advert(world.say(1, announcement(&open)));
    let again = world.say(1, announcement(&open));
    assert_eq!(again.len(), 1);
    assert_eq!(advert(again), once);
}

/// Obeys R19. Breaks R19.
#[test]
fn a_round_that_was_submitted_is_spent_and_no_attempt_at_it_is_joined_again() {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    world.play(&open, &initial, &[1, 2, 3, 4]);
    let again = world.open(1, 2, &initial);
    assert!(world.say(1, announcement(&again)).is_empty());
    assert_eq!(world.entries(1), 1);
}

#[test]
fn the_first_round_starts_from_the_model_of_the_contract_and_from_no_other() {
    let mut world = World::approved();
    let other = Parameters::new(world.job.model(), vec![1.0, 1.0]).unwrap();
    let open = world.open(1, 1, &other);
    assert!(world.say(1, announcement(&open)).is_empty());
    // The refused attempt was not answered: the honest one still can be.
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    assert_eq!(world.say(1, announcement(&open)).len(), 2);
}

/// What comes of these bytes of a model.
fn arrived(job: &Job, bytes: &[u8]) -> Result<ArrivedParameters, String> {
    let mut arriving = ArrivingParameters::of_length(job.announced_values());
    let pushed = arriving.push(bytes);
    let arrived = pushed.and_then(|()| arriving.finish());
    arrived.map_err(|error| error.to_string())
}

#[test]
fn model_bytes_that_are_not_what_was_announced_are_refused() {
    let mut world = World::approved();
    let next = Parameters::new(world.job.model(), vec![0.5, -0.25]).unwrap();
    let open = world.open(2, 1, &next);
    let [Effect::FetchModel { job, model, agreed }] = &world.say(1, announcement(&open))[..] else {
        panic!("the model is fetched first");
    };
    assert_eq!(*model, model_digest(&next));
    let agreed = &agreed.0;
    let forged = Parameters::new(world.job.model(), vec![0.5, 0.25]).unwrap();
    for arrived in [
        arrived(agreed, &forged.to_le_bytes()),
        arrived(agreed, &[0; 3]),
        Err("gone".to_owned()),
    ] {
        let input = Input::Model {
            job: job.clone(),
            model: *model,
            arrived,
        };
        let agent = world.agents.get_mut(&1).unwrap();
        assert!(agent.handle(input).unwrap().is_empty());
    }
    let again = world.say(1, announcement(&open));
    assert!(matches!(again.as_slice(), [Effect::FetchModel { .. }]));
}

#[test]
fn an_announcement_signed_by_another_key_is_refused() {
    let mut world = World::approved();
    let initial = world.initial();
    let mut open = world.open(1, 1, &initial);
    open = RoundOpen::new(open.terms, &secret(1));
    assert!(world.say(1, announcement(&open)).is_empty());
}

#[test]
fn a_round_that_the_ledger_does_not_cover_is_not_joined() {
    let mut world = World::approved();
    let initial = world.initial();
    world.restart(1, |site| site.consent.max_epsilon_lifetime = 0.1);
    let open = world.open(1, 1, &initial);
    assert!(world.say(1, announcement(&open)).is_empty());
    assert_eq!(world.entries(1), 0);
}

#[test]
fn nothing_is_joined_before_every_members_yes_is_verified() {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    // A member whose process has the vote and not the approval.
    let store: Arc<dyn RecordStore> = Arc::new(MemoryStore::new());
    let mut fresh = agent(site(1, &world.files[&1].1), &store);
    let said = |event| Input::Said(Box::new(event));
    let event = Event::Proposal(proposal(&world.job, &world.plan));
    fresh.handle(said(event)).unwrap();
    assert!(fresh.handle(said(announcement(&open))).unwrap().is_empty());

    let missing = Event::Approval(Approval {
        job: job_id().to_string(),
        votes: world.votes[..3].iter().map(vote_to_wire).collect(),
    });
    fresh.handle(said(missing)).unwrap();
    assert!(fresh.handle(said(announcement(&open))).unwrap().is_empty());

    fresh.handle(said(world.approval())).unwrap();
    world.agents.insert(1, fresh);
    assert_eq!(world.say(1, announcement(&open)).len(), 2);
}

#[test]
fn a_proposal_that_comes_again_gets_the_same_vote_and_another_contract_gets_none() {
    let mut world = World::approved();
    let same = Event::Proposal(proposal(&world.job, &world.plan));
    assert_eq!(vote_of(&world.say(1, same.clone())), world.votes[0]);
    let (job, plan) = job_of(|document| {
        let Algorithm::DpFedSgd(a) = &mut document.algorithm else {
            panic!("the job is one of dp_fedsgd")
        };
        a.learning_rate = 0.25;
    });
    assert!(
        world
            .say(1, Event::Proposal(proposal(&job, &plan)))
            .is_empty()
    );
    world.restart(1, |_| ());
    assert_eq!(vote_of(&world.say(1, same)), world.votes[0]);
}

#[test]
fn a_plan_that_does_not_follow_from_its_job_gets_no_vote() {
    let (job, plan) = job();
    let mut forged = proposal(&job, &plan);
    forged.plan.as_mut().unwrap().member_variance -= 1;
    let store: Arc<dyn RecordStore> = Arc::new(MemoryStore::new());
    let (_folder, file) = data_file(RECORDS);
    let mut agent = agent(site(1, &file), &store);
    let input = Input::Said(Box::new(Event::Proposal(forged)));
    assert!(agent.handle(input).unwrap().is_empty());
}

#[test]
fn a_bad_row_is_a_no_that_names_its_line_and_column_and_never_its_value() {
    let (job, plan) = job();
    let store: Arc<dyn RecordStore> = Arc::new(MemoryStore::new());
    let (_folder, file) = data_file("x,y\n0.5,1\nseventeen,0\n");
    let mut agent = agent(site(1, &file), &store);
    let input = Input::Said(Box::new(Event::Proposal(proposal(&job, &plan))));
    let vote = vote_of(&agent.handle(input).unwrap());
    assert!(!vote.approve);
    assert!(
        vote.reason.contains("line 3") && vote.reason.contains("\"x\""),
        "{}",
        vote.reason
    );
    assert!(!vote.reason.contains("seventeen"));
    let contract = plan.contract_hash(&job);
    vote.verify(&job_id(), &contract, &secret(1).public())
        .unwrap();
}

#[test]
fn a_policy_that_says_no_is_a_no_with_its_reason() {
    let (job, plan) = job();
    let store: Arc<dyn RecordStore> = Arc::new(MemoryStore::new());
    let (_folder, file) = data_file(RECORDS);
    let mut refusing = site(1, &file);
    refusing.consent = ConsentPolicy {
        min_cohort: 4,
        ..consent()
    };
    let mut agent = agent(refusing, &store);
    let input = Input::Said(Box::new(Event::Proposal(proposal(&job, &plan))));
    let vote = vote_of(&agent.handle(input).unwrap());
    assert!(!vote.approve && vote.reason.contains("at least 4"));
}

#[test]
fn a_job_that_asks_for_a_machine_that_this_is_not_gets_a_no_and_another_a_yes() {
    let has = Premises {
        memory_bytes: Some(16 << 30),
        ..Premises::default()
    };
    for (asked, approves) in [(16 << 30, true), (32 << 30, false)] {
        let mut document = job().0.document().clone();
        document.requirements.memory_bytes = Some(asked);
        let asking = Job::new(document).unwrap();
        let plan = Plan::derive(&asking).unwrap();
        let store: Arc<dyn RecordStore> = Arc::new(MemoryStore::new());
        let (_folder, file) = data_file(RECORDS);
        let mut site = site(1, &file);
        site.premises = Box::new(move || has);
        let proposal = Event::Proposal(proposal(&asking, &plan));
        let answer = agent(site, &store).handle(Input::Said(Box::new(proposal)));
        let vote = vote_of(&answer.unwrap());
        assert_eq!(vote.approve, approves, "{}", vote.reason);
        assert!(
            approves
                || vote
                    .reason
                    .contains("32GiB of main memory and this machine has 16GiB")
        );
    }
}

/// What an agent sends, and the training that it starts left undone.
fn sent(effects: Vec<Effect>) -> Option<MemberMessage> {
    effects.into_iter().find_map(|effect| {
        if let Effect::Send { message, .. } = effect {
            Some(*message)
        } else {
            None
        }
    })
}

/// The dealer's message with garbage for one member, which its statement names and which it signs for.
fn with_a_wrong_box(
    mut message: ShareKeys,
    context2: &RoundKeyContext,
    to: MemberIndex,
    dealer: u8,
) -> ShareKeys {
    let garbage = vec![7; 80];
    let statement = &mut message.statement;
    statement.sealed.insert(to, Digest::of(&garbage));
    message.sealed.insert(to, garbage);
    let mut signed = Canonical::new("consort/round/shares/v1")
        .bytes(context2.digest().as_bytes())
        .u64(statement.member.get().into())
        .bytes(&statement.mask_key.to_bytes())
        .bytes(&statement.self_mask.to_bytes())
        .list(statement.sealed.len());
    for (to, digest) in &statement.sealed {
        signed = signed.u64(to.get().into()).bytes(digest.as_bytes());
    }
    statement.signature = secret(dealer).sign(&signed.finish());
    message
}

#[test]
fn a_member_that_was_dealt_a_wrong_box_complains_of_its_dealer_and_pays_nothing() {
    let mut world = World::approved();
    let open = world.open(1, 1, &world.initial());
    let key = AttemptKey::of(&open.terms);
    let deadlines = Deadlines {
        joining_ms: 10,
        sharing_ms: 10,
        collecting_ms: 10,
        confirming_ms: 10,
        unmasking_ms: 10,
    };
    let index = |i: u8| MemberIndex::new(i.into()).unwrap();
    let mut round = Round::open(Arc::new(open.clone()), deadlines, Millis(0));
    let mut adverts = BTreeMap::new();
    for i in 1..=MEMBERS {
        let asked = round.directive(index(i)).unwrap();
        let Some(MemberMessage::Advert(advert)) =
            sent(world.say(i, directive_to_wire(&key, &asked)))
        else {
            panic!("an advert is due")
        };
        let verified = advert.verify(&open, &crate::test_world::Trusting).unwrap();
        adverts.insert(index(i), verified.clone());
        round = accept(round, RoundInput::Advertise(verified), Millis(0));
    }
    let context2 = keys_context(&open.terms.context(), &adverts);
    let dealer = MEMBERS;
    for i in 1..=MEMBERS {
        let asked = round.directive(index(i)).unwrap();
        let Some(MemberMessage::ShareKeys(mut message)) =
            sent(world.say(i, directive_to_wire(&key, &asked)))
        else {
            panic!("shares are due")
        };
        if i == dealer {
            message = with_a_wrong_box(message, &context2, index(1), dealer);
        }
        round = accept(round, RoundInput::ShareKeys(message), Millis(0));
    }
    let delivery = |i| directive_to_wire(&key, &round.directive(index(i)).unwrap());
    let effects = world.say(1, delivery(1));
    let [
        Effect::Complain {
            key: about,
            complaint,
        },
    ] = &effects[..]
    else {
        panic!("a complaint is due, not {effects:?}")
    };
    assert_eq!((about, complaint.dealer), (&key, index(dealer)));
    // The coordinator has the statement and the box, and with the complaint a record that convicts the dealer.
    let record = round.complaint(index(1), complaint).unwrap();
    let proceedings = round.proceedings().unwrap();
    assert_eq!(record.verify(&proceedings), Ok(index(dealer)));
    // Asked again it says the same of the same dealer, and those whose boxes are in order say nothing.
    let again = world.say(1, delivery(1));
    assert!(
        matches!(&again[..], [Effect::Complain { complaint, .. }] if complaint.dealer == index(dealer))
    );
    assert!(world.say(2, delivery(2)).is_empty(), "it trains still");
    assert_eq!(world.entries(1), 0);
}

/// What an agent kept of a coordinator with two views, read as an auditor would.
fn kept(world: &World, member: u8) -> Vec<SplitView> {
    let kept = world.agents[&member].state.split_views().unwrap();
    let read = |(job, record): (String, Vec<u8>)| {
        assert_eq!(job, "job-1");
        SplitView::decode(&record).unwrap()
    };
    kept.into_iter().map(read).collect()
}

/// The agent answers nothing more of the job, also after a restart, and has its record still.
fn has_left_the_job(world: &mut World, member: u8) {
    let initial = world.initial();
    for restarts in 0..2 {
        for (round, attempt) in [(1, 2), (2, 1)] {
            let next = world.open(round, attempt, &initial);
            assert!(world.say(member, announcement(&next)).is_empty());
        }
        assert_eq!(kept(world, member).len(), 1);
        if restarts == 0 {
            world.restart(member, |_| ());
        }
    }
}

#[test]
fn a_coordinator_that_signs_two_survivor_sets_is_convicted_by_whoever_saw_both_and_loses_this_member()
 {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    world.play(&open, &initial, &[1, 2, 3, 4]);
    let context2 = world.context2.unwrap();
    let seal = |member: u8| {
        let member = MemberIndex::new(member.into()).unwrap();
        let tree_hash = Digest::of(b"another update");
        let signature = Signature([1; 64]);
        (
            member,
            UpdateSeal {
                member,
                tree_hash,
                signature,
            },
        )
    };
    let key = AttemptKey::of(&open.terms);
    let named = |members: &[u8], by: &IdentitySecret| {
        let seals = members.iter().copied().map(seal).collect();
        let survivors = Survivors::new(&context2, &seals, by);
        directive_to_wire(&key, &Directive::Confirm(survivors))
    };
    // Who did not sign is not convicted.
    assert!(world.say(1, named(&[1, 2, 3], &secret(2))).is_empty());
    assert_eq!(kept(&world, 1), []);
    // A set without this member is refused anyway, and convicts too.
    assert!(world.say(1, named(&[2, 3, 4], &coordinator())).is_empty());
    let [record] = &kept(&world, 1)[..] else {
        panic!("one record is kept")
    };
    let verdict = record.verify(&coordinator().public());
    assert_eq!(verdict.unwrap(), Fault::Survivors);
    assert_eq!(record.about().job, job_id());
    assert_eq!(record.verify(&secret(2).public()), Err(Unproven::Signature));
    has_left_the_job(&mut world, 1);
    // Whoever saw one goes on.
    assert_eq!(kept(&world, 2), []);
    let next = world.open(2, 1, &initial);
    assert!(!world.say(2, announcement(&next)).is_empty());
}

#[test]
fn a_coordinator_that_announces_an_attempt_twice_is_convicted_and_gets_no_second_answer() {
    let mut world = World::approved();
    let initial = world.initial();
    let open = world.open(1, 1, &initial);
    let mut terms = open.terms.clone();
    terms.log_head = Digest::of(b"another log");
    let other = RoundOpen::new(terms, &coordinator());
    assert!(!world.say(1, announcement(&open)).is_empty());
    assert!(!world.say(1, announcement(&open)).is_empty());
    assert_eq!(kept(&world, 1), []);
    assert!(world.say(1, announcement(&other)).is_empty());
    let [record] = &kept(&world, 1)[..] else {
        panic!("one record is kept")
    };
    let key = coordinator().public();
    assert_eq!(record.verify(&key).unwrap(), Fault::Announcements);
    has_left_the_job(&mut world, 1);

    // What convicts nobody: the same twice, two attempts, another's signature, and any byte that was changed.
    let later = world.open(1, 2, &initial);
    let forged = RoundOpen::new(other.terms.clone(), &secret(2));
    for (first, second) in [(&open, &open), (&open, &later), (&open, &forged)] {
        assert_eq!(SplitView::of_announcements(first, second, &key), None);
    }
    let bytes = record.encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let verdict = SplitView::decode(&changed).and_then(|record| record.verify(&key));
        assert!(verdict.is_err(), "byte {at}");
    }
}
