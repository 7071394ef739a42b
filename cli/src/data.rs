//! `consort data`: data sets that lie encrypted.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use consort_contract::Label;
use consort_vault::sealed_data::{Header, MAX_HEADER_BYTES, SealedDataError, seal};
use consort_vault::{DataKey, KeyName};
use serde_json::json;

use crate::failure::{Failure, at};
use crate::said::said;

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
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Tell which key an encrypted data set lies under. Needs no key, and believes the file
    Show {
        /// The encrypted data set
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
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
            json,
        } => {
            let config = crate::broker::load(&broker)?;
            let (name, key) = consort_broker::newest_key(&config, &key_id)
                .await
                .map_err(crate::broker::failed)?;
            encrypt(&input, &output, &name, &key)?;
            let text = format!("{} lies under {name}", output.display());
            said(
                json,
                &json!({ "file": output, "key": name.to_string() }),
                text,
            );
            Ok(())
        }
        Command::Show { file, json } => {
            let mut opened = File::open(&file).map_err(at(&file))?;
            let header = Header::read(&mut opened).map_err(|error| unusable(&file, &error))?;
            said(json, &json!({ "key": header.key.to_string() }), &header.key);
            Ok(())
        }
    }
}

/// Encrypts a file in one step: what stands at `output` is whole, or what it was. The input is never what is replaced.
pub(crate) fn encrypt(
    input: &Path,
    output: &Path,
    name: &KeyName,
    key: &DataKey,
) -> Result<(), Failure> {
    let mut temporary = output.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let plain = File::open(input).map_err(at(input))?;
    for written in [output, &temporary] {
        if is_file(&plain, written).map_err(at(written))? {
            return Err(Failure::usage(
                "data_output_is_input",
                format!(
                    "{} is the data set that is to be read, and would be replaced; choose another --out",
                    written.display()
                ),
            ));
        }
    }
    let plain = not_sealed(BufReader::new(plain), input)?;
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

/// Whether a path, all symbolic links followed, leads to this open file.
fn is_file(opened: &File, path: &Path) -> std::io::Result<bool> {
    let opened = opened.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The content from its start, unless it begins with the header of a sealed data set: nobody means to seal one twice, and no
/// participant would open it. Reads ahead instead of seeking: the input may be a pipe.
fn not_sealed(mut from: impl Read, path: &Path) -> Result<impl Read, Failure> {
    let longest = 4 + MAX_HEADER_BYTES;
    let mut start = Vec::with_capacity(longest);
    from.by_ref()
        .take(longest as u64)
        .read_to_end(&mut start)
        .map_err(at(path))?;
    if let Ok(header) = Header::read(&mut start.as_slice()) {
        return Err(Failure::usage(
            "data_sealed_already",
            format!(
                "{} is encrypted already, under {}; give the data set in plain text",
                path.display(),
                header.key
            ),
        ));
    }
    Ok(std::io::Cursor::new(start).chain(from))
}

fn unusable(path: &Path, error: &SealedDataError) -> Failure {
    Failure::failed(error.code(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_vault::sealed_data::Reader;

    const PLAIN: &[u8] = b"age,sick\n50,1\n";

    fn name() -> KeyName {
        KeyName {
            key_id: Label::new("records-key").unwrap(),
            version: 1,
            data_set: Label::new("records").unwrap(),
        }
    }

    #[test]
    fn a_data_set_is_never_encrypted_over_itself_under_whatever_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (input, link, other) = (path("in.new"), path("link"), path("hard"));
        std::fs::write(&input, PLAIN).unwrap();
        std::os::unix::fs::symlink(&input, &link).unwrap();
        std::fs::hard_link(&input, &other).unwrap();
        let dotted = folder.path().join(".").join("in.new");
        for (from, to) in [
            (&input, &input),
            (&input, &dotted),
            (&input, &link),
            (&link, &input),
            (&input, &other),
            // Its temporary file is the input.
            (&input, &path("in")),
        ] {
            let refused = encrypt(from, to, &name(), &DataKey::random()).unwrap_err();
            assert_eq!(refused.code, "data_output_is_input", "{from:?} {to:?}");
            assert_eq!(std::fs::read(&input).unwrap(), PLAIN);
        }
        assert!(!path("in").exists());
    }

    #[test]
    fn a_data_set_is_encrypted_whole_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = DataKey::random();
        for plain in [b"".as_slice(), PLAIN, &[b'x'; 200_000]] {
            std::fs::write(path("in"), plain).unwrap();
            encrypt(&path("in"), &path("out"), &name(), &key).unwrap();
            let mut file = File::open(path("out")).unwrap();
            let header = Header::read(&mut file).unwrap();
            let opened = Reader::new(file, &header, &key).unwrap().read_all(0);
            assert_eq!(*opened.unwrap(), plain);
            let refused = encrypt(&path("out"), &path("twice"), &name(), &key).unwrap_err();
            assert_eq!(refused.code, "data_sealed_already");
            assert!(!path("twice").exists());
        }
    }
}
