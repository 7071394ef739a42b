mod cluster;
mod stories;
