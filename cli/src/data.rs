//! `consort data`: data sets that lie encrypted.

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use consort_contract::Label;
use consort_vault::sealed_data::{Header, SealedDataError, seal};
use consort_vault::{DataKey, KeyName};

use crate::failure::{Failure, at};

/// What can be done with a data set.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Encrypt a data set under the newest version of a data key. Run it where the broker's files are
    Encrypt {
        /// The broker's configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        broker: PathBuf,
        /// The data key, as the broker's configuration names it
        #[arg(long, value_name = "ID")]
        key_id: Label,
        /// The data set in plain text (CSV); it is read, never written
        #[arg(long = "in", value_name = "FILE")]
        input: PathBuf,
        /// The encrypted data set; replaced in one step if it is there
        #[arg(long = "out", value_name = "FILE")]
        output: PathBuf,
    },
    /// Tell which key an encrypted data set lies under. Needs no key, and believes the file
    Show {
        /// The encrypted data set
        file: PathBuf,
    },
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Encrypt {
            broker,
            key_id,
            input,
            output,
        } => {
            let config = crate::broker::load(&broker)?;
            let (name, key) = consort_broker::newest_key(&config, &key_id)
                .await
                .map_err(crate::broker::failed)?;
            encrypt(&input, &output, &name, &key)?;
            println!("{} lies under {name}", output.display());
            Ok(())
        }
        Command::Show { file } => {
            let mut opened = File::open(&file).map_err(at(&file))?;
            let header = Header::read(&mut opened).map_err(|error| unusable(&file, &error))?;
            println!("{}", header.key);
            Ok(())
        }
    }
}

/// Encrypts a file in one step: what stands at `output` is whole, or what it was.
pub(crate) fn encrypt(
    input: &Path,
    output: &Path,
    name: &KeyName,
    key: &DataKey,
) -> Result<(), Failure> {
    let plain = BufReader::new(File::open(input).map_err(at(input))?);
    let mut temporary = output.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(at(&temporary))?;
    let sealed = seal(plain, &mut file, key, name).map_err(|error| unusable(input, &error));
    let written = sealed.and_then(|()| {
        file.flush()
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&temporary, output))
            .map_err(at(output))
    });
    if written.is_err() {
        // It is no encrypted data set, and nothing of it is plain.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn unusable(path: &Path, error: &SealedDataError) -> Failure {
    Failure::failed(error.code(), format!("{}: {error}", path.display()))
}
