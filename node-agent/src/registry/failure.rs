//! What a registry's refusal means, in one sentence.

use agentvm_crds::conditions::ImageReason;
use oci_client::errors::{OciDistributionError, OciErrorCode};

use crate::problem::{Problem, StartReason};

/// The problem behind a failed pull: always one that a later attempt may not have.
pub(super) fn pull_failed(image: &str, error: &OciDistributionError) -> Problem {
    let message = if is_not_found(error) {
        format!("image {image} is not in its registry; push it, or correct spec.image")
    } else if is_unauthorized(error) {
        format!("image {image}: its registry does not let us read it without credentials")
    } else if matches!(
        error,
        OciDistributionError::ImageIndexParsingNoPlatformResolverError
    ) {
        let message = format!("image {image} is an index of images; name the Wasm artifact itself");
        return Problem::new(StartReason::Image(ImageReason::InvalidModule), message);
    } else {
        format!("image {image}: {}", chain(error))
    };
    Problem::new(StartReason::Image(ImageReason::ImagePullFailed), message)
}

fn is_not_found(error: &OciDistributionError) -> bool {
    if let OciDistributionError::RegistryError { envelope, .. } = error {
        return envelope.errors.iter().any(|error| {
            matches!(
                error.code,
                OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown
            )
        });
    }
    matches!(
        error,
        OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. }
    )
}

fn is_unauthorized(error: &OciDistributionError) -> bool {
    matches!(
        error,
        OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
    )
}

/// The error and its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
