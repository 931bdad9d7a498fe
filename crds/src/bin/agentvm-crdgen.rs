//! Writes the CRDs into `crds/yaml/`, or into the folder named by the only argument.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(default, PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    for (name, text) in agentvm_crds::files()? {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
