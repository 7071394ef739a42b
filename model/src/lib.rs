//! consort-model.
