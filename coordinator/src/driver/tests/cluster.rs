//! A driver on real stores and five members in the same process, who speak the wire's messages with chosen integer updates.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use consort_aggregation::{Digest, EncodedUpdate, MaskedUpdate, MemberIndex};
use consort_contract::{JobId, OrganisationId, Vote};
use consort_model::{OptimizerState, Parameters};
use consort_proto::convert::{AttemptKey, directive_from_wire};
use consort_proto::wire::round::v1::follow_response::Event;
use consort_round::blame::Complaint;
use consort_round::messages::{RoundKeyJudge, RoundKeys};
use consort_round::participant::{Answer as Said, Expectations, Member, Surroundings};
use consort_round::{Directive, MemberMessage, Millis, SharesDelivery, UpdateSeal};
use consort_storage::{EmbeddedStore, LocalBlobs};
use rand_core::OsRng;

use crate::driver::{
    Answer, Board, Command, Driver, Instance, Link, Now, Said as SaidOnce, Services, Wish, core,
};
use crate::error::Refusal;
use crate::jobs::Contract;
use crate::recorder::Recorder;
use crate::spool::Upload;
use crate::testing::{contract, organisation, roster, secret};

/// Evidence in these tests is the announcement and the keys: good if and only if it is about them.
struct Judge;

impl RoundKeyJudge for Judge {
    fn judge(&self, keys: &RoundKeys, evidence: &[u8]) -> Result<(), String> {
        if evidence == evidence_of(keys) {
            Ok(())
        } else {
            Err("wrong_evidence".to_owned())
        }
    }
}

fn evidence_of(keys: &RoundKeys) -> Vec<u8> {
    [
        keys.announcement.as_bytes().as_slice(),
        &keys.mask_key,
        &keys.share_key,
    ]
    .concat()
}

pub(crate) fn services(folder: &Path) -> Arc<Services> {
    let audit = folder.join("audit");
    let recorder = Recorder::open(&audit, "tests/audit", &secret(0), &[], wall_clock).unwrap();
    recorder.enrol(&roster()).unwrap();
    Arc::new(Services {
        identity: secret(0),
        roster: Arc::new(roster()),
        judge: Arc::new(Judge),
        store: Arc::new(EmbeddedStore::open(folder.join("events.redb")).unwrap()),
        blobs: Arc::new(LocalBlobs::open(folder.join("blobs")).unwrap()),
        recorder,
        board: Board::default(),
        crash: consort_daemon::crash::CrashPoints::default(),
        workers: NonZeroUsize::new(2).unwrap(),
        dangerous: vec!["dangerous_for_a_test".to_owned()],
    })
}

/// Goes on with every look, over all restarts.
fn wall_clock() -> u64 {
    static TICKS: AtomicU64 = AtomicU64::new(1);
    TICKS.fetch_add(1, Ordering::SeqCst)
}

/// A member's process.
pub(super) struct Process {
    pub(super) link: Link,
    member: Option<Member>,
    said: Vec<SaidOnce>,
    /// Phases it does not answer.
    pub(super) silent_in: Vec<&'static str>,
    /// Times it was asked for its update, by round.
    pub(super) trained: BTreeMap<u32, u32>,
}

pub(crate) struct Cluster {
    pub(crate) folder: tempfile::TempDir,
    pub(super) contract: Contract,
    pub(crate) driver: Option<Driver>,
    pub(super) processes: BTreeMap<u8, Process>,
    pub(super) newest: BTreeMap<u8, (u32, u32)>,
    starts: u8,
    /// Whose update is masked and not sent.
    upload_stops_at: Option<u8>,
    /// The newest update that was masked.
    submitted: Option<(MaskedUpdate, UpdateSeal)>,
    pub(super) now: Now,
}

impl Cluster {
    /// A job that was just submitted; all five members are connected.
    pub(super) fn new(rounds: u32) -> Self {
        Self::of(contract(rounds))
    }

