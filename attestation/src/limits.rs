//! What a connection may take at most; a policy may ask for less.

use std::time::Duration;

/// How long handshake and exchange may take together, where the policy does not say less. It is some 15 ms on good days;
/// firmware may throttle, links may be slow.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection lives at most before its daemon closes it and the peer attests anew; the policy's
/// [`crate::policy::SessionRules::max_age`] may say less.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(60 * 60);

/// How much longer than its age a connection lives whose peer does not leave by itself: what is under way may end.
pub const AGE_GRACE: Duration = Duration::from_secs(30);

/// The most bytes of a frame. Evidence is at most 16 KiB; there is room for other hardware's and nothing more.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
