//! Reads Secrets: by name only, and so that nothing of one is ever in a log or an error.

use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Error, Resource as _};

use crate::mounts::{Object, Values};

/// The `ClusterRole` that lets an agent read the Secrets of a namespace that binds it.
const READER: &str = "agentvm-secret-reader";
/// The binding's name in the command that is told.
const BINDING: &str = "agentvm-secrets";
/// The agents' service account, where the refusal does not name it.
const ACCOUNT: &str = "agentvm-system:agentvm-node-agent";

/// Reads one.
///
/// The answer is decoded here, since the client would log one that it can't decode.
pub(super) async fn read(
    client: &Client,
    object: &Object,
    params: &GetParams,
) -> Result<Values, Error> {
    let path = Secret::url_path(&(), Some(&object.namespace));
    let request = Request::new(path)
        .get(&object.name, params)
        .map_err(Error::BuildRequest)?;
    let text = client.request_text(request).await?;
    let secret: Secret = serde_json::from_str(&text).map_err(|_it_may_quote_the_secret| {
        let why = "the API server's answer is not a Secret";
        Error::SerdeError(serde::de::Error::custom(why))
    })?;
    Ok(Values::from(secret))
}

/// The command that lets whoever was refused read the namespace's Secrets.
pub(super) fn allow_command(namespace: &str, refusal: &str) -> String {
    let user = refusal
        .split_once("User \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(user, _)| user);
    let subject = match user.map(|user| (user, user.strip_prefix("system:serviceaccount:"))) {
        Some((_, Some(account))) => format!("--serviceaccount={account}"),
        Some((user, None)) if is_plain(user) => format!("--user={user}"),
        Some((_, None)) | None => format!("--serviceaccount={ACCOUNT}"),
    };
    format!("kubectl create rolebinding {BINDING} -n {namespace} --clusterrole={READER} {subject}")
}

/// Whether a name needs no quotes in a shell.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@/".contains(&byte);
    !name.is_empty() && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_binds_whoever_was_refused() {
        let refusal = |user: &str| {
            format!(
                "secrets \"token\" is forbidden: User \"{user}\" cannot get resource \"secrets\" in API group \"\" in the namespace \"tenant-ns\""
            )
        };
        let command = |user: &str| allow_command("tenant-ns", &refusal(user));
        let start = "kubectl create rolebinding agentvm-secrets -n tenant-ns --clusterrole=agentvm-secret-reader ";
        for (user, subject) in [
            (
                "system:serviceaccount:elsewhere:agents",
                "--serviceaccount=elsewhere:agents",
            ),
            ("system:node:n1", "--user=system:node:n1"),
            ("a; b", "--serviceaccount=agentvm-system:agentvm-node-agent"),
        ] {
            assert_eq!(command(user), format!("{start}{subject}"));
        }
        assert_eq!(
            allow_command("tenant-ns", "no"),
            format!("{start}--serviceaccount=agentvm-system:agentvm-node-agent")
        );
    }
}
