//! Writes the files of a consortium: the same that people write by hand, made with the same commands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use consort_contract::{ConsortiumId, JobDocument, JobKind, Label, OrganisationId};
use consort_coordinator::config::OperatorsConfig;
use consort_daemon::config;
use consort_participant::ParticipantError;
use consort_participant::config::DatasetConfig;
use consort_participant::consent::ConsentPolicy;
use serde::Serialize;

use super::brokers;
use super::documents::{PURPOSE, job_document, node, policy};
use super::jobs::DemoJob;
use super::options::Plan;
use super::ports::Ports;
use super::site::TRAIN_FILE;
use crate::client::Access;
use crate::failure::{Failure, at};
use crate::{manifest, roster, simulated};

/// Name of the coordinator in the roster, and of its folder.
pub(crate) const COORDINATOR: &str = "coordinator";

/// Name of every configuration file.
const CONFIG_FILE: &str = "config.toml";

/// What the consortium's manifest is made from.
const POLICY_FILE: &str = "policy.toml";

/// Where the parts of the demo lie and listen.
pub(crate) struct Layout {
    root: PathBuf,
    ports: Ports,
    simulated_root: String,
    /// The job document.
    pub(crate) document: JobDocument,
}

impl Layout {
    /// Writes everything, from the simulated vendor to the job.
    ///
    /// # Errors
    /// A [`Failure`] that names the file, or a folder that is not empty.
    pub(crate) async fn write(root: &Path, plan: &Plan) -> Result<Self, Failure> {
        refuse_used(root)?;
        std::fs::create_dir_all(root).map_err(at(root))?;
        let root = root.canonicalize().map_err(at(root))?;
        let simulated_root = simulated::init(&root.join("simulated"))?;
        write(&root.join(POLICY_FILE), &policy(&simulated_root))?;
        let ports = Ports::hold(plan.sites.len(), plan.sealed_data)?;
        let document = job_document(&plan.job, plan)?;
        let layout = Self {
            root,
            ports,
            simulated_root,
            document,
        };
        layout.write_coordinator()?;
        for (index, (site, metrics)) in plan.sites.iter().zip(&layout.ports.metrics).enumerate() {
            let folder = layout.folder(&site.name);
            site.write(&folder).map_err(at(&folder))?;
            let broker = layout.ports.brokers.get(index).copied();
            layout.write_participant(&site.name, *metrics, broker, &plan.job)?;
        }
        let text = serde_json::to_string_pretty(&layout.document);
        let text = text.map_err(|error| Failure::failed("job_json", error))?;
        write(&layout.root.join("job.json"), &text)?;
        layout.found(plan).await?;
        Ok(layout)
    }

