pub(crate) mod cluster;
mod stories;
mod uploads;
