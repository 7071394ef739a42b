//! What is said on the wire, held to the schema's bounds ([`bounds`]), long messages in [`parts`] and what many members get held once ([`handout`]), the only border between wire
//! and domain ([`convert`]), and errors as gRPC says them ([`errors`]).

pub mod bounds;
pub mod convert;
pub mod errors;
pub mod handout;
pub mod parts;

#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    reason = "generated from the commented .proto files"
)]
pub mod wire {
    //! Generated messages and services, one module per package.
    pub mod job {
        pub mod v1 {
            tonic::include_proto!("consort.job.v1");
        }
    }
    pub mod consent {
        pub mod v1 {
            tonic::include_proto!("consort.consent.v1");
        }
    }
    pub mod round {
        pub mod v1 {
            tonic::include_proto!("consort.round.v1");
        }
    }
    pub mod model {
        pub mod v1 {
            tonic::include_proto!("consort.model.v1");
        }
    }
    pub mod events {
        pub mod v1 {
            tonic::include_proto!("consort.events.v1");
        }
    }
    pub mod uplink {
        pub mod v1 {
            tonic::include_proto!("consort.uplink.v1");
        }
    }
    pub mod audit {
        pub mod v1 {
            tonic::include_proto!("consort.audit.v1");
        }
    }
    pub mod keys {
        pub mod v1 {
            tonic::include_proto!("consort.keys.v1");
        }
    }
    pub mod manifest {
        pub mod v1 {
            tonic::include_proto!("consort.manifest.v1");
        }
    }
}

/// The compiled schema with its bounds, for reflection and for the tests that walk it.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
