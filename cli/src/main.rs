//! The `consort` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    consort_cli::run(std::env::args_os())
}
