//! What followers and watchers see: the newest view of each job, what is wanted of each member, and who is connected.
//! Level-triggered: whoever looks later sees what holds then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use consort_aggregation::MemberIndex;
use consort_contract::{JobId, OrganisationId};
use consort_daemon::manifest::ALERT;
use consort_proto::handout::Handout;
use consort_proto::parts::split;
use consort_proto::wire::job::v1::{Job as JobView, ListJobsResponse, ListRoundsResponse};
use consort_proto::wire::round::v1::follow_response::Event;
use tokio::sync::watch;

use crate::jobs::{self, EndedRound};

/// Names a participant's process: random, drawn when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance(pub [u8; 16]);

/// A member's open stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The process at the other end.
    pub instance: Instance,
    /// Whether its evidence has a simulated root.
    pub simulated: bool,
    /// Rises with every stream: only the newest of a member is served.
    generation: u64,
}

/// Tells when something changed on the board.
pub type Watcher = watch::Receiver<u64>;

/// Something that a member is to be told. The same wish is the same value, so that a follower can tell what is new.
#[derive(Debug, Clone)]
pub enum Wish {
    /// What many members hear, or one.
    Paper(Arc<Event>),
    /// A member's own part of what a phase hands out.
    Handed(Arc<Handout>, MemberIndex),
}

/// A wish that was said, or is being said: it keeps nothing of it.
#[derive(Debug, Clone)]
pub enum Said {
    /// See [`Wish::Paper`].
    Paper(Weak<Event>),
    /// See [`Wish::Handed`].
    Handed(Weak<Handout>, MemberIndex),
}

impl Wish {
    /// The wish, without what it holds.
    pub fn said(&self) -> Said {
        match self {
            Self::Paper(event) => Said::Paper(Arc::downgrade(event)),
            Self::Handed(handout, to) => Said::Handed(Arc::downgrade(handout), *to),
        }
    }

    /// Whether this was said.
    pub fn is(&self, said: &Said) -> bool {
        match (self, said) {
            (Self::Paper(event), Said::Paper(known)) => Arc::as_ptr(event) == known.as_ptr(),
            (Self::Handed(handout, to), Said::Handed(known, known_to)) => {
                Arc::as_ptr(handout) == known.as_ptr() && to == known_to
            }
            (Self::Paper(_), Said::Handed(..)) | (Self::Handed(..), Said::Paper(_)) => false,
        }
    }

    /// The whole message.
    pub fn event(&self) -> Event {
        match self {
            Self::Paper(event) => (**event).clone(),
            Self::Handed(handout, to) => handout.event(*to),
        }
    }
}

impl Said {
    /// The message in its parts; none when nobody wishes it any more.
    pub fn parts(&self) -> Vec<Event> {
        let wish = match self {
            Self::Paper(event) => event.upgrade().map(Wish::Paper),
            Self::Handed(handout, to) => handout.upgrade().map(|it| Wish::Handed(it, *to)),
        };
        wish.map_or_else(Vec::new, |wish| split(wish.event()))
    }

    /// Whether nobody wishes it any more: the phase is over, and what it held is gone.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Paper(event) => event.strong_count() == 0,
            Self::Handed(handout, _) => handout.strong_count() == 0,
        }
    }
}

/// What a job shows.
#[derive(Debug, Default, Clone)]
pub(super) struct Poster {
    /// For operators.
    pub(super) view: JobView,
    /// The rounds that ended, of which a view has the newest.
    pub(super) rounds: Arc<Vec<EndedRound>>,
    /// Members in order of the index.
    pub(super) members: Arc<[OrganisationId]>,
    /// For each member: what is wanted of it, or what it should know.
    pub(super) wanted: BTreeMap<OrganisationId, Vec<Wish>>,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    revision: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In the order of submission.
    jobs: Vec<(JobId, Poster)>,
    links: BTreeMap<OrganisationId, Link>,
    quarantined: BTreeMap<OrganisationId, Quarantined>,
    generation: u64,
}

/// What becomes of the session that an organisation may have already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnSession {
    /// Another connection failed, which its identity key had signed; if there is a session, it goes on.
    GoesOn,
    /// A machine that is the organisation's by chip and launch configuration failed in the handshake; if there is a session, it goes on.
    GoesOnBeside,
    /// It is what failed.
    Failed,
}

/// Why a member is kept out, and since when. It shows what the gate, the round and the manifest decide, and decides nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Quarantined {
    /// The code of the check that its evidence failed last.
    code: String,
    /// Since when, milliseconds since 1970.
    since_unix_ms: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            revision: watch::channel(0).0,
        }
    }
}

impl Board {
    /// Replaces what a job shows.
    pub(super) fn put(&self, job: &JobId, poster: Poster) {
        let mut inner = self.lock();
        match inner.jobs.iter_mut().find(|(id, _)| id == job) {
            Some((_, old)) => *old = poster,
            None => inner.jobs.push((job.clone(), poster)),
        }
        drop(inner);
        self.changed();
    }

    /// A member opened a stream; an older one of the same member is not served any more.
    pub fn connect(&self, member: &OrganisationId, instance: Instance, simulated: bool) -> Link {
        let mut inner = self.lock();
        inner.generation += 1;
        let link = Link {
            instance,
            simulated,
            generation: inner.generation,
        };
        inner.links.insert(member.clone(), link);
        drop(inner);
        self.changed();
        link
    }