    /// The same for another job.
    pub(crate) fn of(contract: Contract) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Now {
            mono: Millis(0),
            unix_ms: 1_000,
        };
        let driver = Driver::submit(services(folder.path()), contract.clone(), &[], now).unwrap();
        let mut cluster = Self {
            folder,
            contract,
            driver: Some(driver),
            processes: BTreeMap::new(),
            newest: BTreeMap::new(),
            starts: 0,
            upload_stops_at: None,
            submitted: None,
            now,
        };
        (1..=5).for_each(|i| cluster.start(i));
        cluster.advance();
        cluster
    }

    pub(super) fn driver(&self) -> &Driver {
        self.driver.as_ref().unwrap()
    }

    /// Starts a member's process, or starts it again without its secrets.
    pub(super) fn start(&mut self, i: u8) {
        self.starts += 1;
        let instance = Instance([self.starts; 16]);
        let link = self
            .driver()
            .services
            .board
            .connect(&organisation(i), instance, true);
        let process = Process {
            link,
            member: None,
            said: Vec::new(),
            silent_in: Vec::new(),
            trained: BTreeMap::new(),
        };
        self.processes.insert(i, process);
        self.ask(Command::Connected(organisation(i), instance))
            .unwrap();
    }

    /// The coordinator dies without a word and starts again; members connect with the same processes.
    pub(super) fn restart_coordinator(&mut self) {
        drop(self.driver.take());
        let services = services(self.folder.path());
        let stream = core::stream_of(&self.contract.id).unwrap();
        self.now.unix_ms += 1_000;
        self.driver = Some(Driver::recover(services, &stream, self.now).unwrap());
        for (i, process) in &mut self.processes {
            let instance = process.link.instance;
            let driver = self.driver.as_mut().unwrap();
            process.link = driver
                .services
                .board
                .connect(&organisation(*i), instance, true);
            driver
                .handle(Command::Connected(organisation(*i), instance), self.now)
                .unwrap()
                .unwrap();
            process.said.clear();
        }
        self.advance();
    }

    pub(super) fn ask(&mut self, command: Command) -> Result<Answer, Refusal> {
        self.now.unix_ms += 1;
        let now = self.now;
        let answer = self.driver.as_mut().unwrap().handle(command, now).unwrap();
        self.advance();
        answer
    }

    pub(super) fn advance(&mut self) {
        let now = self.now;
        self.driver.as_mut().unwrap().advance(now).unwrap();
    }

    /// How many events of the job are stored.
    pub(super) fn stored(&self) -> u64 {
        let stream = core::stream_of(&self.contract.id).unwrap();
        self.driver().services.store.version(&stream).unwrap().0
    }

    /// Lets the phase's deadline pass.
    pub(super) fn expire(&mut self) {
        self.now.mono = self.driver().deadline().unwrap();
        self.advance();
    }

    /// Lets members answer until nobody has anything to say.
    pub(super) fn settle(&mut self) {
        while (1..=5).any(|i| self.answer_one(i)) {}
    }

    /// Lets members answer until the attempt is in a phase.
    pub(crate) fn settle_until(&mut self, phase: &'static str) {
        while self.driver().phase() != Some(phase) && (1..=5).any(|i| self.answer_one(i)) {}
        assert_eq!(self.driver().phase(), Some(phase));
    }

    /// Lets one member answer one thing; false when it has nothing to say.
    pub(super) fn answer_one(&mut self, i: u8) -> bool {
        let Some(process) = self.processes.get_mut(&i) else {
            return false;
        };
        let driver = self.driver.as_ref().unwrap();
        let Some(wanted) = driver
            .services
            .board
            .wanted(&organisation(i), &process.link)
        else {
            return false;
        };
        process
            .said
            .retain(|said| wanted.iter().any(|wish| wish.is(said)));
        let silent = |event: &Event| process.silent_in.contains(&phase_of(event));
        let new =
            |wish: &&Wish| !process.said.iter().any(|said| wish.is(said)) && !silent(&wish.event());
        let Some(wish) = wanted.iter().find(new).cloned() else {
            return false;
        };
        process.said.push(wish.said());
        self.answer(i, wish.event());
        true
    }

    fn answer(&mut self, i: u8, event: Event) {
        if let Event::Proposal(_) = &event {
            let contract = &self.contract;
            let vote = Vote::cast(
                &contract.id,
                &organisation(i),
                contract.hash,
                Ok(()),
                &secret(i),
            );
            self.ask(Command::Vote(vote)).unwrap();
            return;
        }
        let Some((key, directive)) = directive_from_wire(event).unwrap() else {
            return;
        };
        let Some(message) = self.reply(i, &key, &directive) else {
            return;
        };
        // A phase may close early: late answers of it are refused and harm nobody.
        let said = self.say(organisation(i), &key, message);
        assert!(
            said.is_ok()
                || said
                    .as_ref()
                    .is_err_and(|refusal| refusal.code == "round_wrong_phase"),
            "{said:?}"
        );
    }

    pub(super) fn say(
        &mut self,
        from: OrganisationId,
        key: &AttemptKey,
        message: MemberMessage,
    ) -> Result<Answer, Refusal> {
        self.ask(Command::Message {
            from,
            key: key.clone(),
            message: Box::new(message),
        })
    }

    /// What a member says to a directive; an update is uploaded on the way.
    pub(super) fn reply(
        &mut self,
        i: u8,
        key: &AttemptKey,
        directive: &Directive,
    ) -> Option<MemberMessage> {
        let identity = secret(i);
        let coordinator = secret(0).public();
        let mut rng = OsRng;
        let mut around = Surroundings {
            identity: &identity,
            coordinator: &coordinator,
            judge: &Judge,
            rng: &mut rng,
        };
        if let Directive::Advertise(open) = directive {
            let expected = self.expectations(i);
            let (member, advert) = Member::join(
                open,
                &expected,
                &mut |keys| Ok(evidence_of(keys)),
                &mut around,
            )
            .ok()?;
            self.newest.insert(i, (key.round.0, key.attempt.0));
            self.processes.get_mut(&i)?.member = Some(member);
            return Some(MemberMessage::Advert(advert));
        }
        let process = self.processes.get_mut(&i)?;
        let transition = process.member.take()?.handle(directive, &mut around);
        match transition.outcome {
            Ok(Said::Send(message)) => {
                process.member = Some(transition.member);
                Some(message)
            }
            Ok(Said::Submit) => {
                *process.trained.entry(key.round.0).or_default() += 1;
                let schema = self.contract.plan.schema();
                let update = update(i, key.round.0, schema.elements());
                let update = EncodedUpdate::from_integers(&update, schema).unwrap();
                let (member, masked, seal) = transition.member.submit(update, &identity).unwrap();
                process.member = Some(member);
                self.submitted = Some((masked.clone(), seal.clone()));
                if self.upload_stops_at == Some(i) {
                    return None;
                }
                self.upload_all(i, key, &masked);
                Some(MemberMessage::Seal(seal))
            }
            Err(rejection) => panic!("an honest coordinator is answered: {rejection}"),
        }
    }

    /// Uploads what of an update is not there yet.
    pub(super) fn upload_all(&mut self, i: u8, key: &AttemptKey, masked: &MaskedUpdate) {
        let upload = self.upload(i, key);
        let next = upload.progress().unwrap().next_chunk;
        for (index, chunk) in masked.chunks().filter(|(index, _)| *index >= next) {
            upload.chunk(index, chunk).unwrap();
        }
        upload.seal(&masked.tree_hash()).unwrap();
    }

    /// Lets a member mask its update and send nothing of it.
    pub(crate) fn mask(&mut self, i: u8) -> (AttemptKey, MaskedUpdate, UpdateSeal) {
        self.upload_stops_at = Some(i);
        while self.answer_one(i) {}
        self.upload_stops_at = None;
        let (masked, seal) = self.submitted.take().unwrap();
        let attempt = self.driver().state().attempt.as_ref().unwrap();
        (attempt.key.clone(), masked, seal)
    }

    /// Where a member's update goes.
    pub(super) fn upload(&mut self, i: u8, key: &AttemptKey) -> Arc<Upload> {
        let from = organisation(i);
        let key = key.clone();
        match self.ask(Command::Upload { from, key }) {
            Ok(Answer::Upload { upload, .. }) => upload,
            other => panic!("an upload may begin: {other:?}"),
        }
    }

    /// What a member says of a delivery with a wrong box.
    pub(super) fn complaint(&self, i: u8, delivery: &SharesDelivery) -> Option<Complaint> {
        let member = self.processes[&i].member.as_ref()?;
        member.complaint(delivery, &mut OsRng)
    }

    fn expectations(&self, i: u8) -> Expectations {
        let state = self.driver().state();
        let contract = &self.contract;
        let votes = state.votes.values().cloned();
        let identities = contract.identities(&roster());
        let votes = consort_contract::ApprovedVotes::verify(
            &contract.id,
            &contract.hash,
            &identities,
            votes,
        )
        .unwrap();
        Expectations {
            consortium: roster().consortium().clone(),
            job: contract.id.clone(),
            organisation: organisation(i),
            contract: contract.hash,
            votes: votes.hash(),
            roster_root: roster().root(),
            cohort: contract.cohort(&roster()),
            thresholds: *contract.job.thresholds(),
            schema: contract.plan.schema(),
            rounds: contract.rounds(),
            newest_answered: self.newest.get(&i).copied(),
            ledger_sequence: 0,
            model: state.model,
        }
    }

    /// The optimizer's state after rounds over these members: what the sum must be, bit for bit.
    pub(super) fn expected(&self, survivors: &[&[u8]]) -> OptimizerState {
        let (job, plan) = (&self.contract.job, &self.contract.plan);
        let initial = Parameters::initial(job.model(), &job.initial_seed());
        let step = |state: OptimizerState, (round, members): (u32, &&[u8])| {
            if members.is_empty() {
                return state;
            }
            let elements = plan.schema().elements();
            let updates: Vec<_> = members
                .iter()
                .map(|i| update(*i, round, elements))
                .collect();
            let sum: Vec<i64> = (0..updates[0].len())
                .map(|j| updates.iter().map(|update| update[j]).sum())
                .collect();
            let survivors = u32::try_from(members.len()).unwrap();
            let id = &self.contract.id;
            let stepped = plan.advance(
                (id, job),
                round,
                &state,
                &sum,
                survivors,
                std::num::NonZeroUsize::MIN,
            );
            stepped.unwrap().0
        };
        (1..)
            .zip(survivors)
            .fold(OptimizerState::initial(initial), step)
    }

    pub(super) fn survivors(&self) -> Vec<usize> {
        self.driver()
            .state()
            .rounds
            .iter()
            .map(|round| round.survivors.len())
            .collect()
    }

    /// The log holds, by every rule of the offline verification, and its times go on, over restarts too.
    pub(crate) fn verify_audit(&self) -> consort_audit::Report {
        let report = consort_audit::verify(self.folder.path().join("audit"), None).unwrap();
        let went_back = report.remarks.iter().find(|said| said.contains("clock"));
        assert_eq!(went_back, None);
        report
    }
}

