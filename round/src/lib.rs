//! consort-round.
