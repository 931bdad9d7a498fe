//! Credentials for a registry, from the file that `docker login` writes.
//!
//! Only the `auths` entries are read. Credential helpers are programs, and we run none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

#[derive(Default, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
}

/// Reads the credentials of `registry` from `$DOCKER_CONFIG/config.json`, or from
/// `~/.docker/config.json`; anonymous where there are none.
pub(crate) fn for_registry(registry: &str) -> anyhow::Result<RegistryAuth> {
    let Some(path) = config_path() else {
        return Ok(RegistryAuth::Anonymous);
    };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(RegistryAuth::Anonymous);
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    find(&text, registry)
        .with_context(|| format!("{} is not what `docker login` writes", path.display()))
}

fn config_path() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

fn find(config: &[u8], registry: &str) -> anyhow::Result<RegistryAuth> {
    let config: DockerConfig = serde_json::from_slice(config)?;
    let names = names(registry);
    let entry = config
        .auths
        .iter()
        .find(|(name, entry)| names.contains(&name.as_str()) && !entry.auth.is_empty());
    match entry {
        None => Ok(RegistryAuth::Anonymous),
        Some((name, entry)) => decode(&entry.auth).with_context(|| format!("auths.{name}.auth")),
    }
}

/// The names under which docker may have stored `registry`.
fn names(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" => vec!["docker.io", "https://index.docker.io/v1/"],
        other => vec![other],
    }
}

fn decode(auth: &str) -> anyhow::Result<RegistryAuth> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(auth)
        .context("is not base64")?;
    let text = String::from_utf8(bytes).ok().context("is not text")?;
    let (user, password) = text
        .split_once(':')
        .context("has no colon between name and password")?;
    Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &[u8] = br#"{"auths": {
        "reg.example": {"auth": "bWFyeTpwYXNzOndvcmQ="},
        "helped.example": {},
        "https://index.docker.io/v1/": {"auth": "ZG9jazplcg=="}
    }, "credsStore": "desktop"}"#;

    #[test]
    fn credentials_are_those_of_the_registry_asked_for_and_no_other() {
        for (registry, auth) in [
            (
                "reg.example",
                RegistryAuth::Basic("mary".into(), "pass:word".into()),
            ),
            ("docker.io", RegistryAuth::Basic("dock".into(), "er".into())),
            ("reg.example.evil", RegistryAuth::Anonymous),
            ("helped.example", RegistryAuth::Anonymous),
        ] {
            assert_eq!(find(CONFIG, registry).unwrap(), auth, "{registry}");
        }
    }

    #[test]
    fn broken_entry_names_itself_and_not_its_content() {
        let error = find(
            br#"{"auths": {"reg.example": {"auth": "c2VjcmV0"}}}"#,
            "reg.example",
        )
        .unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "auths.reg.example.auth: has no colon between name and password"
        );
    }
}
