//! Manifests: files become objects, each still as it was written.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;

/// The most bytes of one file: far above any manifest, far below what could hurt.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a file is no manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is larger than [`MAX_FILE_BYTES`].
    #[error("{file} is larger than {} MiB, the most that a manifest may have", MAX_FILE_BYTES >> 20)]
    TooLarge {
        /// The file.
        file: String,
    },
    /// The bytes are not YAML.
    #[error("{file}, document {document}: not YAML")]
    Yaml {
        /// The file.
        file: String,
        /// Which of its documents, from 1.
        document: usize,
        /// What is wrong, and in which line.
        source: serde_yaml::Error,
    },
}

/// One object of a manifest, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// The file it stands in; `-` is stdin.
    pub(crate) file: String,
    /// The object.
    pub(crate) value: Value,
}

impl Document {
    /// Its `apiVersion`, or nothing where that is missing or not text.
    pub(crate) fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// Its `kind`, or nothing where that is missing or not text.
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Its `metadata.name`, or nothing where that is missing or not text.
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Its `metadata.namespace`, where it names one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        Some(self.text("/metadata/namespace")).filter(|namespace| !namespace.is_empty())
    }

    fn text(&self, pointer: &str) -> &str {
        self.value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Reads every object of `files`, in their order; `-` is stdin.
///
/// # Errors
/// Where a file cannot be read or is not YAML: what is wrong in an object is not said here.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Document>, ManifestError> {
    let mut documents = Vec::new();
    for path in files {
        let file = path.display().to_string();
        let text = text(path, &file)?;
        documents.extend(parse(&file, &text)?);
    }
    Ok(documents)
}

fn text(path: &Path, file: &str) -> Result<String, ManifestError> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        if path == Path::new("-") {
            std::io::stdin()
                .lock()
                .take(MAX_FILE_BYTES + 1)
                .read_to_string(&mut text)?;
        } else {
            std::fs::File::open(path)?
                .take(MAX_FILE_BYTES + 1)
                .read_to_string(&mut text)?;
        }
        Ok(text)
    };
    let text = read().map_err(|source| ManifestError::Read {
        file: file.to_owned(),
        source,
    })?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes <= MAX_FILE_BYTES) {
        Ok(text)
    } else {
        Err(ManifestError::TooLarge {
            file: file.to_owned(),
        })
    }
}

/// Parses the documents of one file. Empty ones are left out, a `List` becomes its items.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    let mut documents = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let value = Value::deserialize(document).map_err(|source| ManifestError::Yaml {
            file: file.to_owned(),
            document: index + 1,
            source,
        })?;
        documents.extend(items(value).into_iter().map(|value| Document {
            file: file.to_owned(),
            value,
        }));
    }
    Ok(documents)
}

fn items(mut value: Value) -> Vec<Value> {
    if value.is_null() {
        return Vec::new();
    }
    if value.get("kind").and_then(Value::as_str) != Some("List") {
        return vec![value];
    }
    let items = value.get_mut("items").and_then(Value::as_array_mut);
    items.map(std::mem::take).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse("a.yaml", text)
            .unwrap()
            .iter()
            .map(|document| document.name().to_owned())
            .collect()
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert_eq!(
            names("---\n---\n# nothing\n---\nmetadata: {name: one}\n---\n"),
            ["one"]
        );
    }

    #[test]
    fn list_becomes_its_items() {
        let list = r#"{"kind": "List", "items": [{"metadata": {"name": "one"}}, {"metadata": {"name": "two"}}]}"#;
        assert_eq!(names(list), ["one", "two"]);
    }

    #[test]
    fn text_that_is_not_yaml_names_file_document_and_line() {
        let error = parse("a.yaml", "metadata: {name: one}\n---\na: [1,\n").unwrap_err();
        let shown = format!("{:#}", anyhow::Error::new(error));
        assert!(
            shown.starts_with("a.yaml, document 2: not YAML: "),
            "{shown}"
        );
        assert!(shown.contains("line"), "{shown}");
    }

    #[test]
    fn yaml_bomb_is_refused() {
        let mut lines = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
        for level in 1..12 {
            let references = vec![format!("*a{}", level - 1); 10].join(", ");
            lines.push(format!("a{level}: &a{level} [{references}]"));
        }
        let bomb = parse("bomb.yaml", &lines.join("\n"));
        assert!(matches!(bomb, Err(ManifestError::Yaml { .. })));
    }
}
