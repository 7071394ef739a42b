//! The `consort` program as the stories start it: cargo shows a test only the programs of its own package.

use std::process::ExitCode;

fn main() -> ExitCode {
    consort_cli::run(std::env::args_os())
}
