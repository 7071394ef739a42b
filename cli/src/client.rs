//! A client of the coordinator's operators' port: TLS with a pinned certificate, and a bearer token.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use consort_daemon::config;
use consort_proto::wire::job::v1::job_service_client::JobServiceClient;
use consort_proto::wire::model::v1::model_service_client::ModelServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::failure::Failure;

/// A coordinator on the same continent answers well inside it; a wrong address is noticed soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Without it a dead coordinator leaves a watched job silent for ever.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How to reach the coordinator.
#[derive(Debug, Clone, Args)]
pub(crate) struct Access {
    /// The coordinator's operators' port, for instance <https://127.0.0.1:7401>
    #[arg(long, value_name = "URL", env = "CONSORT_COORDINATOR")]
    pub(crate) coordinator: String,
    /// Certificate that the coordinator proves itself with (PEM)
    #[arg(long, value_name = "FILE", env = "CONSORT_CA")]
    pub(crate) ca: PathBuf,
    /// File with the operator's token
    #[arg(long, value_name = "FILE", env = "CONSORT_TOKEN_FILE")]
    pub(crate) token_file: PathBuf,
}

/// Clients of the operators' services.
pub(crate) struct Operators {
    /// Jobs.
    pub(crate) jobs: JobServiceClient<InterceptedService<Channel, Bearer>>,
    /// Models.
    pub(crate) models: ModelServiceClient<InterceptedService<Channel, Bearer>>,
}

impl Access {
    /// Connects.
    ///
    /// # Errors
    /// A [`Failure`] that names the file or the address.
    pub(crate) async fn connect(&self) -> Result<Operators, Failure> {
        let certificate = Certificate::from_pem(config::read(&self.ca)?);
        let token = config::read(&self.token_file)?;
        let header = format!("Bearer {}", token.trim());
        let header = header.parse().map_err(|_| {
            let file = self.token_file.display();
            Failure::usage("token_malformed", format!("{file} holds no token"))
        })?;
        let unusable = |error| {
            let what = format!("{} is no https address: {error}", self.coordinator);
            Failure::usage("coordinator_address", what)
        };
        let channel = Endpoint::from_shared(self.coordinator.clone())
            .map_err(unusable)?
            .tls_config(ClientTlsConfig::new().ca_certificate(certificate))
            .map_err(unusable)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let bearer = Bearer(header);
        Ok(Operators {
            jobs: JobServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            models: ModelServiceClient::with_interceptor(channel, bearer),
        })
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> Failure {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        let what = format!(
            "the coordinator at {} cannot be reached ({text}); check that it runs and that the certificate is its own",
            self.coordinator
        );
        Failure::failed("coordinator_unreachable", what)
    }
}

/// Adds the token to every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}
