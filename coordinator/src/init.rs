//! What a coordinator needs before it first serves: its identity, the operators' certificate and their token.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use consort_contract::RosterEntry;
use consort_contract::identity::hex;
use rand_core::{OsRng, RngCore};

use crate::config::Config;
use crate::error::ServeError;

/// Makes what is missing and keeps what is there. Gives the coordinator's entry for the roster.
///
/// # Errors
/// [`ServeError`] names the file.
pub fn init(config: &Config) -> Result<RosterEntry, ServeError> {
    let entry = config.node.init(&*config.node.create_state_key_file()?)?;
    let operators = &config.operators;
    if !operators.certificate.exists() || !operators.key.exists() {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
                .map_err(|error| ServeError::Tls {
                    what: "the operators' certificate",
                    problem: error.to_string(),
                })?;
        write(&operators.certificate, made.cert.pem().as_bytes(), 0o644)?;
        write(
            &operators.key,
            made.signing_key.serialize_pem().as_bytes(),
            0o600,
        )?;
    }
    if !operators.token_file.exists() {
        let mut token = [0; 32];
        OsRng.fill_bytes(&mut token);
        write(
            &operators.token_file,
            format!("{}\n", hex(&token)).as_bytes(),
            0o600,
        )?;
    }
    Ok(entry)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ServeError> {
    let written = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(|source| ServeError::Write {
        path: path.to_owned(),
        source,
    })
}