    /// The folder of the coordinator or of a member.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The configuration file of the coordinator or of a member.
    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.folder(name).join(CONFIG_FILE)
    }

    /// Where the clinics' brokers listen, in the clinics' order; none unless the data lies encrypted.
    pub(super) fn brokers(&self) -> &[SocketAddr] {
        &self.ports.brokers
    }

    /// Makes the brokers, once everything else is there, where the data is to lie encrypted.
    ///
    /// # Errors
    /// A [`Failure`] that names the file.
    pub(super) async fn encrypt(&self, plan: &Plan) -> Result<(), Failure> {
        if plan.sealed_data {
            brokers::prepare(self, plan, &self.simulated_root).await?;
        }
        Ok(())
    }

    /// Where a clinic's records to train on lie plain.
    pub(super) fn plain_records(&self, site: &str, plan: &Plan) -> PathBuf {
        let folder = if plan.sealed_data {
            self.folder(&brokers::broker_of(site))
        } else {
            self.folder(site)
        };
        folder.join(TRAIN_FILE)
    }

    /// The coordinator's audit log.
    pub(crate) fn audit(&self) -> PathBuf {
        self.folder(COORDINATOR).join("state/audit")
    }

    /// How an operator reaches the coordinator.
    pub(crate) fn access(&self) -> Access {
        let folder = self.folder(COORDINATOR);
        Access {
            coordinator: format!("https://{}", self.ports.operators),
            ca: folder.join("tls/cert.pem"),
            token_file: folder.join("operator.token"),
        }
    }

    fn write_coordinator(&self) -> Result<(), Failure> {
        let config = consort_coordinator::Config {
            participants_address: self.ports.participants,
            operators_address: self.ports.operators,
            node: node(COORDINATOR, self.ports.coordinator_metrics),
            operators: OperatorsConfig {
                certificate: "tls/cert.pem".into(),
                key: "tls/key.pem".into(),
                token_file: "operator.token".into(),
            },
        };
        self.write_config(COORDINATOR, &config)
    }

    fn write_participant(
        &self,
        name: &str,
        metrics: SocketAddr,
        broker: Option<SocketAddr>,
        job: &DemoJob,
    ) -> Result<(), Failure> {
        let dataset = label(job.name)?;
        let records = match broker {
            Some(_) => brokers::dataset(job)?,
            None => DatasetConfig {
                path: TRAIN_FILE.into(),
                key_id: None,
            },
        };
        let config = consort_participant::Config {
            node: node(name, metrics),
            coordinator: self.ports.participants.to_string(),
            broker: broker.map(|address| brokers::pinned(name, address)),
            consent: "consent.toml".into(),
            datasets: BTreeMap::from([(dataset.clone(), records)]),
        };
        self.write_config(name, &config)?;
        // Room for one job of the asked epsilon, counted at the job's delta; rounding of the noise is on the safe side.
        let consent = ConsentPolicy {
            purposes: vec![label(PURPOSE)?],
            datasets: vec![dataset],
            kinds: vec![JobKind::Training, JobKind::Stats, JobKind::Evaluate],
            max_epsilon_per_job: job.epsilon,
            max_epsilon_lifetime: job.epsilon,
            delta: job.delta,
            min_cohort: 3,
            max_parameters: 1_000_000,
            automatic: true,
        };
        write(&self.folder(name).join("consent.toml"), &to_toml(&consent)?)
    }

    fn write_config(&self, name: &str, config: &impl Serialize) -> Result<(), Failure> {
        let folder = self.folder(name);
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        write(&self.config(name), &to_toml(config)?)
    }

    /// Keys, roster, manifest and signatures: `init` of everybody, `roster new`, `manifest new`, `sign-roster` and `manifest sign`
    /// of every member.
    async fn found(&self, plan: &Plan) -> Result<(), Failure> {
        let config = consort_coordinator::Config::load(&self.config(COORDINATOR))?;
        let coordinator = consort_coordinator::init(&config)
            .map_err(|error| Failure::failed(error.code(), error))?;
        let mut members = BTreeMap::new();
        let mut configs = Vec::new();
        for site in &plan.sites {
            let config = consort_participant::Config::load(&self.config(&site.name))?;
            let entry = consort_participant::init(&config)
                .await
                .map_err(|error| Failure::failed(error.code(), error))?;
            members.insert(organisation(&site.name)?, entry);
            configs.push(config);
        }
        let consortium =
            ConsortiumId::new("demo").map_err(|error| Failure::failed(error.code(), error))?;
        let roster = roster::write(
            &self.root.join("roster.json"),
            consortium,
            coordinator,
            members,
        )?;
        let policy = config::read(&self.root.join(POLICY_FILE))?;
        let document = manifest::document(&roster, policy, None)?;
        manifest::write(&self.root.join("manifest.json"), document)?;
        let refused = |error: ParticipantError| Failure::refused(error.code(), error);
        for config in &configs {
            consort_participant::sign_roster(config)
                .await
                .map_err(refused)?;
            consort_participant::sign_manifest(config, None)
                .await
                .map_err(refused)?;
        }
        Ok(())
    }
}

/// A folder that holds anything is left alone: it may be another demo's, or something dear.
fn refuse_used(root: &Path) -> Result<(), Failure> {
    let used = std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
    if used || root.is_file() {
        let what = format!(
            "{} is not empty; name a new folder with --dir",
            root.display()
        );
        return Err(Failure::usage("demo_dir_used", what));
    }
    Ok(())
}

pub(super) fn organisation(name: &str) -> Result<OrganisationId, Failure> {
    OrganisationId::new(name).map_err(|error| Failure::failed(error.code(), error))
}

pub(super) fn label(name: &str) -> Result<Label, Failure> {
    Label::new(name).map_err(|error| Failure::failed(error.code(), error))
}

pub(super) fn to_toml(value: &impl Serialize) -> Result<String, Failure> {
    toml::to_string(value).map_err(|error| Failure::failed("config_toml", error))
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(at(path))
}
