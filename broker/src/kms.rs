//! An organisation's key in AWS Key Management Service: data keys are made, wrapped and unwrapped there, and the organisation's key
//! never leaves it. Four calls of the service's JSON protocol over TLS, signed with Signature Version 4 (crate `aws-sigv4`).
//!
//! Every call carries the data key's name, data set and date as the encryption context: the service authenticates it with what it
//! wraps, and its own log shows it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consort_daemon::config::ConfigError;
use consort_vault::{DATA_KEY_BYTES, DataKey};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::{Zeroize as _, Zeroizing};

use crate::config::AwsKmsConfig;
use crate::wrapping::{Wrapped, WrappingFault};

/// How long a call may take. The service answers in tens of milliseconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes that are read as an answer: a wrapped key of at most 6144 bytes in base64, with room.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Room for what is asked, beside the key's id: base64 of a wrapped key, names, and the JSON around them.
const ASKED_BYTES: usize = 16 * 1024;

/// The service's name in a signature.
const SERVICE: &str = "kms";

/// A key in the service.
pub(crate) struct AwsKms {
    key_id: String,
    region: String,
    host: String,
    port: u16,
    endpoint: String,
    /// None for plain text, on loopback alone.
    tls: Option<Arc<ClientConfig>>,
    credentials: Credentials,
}

/// Why the service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KmsFault {
    /// The endpoint is none that is spoken to.
    #[error(
        "aws_kms.endpoint = {0:?} must be https://HOST[:PORT]; http:// is spoken to 127.0.0.1 and ::1 alone"
    )]
    Endpoint(String),
    /// The key is named by something that may name another key tomorrow.
    #[error(
        "aws_kms.key_id = {0:?} is an alias: repointed, it would strand every data key wrapped under it; name the key's id or its ARN"
    )]
    Alias(String),
    /// Certificate authorities.
    #[error("aws_kms.ca_file: {0}")]
    Authorities(String),
    /// No credentials.
    #[error("{0} is not in the environment; AWS KMS needs credentials")]
    Credentials(&'static str),
    /// The service is not reached.
    #[error("AWS KMS is not reached at {endpoint}: {problem}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why.
        problem: String,
    },
    /// The service refuses.
    #[error("AWS KMS refuses {operation}: {kind}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The service's own name of the error, for instance `AccessDeniedException`.
        kind: String,
    },
    /// The service's answer is none.
    #[error("the answer of AWS KMS to {0} is not understood")]
    Answer(&'static str),
}

impl KmsFault {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "kms_endpoint",
            Self::Alias(_) => "kms_alias",
            Self::Authorities(_) => "kms_authorities",
            Self::Credentials(_) => "kms_credentials",
            Self::Unreachable { .. } => "kms_unreachable",
            Self::Refused { .. } => "kms_refused",
            Self::Answer(_) => "kms_answer",
        }
    }
}

/// Secrets in base64. Zeroised on drop; no Debug.
#[derive(Deserialize)]
struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What is asked. It borrows its secret: there is no copy that is not zeroised.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Asked<'a> {
    key_id: &'a str,
    encryption_context: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_of_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_blob: Option<&'a str>,
}

/// What is read of an answer. Fields beside these are passed over, as the service's documents ask for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    plaintext: Option<Secret>,
    #[serde(default)]
    ciphertext_blob: Option<String>,
}