    /// A stream ended.
    pub fn disconnect(&self, member: &OrganisationId, link: &Link) {
        let mut inner = self.lock();
        if inner.links.get(member) == Some(link) {
            inner.links.remove(member);
        }
        drop(inner);
        self.changed();
    }

    /// Shows a member whose evidence failed as quarantined, until it verifies again, and alerts once. A member whose own session goes
    /// on is not: somebody has its identity key on another machine, and the alert says so.
    pub fn quarantine(&self, organisation: &str, code: &str, live: OwnSession, now_unix_ms: u64) {
        let Ok(member) = OrganisationId::new(organisation) else {
            return;
        };
        let mut inner = self.lock();
        if live != OwnSession::Failed && inner.links.contains_key(&member) {
            drop(inner);
            if live == OwnSession::GoesOn {
                tracing::error!(target: ALERT, alert = "identity_elsewhere", organisation, code, "an organisation's identity key is used on a machine whose evidence fails, while its own session goes on");
            } else {
                tracing::error!(target: ALERT, alert = "machine_elsewhere", organisation, code, "a machine of an organisation's shows evidence that fails, while the organisation's own session goes on");
            }
            return;
        }
        let known = inner.quarantined.get(&member);
        let since_unix_ms = known.map_or(now_unix_ms, |known| known.since_unix_ms);
        let is_new = known.is_none_or(|known| known.code != code);
        if let Some(known) = known.filter(|_| is_new) {
            quarantine_gauge(organisation, &known.code).set(0.0);
        }
        let quarantined = Quarantined {
            code: code.to_owned(),
            since_unix_ms,
        };
        inner.quarantined.insert(member, quarantined);
        drop(inner);
        if is_new {
            quarantine_gauge(organisation, code).set(1.0);
            tracing::error!(target: ALERT, alert = "member_quarantined", organisation, code, "a member's evidence fails; it is kept out until it verifies");
            self.changed();
        }
    }

    /// A member's evidence verified.
    pub fn readmit(&self, organisation: &str) {
        let Ok(member) = OrganisationId::new(organisation) else {
            return;
        };
        let known = self.lock().quarantined.remove(&member);
        if let Some(known) = known {
            quarantine_gauge(organisation, &known.code).set(0.0);
            tracing::info!(organisation, "a member that was quarantined verifies again");
            self.changed();
        }
    }

    /// The newest stream of a member.
    pub fn link(&self, member: &OrganisationId) -> Option<Link> {
        self.lock().links.get(member).copied()
    }

    /// How many members are connected.
    pub fn connected(&self) -> usize {
        self.lock().links.len()
    }

    /// What is to be said to a member now; `None` once a newer stream of it is served.
    pub fn wanted(&self, member: &OrganisationId, link: &Link) -> Option<Vec<Wish>> {
        let inner = self.lock();
        if inner.links.get(member) != Some(link) {
            return None;
        }
        let of_job =
            |(_, poster): &(JobId, Poster)| poster.wanted.get(member).cloned().unwrap_or_default();
        Some(inner.jobs.iter().flat_map(of_job).collect())
    }

    /// A job as operators see it.
    pub fn view(&self, job: &JobId) -> Option<JobView> {
        let inner = self.lock();
        let (_, poster) = inner.jobs.iter().find(|(id, _)| id == job)?;
        Some(with_members(&poster.view, &inner))
    }

    /// A page of jobs behind one, all when it is `None`; oldest first.
    pub fn views_after(&self, after: Option<&JobId>) -> ListJobsResponse {
        let inner = self.lock();
        let first = inner.jobs.iter().position(|(id, _)| Some(id) == after);
        let behind = inner.jobs.iter().skip(first.map_or(0, |first| first + 1));
        let brief = behind.map(|(_, poster)| with_members(&jobs::brief(&poster.view), &inner));
        let (jobs, more) = jobs::page(brief);
        ListJobsResponse { jobs, more }
    }

    /// A page of a job's rounds behind one.
    pub fn rounds_after(&self, job: &JobId, after_round: u32) -> Option<ListRoundsResponse> {
        let (rounds, members) = {
            let inner = self.lock();
            let (_, poster) = inner.jobs.iter().find(|(id, _)| id == job)?;
            (poster.rounds.clone(), poster.members.clone())
        };
        Some(jobs::rounds_after(&rounds, &members, after_round))
    }

    /// Tells when something changed.
    pub fn watch(&self) -> Watcher {
        self.revision.subscribe()
    }

    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics between two changes of one call, so what a poisoned lock guards is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quarantine_gauge(organisation: &str, code: &str) -> metrics::Gauge {
    let (organisation, reason) = (organisation.to_owned(), code.to_owned());
    metrics::gauge!("consort_members_quarantined", "organisation" => organisation, "reason" => reason)
}

/// A view with what is known of its members beside the job.
fn with_members(view: &JobView, inner: &Inner) -> JobView {
    let mut view = view.clone();
    for member in &mut view.members {
        let Ok(name) = OrganisationId::new(&member.organisation) else {
            continue;
        };
        member.connected = inner.links.contains_key(&name);
        if let Some(quarantined) = inner.quarantined.get(&name) {
            member.quarantined_for.clone_from(&quarantined.code);
            member.quarantined_since_unix_ms = quarantined.since_unix_ms;
        }
    }
    view
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
