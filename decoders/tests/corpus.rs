//! Replays the corpus: valid messages are accepted, nothing panics, and every decoder has a valid message to start from.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(decoder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(corpus().join(decoder))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

fn is_valid(file: &std::path::Path) -> bool {
    file.file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .starts_with("valid")
}

#[test]
fn every_decoder_has_a_folder_with_a_valid_message_and_every_folder_a_decoder() {
    let decoders: BTreeSet<String> = consort_decoders::all().map(|d| d.name.to_owned()).collect();
    let folders: BTreeSet<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(decoders, folders);
    for decoder in decoders {
        assert!(
            files(&decoder).iter().any(|file| is_valid(file)),
            "{decoder}"
        );
    }
}

#[test]
fn valid_messages_are_accepted_and_nothing_in_the_corpus_panics() {
    for decoder in consort_decoders::all() {
        for file in files(decoder.name) {
            let outcome = (decoder.decode)(&fs::read(&file).unwrap());
            if is_valid(&file) {
                assert_eq!(outcome, Ok(()), "{}", file.display());
            }
        }
    }
}

#[test]
fn a_valid_message_that_is_cut_anywhere_is_refused_or_a_shorter_message() {
    // Protocol buffers and PEM are cut into shorter messages of their kind; encodings with one form are not.
    let one_form = [
        "packed-vector",
        "aggregate-sum",
        "evidence",
        "evidence-wrapper",
        "channel-certificate",
        "tdx-quote",
        "tdx-collateral",
        "parameters",
        "optimizer-state",
        "blame-record",
        "blame-proceedings",
        "split-view",
        "sealed-data-header",
        "sealed-data-start",
        "model-file",
        "sealed-state",
        "stored-spool",
    ];
    for decoder in consort_decoders::all() {
        let valid = fs::read(corpus().join(decoder.name).join("valid")).unwrap();
        for length in 0..valid.len() {
            let outcome = (decoder.decode)(&valid[..length]);
            if one_form.contains(&decoder.name) {
                assert!(outcome.is_err(), "{} of {length} bytes", decoder.name);
            }
            if let Err(code) = outcome {
                assert!(!code.is_empty(), "{}", decoder.name);
            }
        }
    }
}
