//! The `consort` program.
#[expect(dead_code, reason = "the command that uses it comes next")]
mod demo;

fn main() {}
