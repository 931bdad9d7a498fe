//! Processes that a test starts: logged to files, signalled, and never left behind.
//!
//! A child gets a parent-death signal (by `setpriv`, which needs no unsafe code here) and a
//! process group of its own. That signal is tied to the thread that starts the child, so one
//! thread that lives as long as the test binary starts them all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::{self, Look};
use crate::{Result, panics, program};

/// A running process of the test's.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts what `describe` describes, with its output in `NAME.out` and `NAME.err` of `log_dir`.
    pub fn start(
        name: &str,
        log_dir: &Path,
        program: impl AsRef<OsStr>,
        describe: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Self> {
        let (stdout, stderr) = (
            log_dir.join(format!("{name}.out")),
            log_dir.join(format!("{name}.err")),
        );
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program.as_ref());
        describe(&mut command);
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(append(&stdout)?)
            .stderr(append(&stderr)?);
        let child = spawn(command).with_context(|| program::missing(OsStr::new("setpriv")))?;
        let pid = Pid::from_child(&child);
        Ok(Self {
            name: name.to_owned(),
            pid,
            child: Mutex::new(child),
            stdout,
            stderr,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal to it, not to its children.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal)
            .with_context(|| format!("sending {signal:?} to {}", self.name))
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        Ok(self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_wait()?)
    }

    /// Waits for its end.
    pub fn wait_for_end(&self, patience: Duration) -> Result<ExitStatus> {
        wait::until_within(patience, &format!("{} to end", self.name), || {
            Ok(self
                .ended()?
                .map_or_else(|| Look::NotYet("it runs".to_owned()), Look::Yes))
        })
    }

    /// Kills it as a crash would, and waits until it is gone. Its children are left alone.
    pub fn crash(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_for_end(wait::PATIENCE).map(|_| ())
    }

    /// Everything that it has written to standard output.
    pub fn stdout(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.stdout)?).into_owned())
    }

    /// Everything that it has written to standard error.
    pub fn stderr(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.stderr)?).into_owned())
    }

    /// Fails with the last lines of its log where it has ended.
    pub fn must_run(&self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(anyhow!(
                "{} has ended ({status}); its log {} ends with:\n{}",
                self.name,
                self.stderr.display(),
                last_lines(&self.stderr()?)
            )),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where nothing is left to kill.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait();
        if std::thread::panicking() {
            return;
        }
        let log = self.stderr().unwrap_or_default();
        assert_eq!(panics::in_log(&log), None, "{}", self.name);
    }
}

/// Whether a process of that id is there (a zombie is not).
pub fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Every process that descends from `pid` now.
pub fn descendants(pid: i32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let child = entry?.file_name().to_string_lossy().parse::<u32>();
        if let Ok(child) = child
            && let Some((_, parent)) = state_and_parent(child)
        {
            parents.push((child, parent));
        }
    }
    let mut family = vec![u32::try_from(pid)?];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(child, _)| *child),
        );
        at += 1;
    }
    family.remove(0);
    Ok(family)
}

/// The third and fourth field of `/proc/PID/stat`; the second, a name, may hold anything.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Sends a signal to a process that a process of the test's has started.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("not a process id")?;
    Ok(kill_process(pid, signal)?)
}

fn append(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("opening the log {}", path.display()))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(15))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

/// Does something on the thread that starts processes, such as to move it into a namespace:
/// processes that are started later are in it too.
pub fn on_starting_thread<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    type Order = Box<dyn FnOnce() + Send>;
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for order in taken {
                order();
            }
        });
        orders
    });
    let (answer, result) = mpsc::channel();
    orders
        .send(Box::new(move || {
            // An order whose asker has gone needs no answer.
            let _ = answer.send(act());
        }))
        .map_err(|_order| anyhow!("the thread that starts processes is gone"))?;
    result
        .recv()
        .context("the thread that starts processes is gone")
}

fn spawn(mut command: Command) -> Result<Child> {
    Ok(on_starting_thread(move || command.spawn())??)
}
