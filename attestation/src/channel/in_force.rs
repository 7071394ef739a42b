//! What holds now: the rules that peers are judged by, and the sessions that were let in under them. Rules are replaced as one;
//! the sessions are then judged again by the evidence they came with, and those that fail are cut, each alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::SystemTime;

use tokio::time::Instant;

use super::error::RefusalCause;
use super::peer::{PeerDirectory, VerifiedPeer};
use crate::limits::AGE_GRACE;
use crate::statements::SessionContext;
use crate::verify::{Expected, Verifier};

/// Names a manifest. Both sides say theirs first, so that a difference is told apart from bad evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestId {
    /// Its version.
    pub version: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// By what peers are judged, and what connections are about.
pub struct Rules {
    /// Who judges a peer's evidence.
    pub verifier: Arc<Verifier>,
    /// Who knows which peers there are.
    pub directory: Arc<dyn PeerDirectory>,
    /// The manifest that all of this follows from.
    pub manifest: ManifestId,
    /// The hash of the manifest before it, to tell a peer that is late from one whose evidence is bad.
    pub replaces: Option<[u8; 32]>,
    /// What connections are about; both sides must have the same. It covers the manifest.
    pub context: SessionContext,
}

impl Rules {
    /// Judges a session again by the evidence that it was opened with.
    fn judge_again(&self, peer: &VerifiedPeer, now: SystemTime) -> Result<(), RefusalCause> {
        let machine = self
            .directory
            .expected(peer.role, &peer.organisation, &peer.identity_key)
            .map_err(RefusalCause::Directory)?;
        let expected = Expected {
            machine: &machine,
            report_data: peer.report_data,
        };
        self.verifier
            .verify(&peer.evidence, &expected, now)
            .map(drop)
            .map_err(RefusalCause::Evidence)
    }
}

/// The rules in force, and the sessions that live under them. All channels of a process share one.
pub struct InForce {
    inner: Mutex<Inner>,
}

struct Inner {
    rules: Arc<Rules>,
    sessions: Vec<Weak<LiveSession>>,
}

/// A session that new rules ended.
#[derive(Debug)]
pub struct Dropped {
    /// Whose it was.
    pub peer: Arc<VerifiedPeer>,
    /// What it failed at.
    pub cause: RefusalCause,
}

impl InForce {
    /// The first rules.
    pub fn new(rules: Rules) -> Self {
        Self {
            inner: Mutex::new(Inner {
                rules: Arc::new(rules),
                sessions: Vec::new(),
            }),
        }
    }

    /// The rules of now. Who decides by them several times keeps them until it is done.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.lock().rules)
    }

    /// How many sessions live.
    pub fn live_sessions(&self) -> usize {
        let mut inner = self.lock();
        inner.sessions.retain(|session| session.strong_count() > 0);
        inner.sessions.len()
    }

    /// Puts other rules in force. Sessions that live are judged again by the evidence they came with; those that fail are cut
    /// before this returns.
    ///
    /// # Security
    /// A session that is opened meanwhile is judged by the new rules too, before it is let in. What a session has said already
    /// is not taken back.
    pub fn replace(&self, rules: Rules, now: SystemTime) -> Vec<Dropped> {
        let rules = Arc::new(rules);
        let mut inner = self.lock();
        inner.rules = Arc::clone(&rules);
        let sessions: Vec<_> = inner.sessions.iter().filter_map(Weak::upgrade).collect();
        // Judging takes milliseconds for each: nobody waits for the lock meanwhile.
        drop(inner);
        let judged = sessions.into_iter().filter_map(|session| {
            let cause = rules.judge_again(&session.peer, now).err()?;
            session.cut();
            let peer = Arc::clone(&session.peer);
            Some(Dropped { peer, cause })
        });
        judged.collect()
    }

    /// Cuts the sessions that are older than the policy of now lets them be, after [`AGE_GRACE`], and says how many those are. Whoever has
    /// rules in force calls it now and then, so that a shorter age holds for sessions that were opened under a longer one.
    pub fn cut_aged(&self) -> usize {
        let (rules, sessions) = {
            let inner = self.lock();
            let sessions: Vec<_> = inner.sessions.iter().filter_map(Weak::upgrade).collect();
            (Arc::clone(&inner.rules), sessions)
        };
        let oldest = rules.verifier.policy().session().max_age + AGE_GRACE;
        let is_over =
            |session: &&Arc<LiveSession>| session.opened.elapsed() > oldest && !session.is_cut();
        let over = sessions.iter().filter(is_over);
        over.map(|session| session.cut()).count()
    }

    /// Lets a session live that was judged by these rules: if others are in force by now, it is judged by them.
    pub(super) fn admit(
        &self,
        peer: VerifiedPeer,
        mut judged_by: Arc<Rules>,
        now: SystemTime,
    ) -> Result<Arc<LiveSession>, (VerifiedPeer, RefusalCause)> {
        loop {
            let mut inner = self.lock();
            if Arc::ptr_eq(&inner.rules, &judged_by) {
                let session = Arc::new(LiveSession::new(peer));
                inner.sessions.retain(|session| session.strong_count() > 0);
                inner.sessions.push(Arc::downgrade(&session));
                return Ok(session);
            }
            judged_by = Arc::clone(&inner.rules);
            drop(inner);
            if let Err(cause) = judged_by.judge_again(&peer, now) {
                return Err((peer, cause));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics between two changes under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session that was let in; its stream owns it.
#[derive(Debug)]
pub(super) struct LiveSession {
    peer: Arc<VerifiedPeer>,
    opened: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    /// Who reads the stream, to be woken when it is cut.
    reader: Option<Waker>,
}

impl LiveSession {
    fn new(peer: VerifiedPeer) -> Self {
        Self {
            peer: Arc::new(peer),
            opened: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> &Arc<VerifiedPeer> {
        &self.peer
    }

    /// Whether the session was ended. If not, the task of this context is woken when it is.
    pub(super) fn is_cut_or_wakes(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.cut {
            match &mut state.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                None => state.reader = Some(cx.waker().clone()),
            }
        }
        state.cut
    }

    /// Whether the session was ended.
    pub(super) fn is_cut(&self) -> bool {
        self.lock().cut
    }

    fn cut(&self) {
        let reader = {
            let mut state = self.lock();
            state.cut = true;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
