//! Errors as gRPC says them: a status with google.rpc.ErrorInfo, whose reason is the error's stable code.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every reason.
pub const DOMAIN: &str = "consort";

/// A status that says what happened, with the stable code as its reason (in upper case, as google.rpc.ErrorInfo wants it).
pub fn status(grpc: Code, code: &str, message: impl std::fmt::Display) -> Status {
    let reason = code.to_uppercase().replace(['.', '-'], "_");
    Status::with_error_details(
        grpc,
        message.to_string(),
        ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new()),
    )
}

/// The stable code of a status that [`status`] made, lower case.
pub fn code_of(status: &Status) -> Option<String> {
    status
        .get_details_error_info()
        .map(|info| info.reason.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_the_trip_through_a_status() {
        let status = status(
            Code::InvalidArgument,
            "job_member_twice",
            "member a is named twice",
        );
        assert_eq!(code_of(&status).as_deref(), Some("job_member_twice"));
        assert_eq!(status.message(), "member a is named twice");
    }
}
