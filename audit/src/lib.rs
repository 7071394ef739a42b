//! consort-audit.
