//! consort-aggregation.
