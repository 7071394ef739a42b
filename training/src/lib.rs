//! consort-training.
