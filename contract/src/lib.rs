//! consort-contract.
