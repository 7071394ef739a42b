//! `consort model`: fetches a released model and its signed manifest.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use consort_model::MAX_PARAMETERS;
use consort_proto::wire::model::v1::DownloadModelRequest;
use consort_proto::wire::model::v1::download_model_response::Part;

use crate::client::{Access, Operators};
use crate::failure::{Failure, at};
use crate::job::shown;
use crate::view::releases_report;

/// Name of the model's file.
pub(crate) const MODEL_FILE: &str = "model.safetensors";

/// Name of the signed manifest beside it.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// Most bytes of a model file: as many parameters of 4 bytes as a model may have, and room for the header.
const MAX_MODEL_BYTES: u64 = 4 * MAX_PARAMETERS + (1 << 20);

/// What can be done with models.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Fetch the model of a completed job and its signed manifest
    Download(Download),
}

/// A model to fetch.
#[derive(Args)]
pub(crate) struct Download {
    #[command(flatten)]
    access: Access,
    /// The job's id
    id: String,
    /// Folder to write model.safetensors and manifest.json to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Download(download) = command;
    let mut operators = download.access.connect().await?;
    if releases_report(&shown(&mut operators, &download.id).await?) {
        let what = format!(
            "job {0} asks and releases no model; fetch its report with `consort job report {0}`",
            download.id
        );
        return Err(Failure::usage("job_without_model", what));
    }
    fetch(&mut operators, &download.id)
        .await?
        .write(&download.out)?;
    let (model, manifest) = (
        download.out.join(MODEL_FILE),
        download.out.join(MANIFEST_FILE),
    );
    if download.json {
        let object =
            serde_json::json!({ "job": download.id, "model": model, "manifest": manifest });
        println!("{object}");
    } else {
        println!("{}\n{}", model.display(), manifest.display());
    }
    Ok(())
}

/// A released model as it was fetched.
pub(crate) struct Fetched {
    /// The manifest, JSON.
    pub(crate) manifest: Vec<u8>,
    /// The safetensors file.
    pub(crate) model: Vec<u8>,
}

impl Fetched {
    /// Writes both files into a folder, which is created.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        for (name, bytes) in [(MODEL_FILE, &self.model), (MANIFEST_FILE, &self.manifest)] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(at(&path))?;
        }
        Ok(())
    }
}

/// Fetches the model of a job.
pub(crate) async fn fetch(operators: &mut Operators, job: &str) -> Result<Fetched, Failure> {
    let request = DownloadModelRequest {
        job: job.to_owned(),
    };
    let mut parts = operators.models.download_model(request).await?.into_inner();
    let mut fetched = Fetched {
        manifest: Vec::new(),
        model: Vec::new(),
    };
    while let Some(message) = parts.message().await? {
        match message.part {
            Some(Part::Manifest(manifest)) => fetched.manifest = manifest,
            Some(Part::Data(piece)) => fetched.model.extend_from_slice(&piece),
            None => {}
        }
        if fetched.model.len() as u64 > MAX_MODEL_BYTES {
            let what = "the coordinator sends more than the largest model has; nothing was written";
            return Err(Failure::failed("model_too_large", what));
        }
    }
    Ok(fetched)
}
