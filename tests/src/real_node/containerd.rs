//! Debian's containerd and runc, and the images that they are given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::network;
use super::sandbox::Sandbox;
use crate::image::{self, Image};
use crate::process::Process;
use crate::program::stdout_of;
use crate::wait::{self, Look};
use crate::{Result, cache};

/// The image that holds a Pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    process: Process,
    socket: PathBuf,
    entrance: Vec<String>,
}

impl Containerd {
    /// Starts one inside `sandbox` with its files in `dir`.
    pub fn start(sandbox: &Sandbox, dir: &Path) -> Result<Self> {
        let folder = dir.join("containerd");
        fs::create_dir_all(&folder)?;
        let config = folder.join("config.toml");
        let socket = dir.join("containerd.sock");
        fs::write(&config, configuration(dir, &socket))?;
        let program = Path::new("containerd");
        let process = sandbox.start_process("containerd", dir, program, |command| {
            command.arg("--config").arg(&config)
        })?;
        let ctr = sandbox.command(Path::new("ctr"));
        let containerd = Self {
            process,
            socket,
            entrance: ctr
                .get_args()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect(),
        };
        wait::until("containerd to answer", || {
            containerd.must_run()?;
            Ok(match containerd.ctr(&["version"]) {
                Ok(_) => Look::Yes(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })?;
        containerd.import(&pause_image()?)?;
        Ok(containerd)
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Fails with its log's end where it has ended.
    pub fn must_run(&self) -> Result<()> {
        self.process.must_run()
    }

    /// Gives Kubernetes the images of an archive.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let archive = archive.to_string_lossy();
        self.ctr(&["--namespace", "k8s.io", "images", "import", &archive])
            .map(|_| ())
    }

    /// Runs containerd's own client.
    pub fn ctr(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("nsenter");
        command
            .args(&self.entrance)
            .arg("--address")
            .arg(&self.socket)
            .args(args);
        stdout_of(&mut command)
    }
}

fn configuration(dir: &Path, socket: &Path) -> String {
    let folder = dir.join("containerd");
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Root in a container, such as CI has, may not lower the score.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
"#,
        root = folder.join("root").display(),
        state = folder.join("state").display(),
        opt = folder.join("opt").display(),
        socket = socket.display(),
        plugins = network::PLUGINS,
        networks = network::config_dir(dir).display(),
    )
}

/// An image whose one program waits until it is told to end.
fn pause_image() -> Result<PathBuf> {
    const SOURCE: &str = "#include <signal.h>\n#include <unistd.h>\n\
        static void end(int signal) { _exit(0); }\n\
        int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }\n";
    let folder = cache::once("pause-image", |dir| {
        fs::write(dir.join("pause.c"), SOURCE)?;
        stdout_of(
            Command::new("cc")
                .args(["-static", "-s", "-O1", "-o", "pause", "pause.c"])
                .current_dir(dir),
        )?;
        let image = Image {
            reference: PAUSE.to_owned(),
            files: vec![image::File {
                path: "pause".to_owned(),
                mode: 0o755,
                bytes: fs::read(dir.join("pause"))?,
            }],
            entrypoint: "/pause",
        };
        image.write(&dir.join("image.tar")).map(|_| ())
    })?;
    Ok(folder.join("image.tar"))
}
