mod blame;
pub(crate) mod cluster;
mod queries;
mod stories;
mod uploads;
