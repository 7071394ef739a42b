//! The one place that knows the `dcap-qvl` crate: quotes of Intel TDX, Intel's collateral for them, and the crate's verdict.
//!
//! The crate takes bytes behind a quote for nothing, and where collateral brings a certificate chain it does not look at the one in
//! the quote. A quote is taken here only when the crate's re-encoding of what it parsed is the very bytes that came, and
//! collateral never brings a chain. Which check comes when stands in [`crate::verify`].

mod collateral;
mod library;
mod quote;

pub(crate) use collateral::Collateral;
pub(crate) use library::{Appraisal, VERDICTS, appraise};
pub(crate) use quote::{
    KNOWN_VERSIONS, PlatformFlags, Quote, Td, platform_id, version, without_padding,
};
