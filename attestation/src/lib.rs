//! consort-attestation.
