//! consort-proto.
