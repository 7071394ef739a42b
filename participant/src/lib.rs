//! consort-participant.
