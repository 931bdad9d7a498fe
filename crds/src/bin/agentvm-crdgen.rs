//! Writes the CRDs into `crds/yaml/` and into the chart, or into the folders that are named.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        folders = vec![here.join("yaml"), here.join("../charts/agentvm/crds")];
    }
    for folder in folders {
        std::fs::create_dir_all(&folder)?;
        for (name, text) in agentvm_crds::files()? {
            std::fs::write(folder.join(name), text)?;
        }
    }
    Ok(())
}
