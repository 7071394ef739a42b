//! `consort simulated`: a vendor of machines made of software.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use consort_attestation::Product;
use consort_attestation::simulated::{ROOTS_FILE, SimulatedVendor};
use consort_contract::identity::hex;
use serde_json::json;

use crate::failure::Failure;
use crate::said::said;

/// The product whose layout simulated evidence has: the one whose chip ids fill all 64 bytes and that is still sold.
pub(crate) const PRODUCT: Product = Product::Genoa;

/// What can be done with simulated machines.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a simulated vendor: its roots and the key that certifies simulated chips
    Init {
        /// Folder to write, which must not hold a vendor yet
        dir: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { dir, json } => {
            let root = init(&dir)?;
            let (vendor, roots) = (dir.display(), dir.join(ROOTS_FILE));
            let text = format!(
                "SIMULATED vendor in {vendor}: its evidence proves nothing about hardware.\n\
                 A policy that accepts it says: dangerous_simulated_roots = [\"{root}\"]\n\
                 and each node's configuration lists {}.",
                roots.display()
            );
            said(
                json,
                &json!({ "dangerous_simulated_root": root, "roots": roots }),
                text,
            );
            Ok(())
        }
    }
}

/// Makes a vendor and tells the hash of its root, hexadecimal.
pub(crate) fn init(dir: &Path) -> Result<String, Failure> {
    if dir.join(ROOTS_FILE).exists() {
        let what = format!(
            "{} holds a simulated vendor already; choose another folder",
            dir.display()
        );
        return Err(Failure::usage("simulated_exists", what));
    }
    let failed = |error: consort_attestation::simulated::SimulationFault| {
        Failure::failed(error.code(), error)
    };
    let vendor = SimulatedVendor::create(PRODUCT, SystemTime::now()).map_err(failed)?;
    std::fs::create_dir_all(dir).map_err(crate::failure::at(dir))?;
    vendor.save(dir).map_err(failed)?;
    Ok(hex(&vendor.root_hash().map_err(failed)?))
}
