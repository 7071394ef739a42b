//! `consort demo`: a consortium on one machine, on public data.

pub(crate) mod clinics;
pub(crate) mod flamby;
pub(crate) mod hospitals;
pub(crate) mod jobs;
pub(crate) mod site;

#[cfg(test)]
mod seeds;