impl AwsKms {
    /// A way to the service, with the credentials of the environment. Nothing is asked yet.
    ///
    /// # Errors
    /// [`WrappingFault`].
    pub(crate) fn open(config: &AwsKmsConfig) -> Result<Self, WrappingFault> {
        // `alias/NAME`, or an ARN that ends in it.
        let named = config.key_id.rsplit(':').next();
        if named.is_some_and(|named| named.trim_start().starts_with("alias/")) {
            return Err(KmsFault::Alias(config.key_id.clone()).into());
        }
        let bad = || KmsFault::Endpoint(config.endpoint.clone());
        let uri: Uri = config.endpoint.parse().map_err(|_| bad())?;
        let host = uri.host().ok_or_else(bad)?.to_owned();
        let loopback = matches!(host.as_str(), "127.0.0.1" | "[::1]");
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(trusting(config.ca_file.as_deref())?), 443),
            Some("http") if loopback => (None, 80),
            Some(_) | None => return Err(bad().into()),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad().into());
        }
        Ok(Self {
            key_id: config.key_id.clone(),
            region: config.region.clone(),
            port: uri.port_u16().unwrap_or(port),
            host,
            endpoint: config.endpoint.trim_end_matches('/').to_owned(),
            tls,
            credentials: credentials()?,
        })
    }

    /// The key's name, as wrapped keys carry it.
    pub(crate) fn name(&self) -> String {
        format!("aws-kms/{}/{}", self.region, self.key_id)
    }

    /// Has the service make a data key.
    pub(crate) async fn generate(
        &self,
        what: &Wrapped,
    ) -> Result<(DataKey, Vec<u8>), WrappingFault> {
        const OPERATION: &str = "GenerateDataKey";
        let asked = Asked {
            number_of_bytes: Some(DATA_KEY_BYTES),
            ..self.about(what)
        };
        let answer = self.call(OPERATION, &asked).await?;
        Ok((
            plaintext(&answer, OPERATION)?,
            ciphertext(&answer, OPERATION)?,
        ))
    }

    /// Has the service wrap a data key.
    pub(crate) async fn wrap(
        &self,
        what: &Wrapped,
        key: &DataKey,
    ) -> Result<Vec<u8>, WrappingFault> {
        const OPERATION: &str = "Encrypt";
        let encoded = Zeroizing::new(STANDARD.encode(key.expose()));
        let asked = Asked {
            plaintext: Some(&encoded),
            ..self.about(what)
        };
        let answer = self.call(OPERATION, &asked).await?;
        ciphertext(&answer, OPERATION)
    }

    /// Has the service unwrap a data key. It names the key: what another key of the account wrapped is refused.
    pub(crate) async fn unwrap(
        &self,
        what: &Wrapped,
        wrapped: &[u8],
    ) -> Result<DataKey, WrappingFault> {
        const OPERATION: &str = "Decrypt";
        let encoded = STANDARD.encode(wrapped);
        let asked = Asked {
            ciphertext_blob: Some(&encoded),
            ..self.about(what)
        };
        let answer = self.call(OPERATION, &asked).await?;
        plaintext(&answer, OPERATION)
    }

    fn about(&self, what: &Wrapped) -> Asked<'_> {
        Asked {
            key_id: &self.key_id,
            encryption_context: context(what),
            number_of_bytes: None,
            plaintext: None,
            ciphertext_blob: None,
        }
    }

    async fn call(
        &self,
        operation: &'static str,
        asked: &Asked<'_>,
    ) -> Result<Answer, WrappingFault> {
        let request = self.signed(operation, body(asked))?;
        let sent = tokio::time::timeout(CALL_TIMEOUT, self.send(request)).await;
        let (status, answer) = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(problem)) => return Err(self.unreachable(problem).into()),
            Err(_) => return Err(self.unreachable("no answer in time").into()),
        };
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|_| KmsFault::Answer(operation).into());
        }
        let kind = error_kind(&answer).unwrap_or_else(|| status.to_string());
        Err(KmsFault::Refused { operation, kind }.into())
    }

    fn unreachable(&self, problem: impl std::fmt::Display) -> KmsFault {
        KmsFault::Unreachable {
            endpoint: self.endpoint.clone(),
            problem: problem.to_string(),
        }
    }

    fn signed(
        &self,
        operation: &'static str,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, WrappingFault> {
        let authority = self.endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let headers = [
            ("host", authority.to_owned()),
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("TrentService.{operation}")),
        ];
        let mut request = Request::post("/");
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        // Not a copy: the memory is zeroised when the last user of these bytes drops them.
        let body = Bytes::from_owner(body);
        let mut request = request
            .body(Full::new(body.clone()))
            .map_err(|error| self.unreachable(error))?;
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| self.unreachable(error))?
            .into();
        let address = format!("{}/", self.endpoint);
        let signable = SignableRequest::new(
            "POST",
            address,
            headers.iter().map(|(name, value)| (*name, value.as_str())),
            SignableBody::Bytes(&body),
        );
        let (instructions, _) = signable
            .and_then(|signable| sign(signable, &parameters))
            .map_err(|error| self.unreachable(error))?
            .into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(http::StatusCode, Zeroizing<Vec<u8>>), Box<dyn std::error::Error + Send + Sync>>
    {
        let host = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())?;
                let stream = TlsConnector::from(Arc::clone(tls))
                    .connect(name, stream)
                    .await?;
                exchange(stream, request).await
            }
        }
    }
}