/// Member i's update of a round: gradient coordinates and the loss, with both signs.
pub(super) fn update(i: u8, round: u32, elements: u64) -> Vec<i64> {
    let (i, round) = (i64::from(i), i64::from(round));
    let sign = if i % 2 == 0 { 1 } else { -1 };
    let values = [
        sign * (i * 1_000_003 + round),
        i * 77 - round * 1_000_000,
        -sign * i,
        i,
    ];
    let length = usize::try_from(elements).unwrap();
    values.into_iter().cycle().take(length).collect()
}

pub(super) fn index(i: u8) -> MemberIndex {
    MemberIndex::new(i.into()).unwrap()
}

pub(super) fn job_id() -> JobId {
    JobId::new("job-1").unwrap()
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}

fn phase_of(event: &Event) -> &'static str {
    match event {
        Event::Proposal(_) => "voting",
        Event::RoundOpen(_) => "joining",
        Event::KeyList(_) => "sharing",
        Event::SharesDelivery(_) => "collecting",
        Event::Survivors(_) => "confirming",
        Event::Confirmations(_) => "unmasking",
        Event::Approval(_)
        | Event::RoundResult(_)
        | Event::RoundAborted(_)
        | Event::JobClosed(_)
        | Event::Heartbeat(_) => "told",
    }
}
