//! Modules from local files in the place of images.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use agentvm_crds::conditions::ImageReason;
use agentvm_node_agent::border::{Located, Modules};
use agentvm_node_agent::problem::{Problem, StartReason};
use agentvm_node_agent::registry::{MAX_MODULE_BYTES, Registry, present};
use agentvm_node_agent::source::Source;
use futures::future::{BoxFuture, FutureExt as _};

/// `IMAGE=FILE` of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModuleFile {
    image: String,
    file: PathBuf,
}

impl FromStr for ModuleFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((image, file)) if !image.is_empty() && !file.is_empty() => Ok(Self {
                image: image.to_owned(),
                file: PathBuf::from(file),
            }),
            Some(_) | None => {
                Err("write IMAGE=FILE, such as registry.example.com/agent:v1=agent.wasm".to_owned())
            }
        }
    }
}

/// Local files first, registries for the rest.
#[derive(Debug)]
pub(super) struct Files {
    files: BTreeMap<String, PathBuf>,
    registry: Registry,
}

impl Files {
    /// Uses `files` for the images that they name, and `registry` for all others.
    pub(super) fn new(files: &[ModuleFile], registry: Registry) -> Self {
        let files = files
            .iter()
            .map(|module| (module.image.clone(), module.file.clone()));
        Self {
            files: files.collect(),
            registry,
        }
    }
}

impl Modules for Files {
    fn locate<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Located, Problem>> {
        let file = match source {
            Source::Image(image) | Source::Pinned { image, .. } => self.files.get(image),
            Source::ConfigMap { .. } => None,
        };
        match file {
            Some(file) => read(file.clone()).boxed(),
            None => self.registry.locate(source),
        }
    }
}

async fn read(file: PathBuf) -> Result<Located, Problem> {
    let problem =
        |text: String| Problem::new(StartReason::Image(ImageReason::ImagePullFailed), text);
    let shown = file.display().to_string();
    let size = tokio::fs::metadata(&file)
        .await
        .map(|metadata| metadata.len());
    if size.is_ok_and(|size| size > MAX_MODULE_BYTES) {
        return Err(problem(format!(
            "{shown} is larger than {} MiB",
            MAX_MODULE_BYTES >> 20
        )));
    }
    let bytes = tokio::fs::read(&file)
        .await
        .map_err(|error| problem(format!("cannot read {shown}: {error}")))?;
    Ok(present(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_image_and_file() {
        let module: ModuleFile = "registry.example:5000/a:v1=dir/a=b.wasm".parse().unwrap();
        assert_eq!(module.image, "registry.example:5000/a:v1");
        assert_eq!(module.file, PathBuf::from("dir/a=b.wasm"));
        for text in ["", "a", "=b", "a="] {
            assert!(text.parse::<ModuleFile>().is_err(), "{text:?}");
        }
    }
}
