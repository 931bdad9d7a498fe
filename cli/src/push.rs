//! `agentvm push`: a WebAssembly file becomes an OCI artifact in a registry.

mod artifact;
mod credentials;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::{Client, Reference};
use serde::Serialize;

use crate::print::{self, Output};
use artifact::Artifact;

/// Flags of `agentvm push`.
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// The core module or component to push.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where it goes, such as `registry.example.com/team/agent:v1`.
    #[arg(value_name = "REF", value_parser = tagged)]
    reference: Reference,
    /// Speaks plain HTTP to the registry. Default: HTTPS.
    #[arg(long, env = "AGENTVM_INSECURE")]
    insecure: bool,
    #[command(flatten)]
    output: Output,
}

/// What was pushed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pushed {
    /// The reference that names these very bytes for ever: what belongs in `spec.image`.
    reference: String,
    digest: String,
    kind: &'static str,
    size_bytes: usize,
}

/// Pushes `args.file` and prints its digest reference.
pub(crate) fn push(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let artifact = Artifact::read(&args.file)?;
    let auth = credentials::for_registry(args.reference.registry())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(upload(args, &artifact, &auth))?;
    let digest = artifact.manifest_digest();
    let pushed = Pushed {
        reference: format!(
            "{}/{}@{digest}",
            args.reference.registry(),
            args.reference.repository()
        ),
        kind: artifact.kind(),
        size_bytes: artifact.wasm.len(),
        digest,
    };
    print::answer(args.output, &pushed, |it| it.reference.clone())?;
    Ok(ExitCode::SUCCESS)
}

/// Accepts a reference that names a tag, or nothing where `latest` is meant.
fn tagged(text: &str) -> Result<Reference, String> {
    let reference: Reference = text.parse().map_err(|error| format!("{error}"))?;
    match reference.digest() {
        None => Ok(reference),
        Some(_) => Err("it names a digest, which the registry computes: name a tag".to_owned()),
    }
}

async fn upload(
    args: &PushArgs,
    artifact: &Artifact,
    auth: &oci_client::secrets::RegistryAuth,
) -> anyhow::Result<()> {
    let client = client(args.insecure)?;
    let reference = &args.reference;
    client
        .store_auth_if_needed(reference.resolve_registry(), auth)
        .await;
    let pushing = async {
        client
            .push_blob(reference, artifact.wasm.clone(), &artifact.wasm_digest)
            .await?;
        client
            .push_blob(reference, artifact.config.clone(), &artifact.config_digest)
            .await?;
        let content_type = oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
        let content_type = http::HeaderValue::from_static(content_type);
        client
            .push_manifest_raw(reference, artifact.manifest.clone(), content_type)
            .await
    };
    pushing
        .await
        .map_err(explain)
        .with_context(|| format!("cannot push {} to {reference}", args.file.display()))?;
    Ok(())
}

fn client(insecure: bool) -> anyhow::Result<Client> {
    // A second provider is refused and changes nothing: one is there, which is all we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ClientConfig {
        protocol: if insecure {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        connect_timeout: Some(Duration::from_secs(10)),
        read_timeout: Some(Duration::from_mins(1)),
        user_agent: concat!("agentvm/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).context("cannot start an HTTP client")
}

/// Says what the user can do about an error of the registry's, where we know.
fn explain(error: OciDistributionError) -> anyhow::Error {
    if is_unauthorized(&error) {
        return anyhow::anyhow!(
            "the registry wants other credentials: `docker login` writes them (`auths` is read, helpers are not run)"
        );
    }
    if matches!(&error, OciDistributionError::RequestError(request) if request.is_connect()) {
        let advice =
            "no connection: is the registry there, and does it speak HTTPS (else pass --insecure)?";
        return anyhow::Error::new(error).context(advice);
    }
    anyhow::Error::new(error)
}

fn is_unauthorized(error: &OciDistributionError) -> bool {
    matches!(
        error,
        OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::ServerError {
                code: 401 | 403,
                ..
            }
    )
}
