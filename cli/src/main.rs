//! The `consort` program.
fn main() {}
