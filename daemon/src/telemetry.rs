//! Logs and metrics.

use std::io::IsTerminal;
use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: text, or one JSON object per line. `RUST_LOG` overrides the default level.
pub fn init_logs(json: bool) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,h2=warn,hyper=warn,tonic=warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second call in one process (tests) keeps the first subscriber.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be served on {address}: {source}; choose another metrics_address")]
pub struct MetricsError {
    address: SocketAddr,
    source: metrics_exporter_prometheus::BuildError,
}

impl MetricsError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        "metrics_address"
    }
}

/// Serves `/metrics` in the Prometheus text format. Needs a tokio runtime.
///
/// # Errors
/// [`MetricsError`] when the address cannot be bound.
pub fn serve_metrics(address: SocketAddr) -> Result<(), MetricsError> {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .map_err(|source| MetricsError { address, source })
}
