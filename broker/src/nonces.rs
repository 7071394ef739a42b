//! Nonces: drawn for one session, good for one release, and gone after a minute or with the process, so that none is good twice
//! across a restart either.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consort_proto::convert::NONCE_BYTES;
use rand_core::{OsRng, RngCore};

/// How long a nonce is good for: evidence takes milliseconds on idle firmware and seconds on firmware that throttles.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60);

/// Nonces that are good at a time. One participant needs one for each of its data sets; the oldest goes when there are more.
const MOST: usize = 64;

/// The name of the session that a nonce was drawn in.
pub(crate) type Session = [u8; 32];

/// The nonces that are good.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    drawn: BTreeMap<[u8; NONCE_BYTES], (Session, Instant)>,
}

impl Nonces {
    /// Draws a nonce for a session.
    pub(crate) fn draw(&mut self, session: Session, now: Instant) -> [u8; NONCE_BYTES] {
        self.drawn
            .retain(|_, (_, drawn)| now.saturating_duration_since(*drawn) < LIFETIME);
        while self.drawn.len() >= MOST {
            let oldest = self.drawn.iter().min_by_key(|(_, (_, drawn))| *drawn);
            let Some(oldest) = oldest.map(|(nonce, _)| *nonce) else {
                break;
            };
            self.drawn.remove(&oldest);
        }
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        self.drawn.insert(nonce, (session, now));
        nonce
    }

    /// Whether a nonce was drawn for this session within its time and not used. It is used now, whatever the answer is.
    pub(crate) fn spend(
        &mut self,
        nonce: &[u8; NONCE_BYTES],
        session: &Session,
        now: Instant,
    ) -> bool {
        self.drawn.remove(nonce).is_some_and(|(of, drawn)| {
            of == *session && now.saturating_duration_since(drawn) < LIFETIME
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_in_its_session_and_within_its_time() {
        let (mut nonces, start) = (Nonces::default(), Instant::now());
        let nonce = nonces.draw([1; 32], start);
        assert!(nonces.spend(&nonce, &[1; 32], start));
        assert!(!nonces.spend(&nonce, &[1; 32], start));

        let nonce = nonces.draw([1; 32], start);
        assert!(!nonces.spend(&nonce, &[2; 32], start), "another session");
        assert!(!nonces.spend(&nonce, &[1; 32], start), "used up by it");

        let nonce = nonces.draw([1; 32], start);
        assert!(!nonces.spend(&nonce, &[1; 32], start + LIFETIME));
        assert!(!nonces.spend(&[0; 32], &[1; 32], start), "never drawn");
    }

    #[test]
    fn more_challenges_than_are_kept_drop_the_oldest() {
        let (mut nonces, start) = (Nonces::default(), Instant::now());
        let tick = |i: usize| start + Duration::from_millis(u64::try_from(i).unwrap());
        let drawn: Vec<_> = (0..=MOST).map(|i| nonces.draw([1; 32], tick(i))).collect();
        assert_eq!(nonces.drawn.len(), MOST);
        assert!(!nonces.spend(&drawn[0], &[1; 32], tick(MOST)));
        assert!(nonces.spend(&drawn[1], &[1; 32], tick(MOST)));
    }
}
