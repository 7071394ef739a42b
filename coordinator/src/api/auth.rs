//! The operators' token.

use std::path::Path;

use consort_daemon::config::{self, ConfigError};
use consort_proto::errors;
use subtle::ConstantTimeEq;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};

/// Fewest characters of a token: 128 bits in hexadecimal.
const MIN_TOKEN_CHARACTERS: usize = 32;

/// Checks `authorization: Bearer TOKEN`.
///
/// # Security
/// The comparison takes the same time for every token of the right length. Whoever has the token may submit jobs and
/// download released models; it opens nothing of the members.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Reads the token's file.
    ///
    /// # Errors
    /// [`ConfigError`] when there is none, or it is short.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::new(config::read(path)?.trim()).ok_or_else(|| {
            ConfigError::invalid(
                path,
                format!("a token has at least {MIN_TOKEN_CHARACTERS} characters"),
            )
        })
    }

    fn new(token: &str) -> Option<Self> {
        (token.len() >= MIN_TOKEN_CHARACTERS).then(|| Self(token.to_owned()))
    }

    fn admits(&self, metadata: &MetadataMap) -> bool {
        let shown = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let shown = shown
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        shown.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({} characters)", self.0.len())
    }
}

impl Interceptor for Token {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.admits(request.metadata()) {
            return Ok(request);
        }
        let message = "the header `authorization: Bearer TOKEN` is missing or wrong; the token is in the coordinator's token_file";
        Err(errors::status(
            Code::Unauthenticated,
            "operator_token",
            message,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn asked_with(header: Option<&str>) -> Result<Request<()>, Status> {
        let mut request = Request::new(());
        if let Some(header) = header {
            request
                .metadata_mut()
                .insert("authorization", header.parse().unwrap());
        }
        Token::new(TOKEN).unwrap().call(request)
    }

    #[test]
    fn a_call_with_the_token_passes_and_any_other_is_refused() {
        assert!(asked_with(Some(&format!("Bearer {TOKEN}"))).is_ok());
        let longer = format!("Bearer {TOKEN}0");
        let shorter = format!("Bearer {}", &TOKEN[1..]);
        for header in [
            None,
            Some("Bearer "),
            Some(TOKEN),
            Some(longer.as_str()),
            Some(shorter.as_str()),
            Some(""),
        ] {
            let refused = asked_with(header).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{header:?}");
            assert_eq!(errors::code_of(&refused).as_deref(), Some("operator_token"));
        }
    }

    #[test]
    fn a_short_token_is_no_token_and_none_is_printed() {
        assert!(Token::new("short").is_none());
        assert_eq!(
            format!("{:?}", Token::new(TOKEN).unwrap()),
            "Token(32 characters)"
        );
    }
}
