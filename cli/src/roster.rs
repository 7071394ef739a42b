//! `consort roster`: writes the document that says who the consortium is, for its members to sign.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consort_contract::{ConsortiumId, OrganisationId, RosterDocument, RosterEntry, SignedRoster};
use consort_daemon::config;
use serde_json::json;

use crate::failure::{Failure, at};
use crate::said::said;

/// What can be done with rosters.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a genesis roster from the entries that `init` left; every member signs it with `participant sign-roster`
    New(New),
}

/// Entries of a new roster.
#[derive(Args)]
pub(crate) struct New {
    /// The consortium's name (a-z, 0-9 and '-')
    #[arg(long, value_name = "NAME")]
    consortium: ConsortiumId,
    /// The coordinator's entry.json
    #[arg(long, value_name = "FILE")]
    coordinator: PathBuf,
    /// A member's name and entry.json; once for each member
    #[arg(long = "member", value_name = "NAME=FILE", required = true, value_parser = named_file)]
    members: Vec<(OrganisationId, PathBuf)>,
    /// Where to write the roster
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    let Command::New(new) = command;
    let coordinator = config::load_json(&new.coordinator)?;
    let mut members = BTreeMap::new();
    for (name, file) in &new.members {
        if members
            .insert(name.clone(), config::load_json(file)?)
            .is_some()
        {
            return Err(Failure::usage(
                "roster_member_twice",
                format!("member {name} is given twice"),
            ));
        }
    }
    let count = members.len();
    let document = write(&new.out, new.consortium, coordinator, members)?;
    let fingerprint = document.root().to_string();
    let text = format!(
        "roster of {count} members in {}, not signed yet\n\
         fingerprint {fingerprint}: members compare it by telephone before they sign",
        new.out.display()
    );
    let object = json!({ "roster": new.out, "members": count, "fingerprint": fingerprint });
    said(new.json, &object, text);
    Ok(())
}

/// Writes an unsigned genesis roster.
pub(crate) fn write(
    path: &Path,
    consortium: ConsortiumId,
    coordinator: RosterEntry,
    members: BTreeMap<OrganisationId, RosterEntry>,
) -> Result<RosterDocument, Failure> {
    let document = RosterDocument {
        consortium,
        version: 1,
        coordinator,
        members,
    };
    let roster = SignedRoster::assemble(document, &BTreeMap::new());
    let text = serde_json::to_string_pretty(&roster)
        .map_err(|error| Failure::failed("roster_json", error))?;
    std::fs::write(path, text).map_err(at(path))?;
    Ok(roster.document)
}

fn named_file(text: &str) -> Result<(OrganisationId, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write NAME=FILE")?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    Ok((name, PathBuf::from(file)))
}
