//! consort-contract.

pub mod features;

pub use features::{DataSchema, FeatureSpec, MissingValues, SchemaError, TargetSpec};