/// One request on a connection of its own: a broker makes a few a day.
async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(http::StatusCode, Zeroizing<Vec<u8>>), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let mut frames = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
    let mut body = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES));
    while let Some(frame) = frames.frame().await {
        if let Some(data) = frame?.data_ref() {
            body.extend_from_slice(data);
        }
    }
    drop(sender);
    // What is left of the connection is of no interest.
    connection.abort();
    Ok((status, body))
}

/// What is asked as JSON, in memory that is taken once, so that no part is left behind where it grew, and zeroised.
fn body(asked: &Asked<'_>) -> Zeroizing<Vec<u8>> {
    // A character of the key's id takes six bytes at most, `\u0000`.
    let room = ASKED_BYTES.saturating_add(asked.key_id.len().saturating_mul(6));
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *body, asked).expect("texts and a number are plain JSON");
    body
}

/// What the service authenticates with a wrapped key, and shows in its log.
fn context(what: &Wrapped) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("consort-key-id", what.name.key_id.to_string()),
        ("consort-key-version", what.name.version.to_string()),
        ("consort-data-set", what.name.data_set.to_string()),
        ("consort-created-unix-ms", what.created_unix_ms.to_string()),
    ])
}

fn plaintext(answer: &Answer, operation: &'static str) -> Result<DataKey, WrappingFault> {
    let encoded = answer
        .plaintext
        .as_ref()
        .ok_or(KmsFault::Answer(operation))?;
    let bytes = STANDARD
        .decode(&encoded.0)
        .map(Zeroizing::new)
        .map_err(|_| KmsFault::Answer(operation))?;
    DataKey::from_slice(&bytes).ok_or(WrappingFault::Length)
}

fn ciphertext(answer: &Answer, operation: &'static str) -> Result<Vec<u8>, WrappingFault> {
    let encoded = answer.ciphertext_blob.as_ref();
    let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    Ok(decoded.ok_or(KmsFault::Answer(operation))?)
}

/// The service's own name of an error: `__type`, whose namespace is left out. Its message is not shown: it may repeat what was
/// asked.
fn error_kind(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let kind = answer.get("__type")?.as_str()?;
    let kind = kind.rsplit('#').next()?;
    let printable = kind.chars().filter(char::is_ascii_alphanumeric);
    Some(printable.take(64).collect())
}

fn credentials() -> Result<Credentials, KmsFault> {
    let variable =
        |name: &'static str| std::env::var(name).map_err(|_| KmsFault::Credentials(name));
    Ok(Credentials::new(
        variable("AWS_ACCESS_KEY_ID")?,
        variable("AWS_SECRET_ACCESS_KEY")?,
        variable("AWS_SESSION_TOKEN").ok(),
        None,
        "environment",
    ))
}

fn trusting(file: Option<&Path>) -> Result<Arc<ClientConfig>, WrappingFault> {
    let file = file
        .ok_or_else(|| KmsFault::Authorities("it is missing, and https:// needs it".to_owned()))?;
    let unusable = |problem: String| KmsFault::Authorities(problem);
    let pem = std::fs::read(file).map_err(|source| ConfigError::Read {
        path: file.to_owned(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        // A bundle of a system may hold one that this library does not take; the others still serve.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(unusable(format!("{} holds no certificate authority", file.display())).into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
#[path = "kms_tests.rs"]
mod tests;
