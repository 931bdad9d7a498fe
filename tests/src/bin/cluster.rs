//! A real node for a person: `cargo xtask cluster` calls this.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use agentvm_tests::real_node::standing::{IMAGE, Standing};
use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = words.split_first().context("up, down, run or hold?")?;
    match (verb.as_str(), rest) {
        ("hold", [programs]) => Standing::hold(Path::new(programs)),
        ("up", [programs]) => up(Path::new(programs)),
        ("down", []) => match Standing::find()? {
            Some(standing) => standing.down(),
            None => Ok(()),
        },
        ("run", words) => {
            let standing =
                Standing::find()?.context("no node stands: `cargo xtask cluster up` starts one")?;
            let failed = standing.command(words)?.exec();
            Err(failed).context("nsenter can't be started")
        }
        (other, _) => {
            bail!("{other:?}: what is to be done? up FOLDER, down, run WORDS or hold FOLDER")
        }
    }
}

fn up(programs: &Path) -> anyhow::Result<()> {
    let image = match Standing::find()? {
        Some(_) => "the image that it was started with: `down` it for another".to_owned(),
        None => format!("the image {IMAGE}"),
    };
    let standing = Standing::up(programs)?;
    say(&format!(
        "A node stands, with {image}; its logs are in {}.\n\
         cargo xtask cluster run kubectl get nodes\n\
         cargo xtask cluster run helm install agentvm charts/agentvm --namespace agentvm-system --create-namespace --wait\n\
         cargo xtask cluster down",
        standing.dir().display()
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its result")]
fn say(text: &str) {
    println!("{text}");
}
