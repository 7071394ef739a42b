//! `consort manifest`: writes, signs, checks and shows the policy that evidence is judged by.

mod changes;
mod show;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use consort_attestation::Policy;
use consort_contract::manifest::GENESIS_VERSION;
use consort_contract::{
    Manifest, ManifestDocument, RevocationListBytes, RosterDocument, SignedManifest, SignedRoster,
};
use consort_daemon::config::{self, DaemonConfig};
use consort_daemon::manifest as files;
use consort_daemon::node::{NodeConfig, NodeError};
use consort_vault::StateKey;
use serde_json::json;

use crate::failure::{Failure, at};
use crate::said::said;
use show::Shown;

/// What can be done with manifests.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a manifest from a policy; the organisations sign it with `manifest sign`
    New(New),
    /// Sign a manifest as the organisation of a participant's configuration, after looking at it with `manifest show`
    Sign {
        /// The participant's configuration file (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The manifest; the one that the configuration names if absent
        file: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check every signature of a manifest, and that it follows those before it: exit status 0, or 3 and who or what is missing
    Verify {
        /// The manifest
        file: PathBuf,
        /// The roster that all members signed
        #[arg(long, value_name = "FILE")]
        roster: PathBuf,
        /// The manifests before it, from version 1 on, oldest first; once for each
        #[arg(long, value_name = "FILE")]
        previous: Vec<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say in plain words what a manifest asks for, its fingerprint, and what it changes
    Show {
        /// The manifest
        file: PathBuf,
        /// The manifest before it, to see what changes
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
        /// The roster, to see whose signatures are missing
        #[arg(long, value_name = "FILE")]
        roster: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take manifests that a daemon missed while it was stopped, in order; it then starts with the newest
    Adopt {
        /// The configuration file of a participant or the coordinator (TOML)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The manifests, oldest first
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print JSON, one object per line
        #[arg(long)]
        json: bool,
    },
}

/// A new manifest.
#[derive(Args)]
pub(crate) struct New {
    /// The attestation policy (TOML); `attestation/policy.sample.toml` explains every field
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The roster; it need not be signed yet
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// A revocation list (DER or PEM); once for each. None is taken over from the previous manifest
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// How many organisations must sign the manifest after this one; more than half of them if absent
    #[arg(long, value_name = "K")]
    threshold: Option<u32>,
    /// The manifest in force, which this one follows; none for version 1
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Its version; one more than the previous one's if absent
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Where to write it; the file must not exist yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::New(options) => new(&options),
        Command::Sign { config, file, json } => sign(&config, file.as_deref(), json).await,
        Command::Verify {
            file,
            roster,
            previous,
            json,
        } => verify(&file, &roster, &previous, json),
        Command::Show {
            file,
            previous,
            roster,
            json,
        } => show(&file, previous.as_deref(), roster.as_deref(), json),
        Command::Adopt {
            config,
            files,
            json,
        } => adopt(&config, &files, json).await,
    }
}

fn new(options: &New) -> Result<(), Failure> {
    if options.out.exists() {
        let what = format!(
            "{} exists; it may bear signatures. Choose another file",
            options.out.display()
        );
        return Err(Failure::usage("manifest_exists", what));
    }
    let roster: SignedRoster = config::load_json(&options.roster)?;
    let policy = config::read(&options.policy)?;
    let previous = options.previous.as_deref().map(files::read).transpose();
    let previous = previous.map_err(unusable)?.map(|signed| signed.document);
    let lists = options.crl.iter().map(|path| {
        let bytes = std::fs::read(path).map_err(at(path))?;
        Ok(RevocationListBytes(bytes))
    });
    let mut document = document(&roster.document, policy, options.threshold)?;
    document.revocation_lists = lists.collect::<Result<_, Failure>>()?;
    if let Some(previous) = &previous {
        document.version = previous.version.saturating_add(1);
        document.previous = Some(previous.hash());
    }
    document.version = options.version.unwrap_or(document.version);
    let signed = write(&options.out, document)?;
    let document = &signed.document;
    let (all, next) = (roster.document.members.len(), document.threshold);
    let needed = previous.as_ref().map(|previous| previous.threshold);
    let needs = match needed {
        Some(needed) => format!("it needs {needed} signatures of {all}"),
        None => format!("it needs the signatures of all {all}, as every first manifest does"),
    };
    let text = format!(
        "manifest version {} in {}, not signed yet\n\
         fingerprint {}: members compare it by telephone before they sign\n\
         {needs}\n\
         the manifest after it will need {next}",
        document.version,
        options.out.display(),
        document.hash(),
    );
    let object = json!({
        "manifest": options.out,
        "version": document.version,
        "fingerprint": document.hash().to_string(),
        "signatures_needed": needed.map_or(json!(all), |needed| json!(needed)),
        "threshold": next,
    });
    said(options.json, &object, text);
    Ok(())
}

/// A first manifest: the policy must read, the threshold be one that the roster can have.
pub(crate) fn document(
    roster: &RosterDocument,
    policy: String,
    threshold: Option<u32>,
) -> Result<ManifestDocument, Failure> {
    Policy::from_toml(&policy).map_err(|error| Failure::usage(error.code(), error))?;
    let members = roster.members.len();
    let majority = u32::try_from(members / 2 + 1).unwrap_or(u32::MAX);
    let threshold = threshold.unwrap_or(majority);
    if threshold < majority || usize::try_from(threshold).is_ok_and(|k| k > members) {
        let what = format!(
            "--threshold {threshold}: of {members} organisations it must be {majority} to {members}"
        );
        return Err(Failure::usage("manifest_threshold", what));
    }
    Ok(ManifestDocument {
        consortium: roster.consortium.clone(),
        roster: roster.root(),
        version: GENESIS_VERSION,
        threshold,
        previous: None,
        policy,
        revocation_lists: Vec::new(),
    })
}

/// Writes an unsigned manifest.
pub(crate) fn write(path: &Path, document: ManifestDocument) -> Result<SignedManifest, Failure> {
    let manifest = SignedManifest {
        document,
        signatures: BTreeMap::new(),
    };
    std::fs::write(path, manifest.to_json()).map_err(at(path))?;
    Ok(manifest)
}

async fn sign(config: &Path, file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let config = consort_participant::Config::load(config)?;
    let signed = consort_participant::sign_manifest(&config, file)
        .await
        .map_err(|error| Failure::refused(error.code(), error))?;
    let (version, hash) = (signed.document.version, signed.document.hash());
    if json {
        let signers: Vec<_> = signed.signatures.keys().map(ToString::to_string).collect();
        let object = serde_json::json!({ "version": version, "fingerprint": hash.to_string(), "signed_by": signers });
        println!("{object}");
    } else {
        println!(
            "{} signed manifest version {version} with fingerprint {hash}; it has {} signatures now",
            config.node.organisation,
            signed.signatures.len()
        );
    }
    Ok(())
}

fn verify(file: &Path, roster: &Path, previous: &[PathBuf], json: bool) -> Result<(), Failure> {
    let roster: SignedRoster = config::load_json(roster)?;
    let roster = roster
        .verify()
        .map_err(|error| Failure::refused(error.code(), error))?;
    let mut newest: Option<Manifest> = None;
    for path in previous.iter().map(PathBuf::as_path).chain([file]) {
        let checked = files::read(path).map_err(unusable)?;
        let checked = checked.verify(&roster, newest.as_ref()).map_err(|error| {
            Failure::refused(error.code(), format!("{}: {error}", path.display()))
        })?;
        Policy::from_toml(checked.policy()).map_err(|error| {
            Failure::refused(error.code(), format!("{}: {error}", path.display()))
        })?;
        newest = Some(checked);
    }
    let Some(manifest) = newest else {
        return Ok(());
    };
    let signers: Vec<_> = manifest.signers().map(ToString::to_string).collect();
    if json {
        let object = serde_json::json!({
            "verified": true,
            "version": manifest.version(),
            "fingerprint": manifest.hash().to_string(),
            "signed_by": signers,
        });
        println!("{object}");
    } else {
        println!(
            "manifest version {} holds, signed by {}",
            manifest.version(),
            signers.join(", ")
        );
        println!("fingerprint {}", manifest.hash());
    }
    Ok(())
}

fn show(
    file: &Path,
    previous: Option<&Path>,
    roster: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    let manifest = files::read(file).map_err(unusable)?;
    let previous = previous.map(files::read).transpose().map_err(unusable)?;
    let roster = roster.map(config::load_json::<SignedRoster>).transpose()?;
    let shown = Shown::new(&manifest, previous.as_ref(), roster.as_ref())?;
    if json {
        println!("{}", shown.to_json());
    } else {
        print!("{shown}");
    }
    Ok(())
}

async fn adopt(config: &Path, files: &[PathBuf], json: bool) -> Result<(), Failure> {
    let (node, key) = node_and_key(config).await?;
    let roster: SignedRoster = config::load_json(&node.roster)?;
    let roster = roster
        .verify()
        .map_err(|error| Failure::refused(error.code(), error))?;
    let mut history = node.manifests(&Arc::new(roster), &key).map_err(unusable)?;
    for file in files {
        let taken = history.take(file, &node.roots).map_err(unusable)?;
        let (version, hash) = (taken.manifest.version(), taken.manifest.hash());
        let seen = if taken.known {
            "was pinned already"
        } else {
            "is pinned"
        };
        let text = format!("manifest version {version} with fingerprint {hash} {seen}");
        let object = json!({
            "version": version,
            "fingerprint": hash.to_string(),
            "known": taken.known,
        });
        said(json, &object, text);
    }
    if !json {
        println!("put the newest in place of {}", node.manifest.display());
    }
    Ok(())
}

/// What the configuration of any daemon has, and the key of its state: from its file, or for a participant from its broker.
async fn node_and_key(config: &Path) -> Result<(NodeConfig, Arc<StateKey>), Failure> {
    let node = config::load::<AnyDaemon>(config)?.node;
    let key = if node.dangerous_state_key_file.is_some() {
        node.state_key_file().map_err(unusable)?
    } else {
        let config = consort_participant::Config::load(config)?;
        consort_participant::state_key(&config)
            .await
            .map_err(|error| Failure::refused(error.code(), error))?
    };
    Ok((node, key))
}

fn unusable(error: NodeError) -> Failure {
    Failure::refused(error.code(), error)
}

/// What the configuration of any daemon has; the rest is not looked at.
#[derive(serde::Deserialize)]
struct AnyDaemon {
    node: NodeConfig,
}

impl DaemonConfig for AnyDaemon {
    fn node(&self) -> &NodeConfig {
        &self.node
    }

    fn resolve(&mut self, base: &Path) {
        self.node.resolve(base);
    }
}

#[cfg(test)]
mod tests;
