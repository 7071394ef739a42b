//! consort-privacy.
