//! The program in separate processes: the sandbox, and syncs whose resource usage the operating system measures.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::Value;
use tempfile::TempDir;
use yotpo_td::clock::Clock;

const PROGRAM: &str = env!("CARGO_BIN_EXE_yotpo-td");

/// A sandbox in another process, without a rate limit. Its import jobs end at once, and its pages have no white space, like
/// those of a service.
pub(crate) struct SandboxProcess {
    sandbox: Child,
    environment: BTreeMap<String, String>,
    directory: TempDir,
    clock: Clock,
}

/// Resource usage of one sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) customers: u64,
    /// Seconds from the start of the process to its end.
    pub(crate) wall: f64,
    /// Seconds of processor time, user and system.
    pub(crate) cpu: f64,
    pub(crate) peak_bytes: u64,
    pub(crate) uploaded_bytes: u64,
}

impl SandboxProcess {
    pub(crate) fn start(customers: u64) -> Self {
        Self::start_with(customers, &[])
    }

    /// Starts a sandbox with additional arguments.
    pub(crate) fn start_with(customers: u64, arguments: &[&str]) -> Self {
        let mut sandbox = Command::new(PROGRAM)
            .args(["sandbox", "--requests-per-second", "off", "--page-layout", "compact"])
            .args(["--customers", &customers.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(sandbox.stdout.take().unwrap()).lines().map_while(Result::ok);
        let environment = lines
            .take(6)
            .map(|line| {
                let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Self { sandbox, environment, directory: tempfile::tempdir().unwrap(), clock: Clock::machine() }
    }

    /// A value that the sandbox printed for its clients.
    pub(crate) fn value(&self, name: &str) -> &str {
        &self.environment[name]
    }

    /// Runs one sync to its end.
    pub(crate) fn sync(&self, arguments: &[&str]) -> Usage {
        let (cpu, started) = (children_cpu(), self.clock.now());
        let output = self.command(0).args(arguments).spawn().unwrap().wait_with_output().unwrap();
        let wall = self.clock.now().saturating_sub(started);
        usage(&output, wall, children_cpu() - cpu)
    }

    /// Runs `count` syncs concurrently and returns their total wall time. The processor time of all of them is reported with
    /// the first one.
    pub(crate) fn sync_in_parallel(&self, count: usize) -> (f64, Vec<Usage>) {
        let (before, started) = (children_cpu(), self.clock.now());
        let children: Vec<Child> = (1..=count).map(|number| self.command(number).spawn().unwrap()).collect();
        let outputs: Vec<Output> =
            children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let wall = self.clock.now().saturating_sub(started);
        let mut cpu = children_cpu() - before;
        let usages = outputs.iter().map(|output| usage(output, wall, std::mem::take(&mut cpu))).collect();
        (wall.as_secs_f64(), usages)
    }

    fn command(&self, number: usize) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["sync", "--fresh", "--requests-per-second", "1000000"])
            .args(["--log-level", "error", "--summary", "json"])
            .args(["--table", &format!("customers_{number}")])
            .arg("--state-dir")
            .arg(self.directory.path().join(number.to_string()))
            .envs(&self.environment)
            // Flags take precedence.
            .env("YOTPO_TD_POLL_INTERVAL", "10ms")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        // It keeps nothing that matters.
        drop(self.sandbox.kill());
        drop(self.sandbox.wait());
    }
}

fn usage(output: &Output, wall: Duration, cpu: f64) -> Usage {
    assert!(output.status.success(), "the sync failed: {:?}", output.status);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| summary[name].as_u64().unwrap_or_default();
    Usage {
        customers: number("customers"),
        wall: wall.as_secs_f64(),
        cpu,
        peak_bytes: number("peak_resident_bytes"),
        uploaded_bytes: number("uploaded_bytes"),
    }
}

/// Seconds of processor time of all children that were waited for. The sandbox is not included until it ends.
fn children_cpu() -> f64 {
    seconds(UsageWho::RUSAGE_CHILDREN)
}

/// Seconds of processor time of this thread.
pub(crate) fn thread_cpu() -> f64 {
    seconds(UsageWho::RUSAGE_THREAD)
}

fn seconds(who: UsageWho) -> f64 {
    let usage = getrusage(who).unwrap();
    let time = usage.user_time() + usage.system_time();
    Duration::from_micros(time.num_microseconds().try_into().unwrap()).as_secs_f64()
}
