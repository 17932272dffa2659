//! The real program, started against its own sandbox.
//!
//! Owns starting, watching and ending processes, and their directories and mock servers. It does not know what a test is
//! about. Waiting means polling a condition, with a deadline and a message.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use yotpo_td::checkpoint::{RunState, StateStore};
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{
    Control, Fault, FaultKind, FaultPlan, FaultTarget, Operation, Sandbox, SandboxSettings, Service,
    Verification,
};

use crate::tls_relay::{Authority, Delays, TlsRelay};

/// The program, as cargo built it for the tests.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_yotpo-td");
/// The database and table that runs load unless a test says otherwise.
pub(crate) const DATABASE: &str = "yotpo";
pub(crate) const TABLE: &str = "yotpo_customers";
/// Maximum time to wait for anything; much longer than a loaded machine needs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// How often to poll a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(3);

/// The program with an empty environment, except what coverage measurements need.
pub(crate) fn program() -> Command {
    let mut command = alone(PROGRAM);
    // As a shell starts a program that is on PATH.
    command.arg0("yotpo-td");
    command
}

/// A program without anything of this process but where coverage is written.
fn alone(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|profile| ("LLVM_PROFILE_FILE", profile)));
    command
}

/// Polls `condition` until it holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = Clock::machine();
    while !condition() {
        assert!(clock.now() < DEADLINE, "timed out after {DEADLINE:?}: {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "polls another process, which does not follow a virtual clock")]
fn pause() {
    std::thread::sleep(POLL_INTERVAL);
}

/// The mock servers for both services, and directories for the program.
pub(crate) struct Surroundings {
    sandbox: Sandbox,
    directory: TempDir,
    started: Duration,
    runtime: Runtime,
}

impl Surroundings {
    /// A sandbox without a rate limit.
    pub(crate) fn new(settings: SandboxSettings) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = SandboxSettings { requests_per_second: None, ..settings };
        let sandbox = runtime.block_on(Sandbox::start(settings)).unwrap();
        let started = Clock::machine().unix_time();
        Self { sandbox, directory: tempfile::tempdir().unwrap(), started, runtime }
    }

    /// A sandbox whose store has this many customers.
    pub(crate) fn with_customers(customers: u64) -> Self {
        Self::new(SandboxSettings { customers, ..SandboxSettings::default() })
    }

    /// TLS in front of one of the mock servers, with a certificate of `authority`.
    pub(crate) fn relay(&self, service: Service, authority: &Authority) -> TlsRelay {
        self.relay_over(service, authority, Delays::default())
    }

    /// The same, with a high latency or a slow server.
    pub(crate) fn relay_over(&self, service: Service, authority: &Authority, delays: Delays) -> TlsRelay {
        let endpoint = match service {
            Service::Yotpo => self.sandbox.yotpo_endpoint(),
            Service::TreasureData => self.sandbox.treasure_data_endpoint(),
        };
        let clock = Clock::machine();
        self.runtime.block_on(TlsRelay::start(&endpoint, authority, delays, &clock))
    }

    /// What happens inside the mock servers.
    pub(crate) fn control(&self) -> &Control {
        self.sandbox.control()
    }

    /// The temporary directory of the test.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Where the program keeps state and lock.
    pub(crate) fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Settings that connect the program to this sandbox: pages of 5, one part per two pages, no delays.
    pub(crate) fn environment(&self) -> BTreeMap<&'static str, String> {
        let credentials = self.sandbox.credentials();
        BTreeMap::from([
            ("YOTPO_TD_YOTPO_ENDPOINT", self.sandbox.yotpo_endpoint()),
            ("TD_API_SERVER", self.sandbox.treasure_data_endpoint()),
            ("YOTPO_CLIENT_SECRET", credentials.client_secret.clone()),
            ("YOTPO_STORE_ID", credentials.store_id.clone()),
            ("TD_API_KEY", credentials.api_key.clone()),
            ("TD_DATABASE", DATABASE.to_owned()),
            ("YOTPO_TD_STATE_DIR", self.state_directory().to_str().unwrap().to_owned()),
            ("YOTPO_TD_RETRY_BASE_DELAY", "1ms".to_owned()),
            ("YOTPO_TD_MAX_RETRIES", "2".to_owned()),
            ("YOTPO_TD_POLL_INTERVAL", "5ms".to_owned()),
            ("YOTPO_TD_REQUESTS_PER_SECOND", "1000000".to_owned()),
            ("YOTPO_TD_PAGE_SIZE", "5".to_owned()),
            ("YOTPO_TD_BATCH_SIZE", "10".to_owned()),
        ])
    }

    /// `yotpo-td sync` with these further arguments.
    pub(crate) fn sync(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("sync").args(arguments).envs(self.environment());
        command
    }

    /// Runs `yotpo-td sync` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        Running::start(self.sync(arguments)).finish()
    }

    /// Runs a command line of the program in a shell, with these variables in addition to the usual ones.
    pub(crate) fn type_in(&self, command: &str, variables: &[(&str, &str)]) -> Running {
        let mut shell = alone("/bin/sh");
        shell.envs(self.environment()).envs(variables.iter().copied());
        shell.env("PATH", Path::new(PROGRAM).parent().unwrap()).arg("-c").arg(command);
        Running::start(shell)
    }

    /// Calls Treasure Data like another program would, and returns the body of the response.
    #[track_caller]
    pub(crate) fn call_treasure_data(&self, method: &str, path: &str, body: &[u8]) -> String {
        let environment = self.environment();
        let address = environment["TD_API_SERVER"].trim_start_matches("http://").trim_end_matches('/');
        let mut connection = TcpStream::connect(address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: TD1 {}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            environment["TD_API_KEY"],
            body.len()
        );
        connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Injects a fault into the n-th request to a service.
    pub(crate) fn fault_on_request(&self, service: Service, nth: u64, kind: FaultKind) {
        let fault = Fault { service, target: FaultTarget::Request(nth), kind };
        self.control().set_faults(FaultPlan { faults: vec![fault] });
    }

    /// Injects a fault into the n-th request of an operation.
    pub(crate) fn fault_on(&self, operation: Operation, nth: u64, kind: FaultKind) {
        self.control().set_faults(FaultPlan { faults: vec![Fault::on(operation, nth, kind)] });
    }

    /// Injects a fault into every request of an operation.
    pub(crate) fn fault_on_every(&self, operation: Operation, kind: FaultKind) {
        let (service, target) = (operation.service().unwrap(), FaultTarget::EveryOf(operation));
        self.control().set_faults(FaultPlan { faults: vec![Fault { service, target, kind }] });
    }

    /// Injects a fault into the n-th request for a page and all later ones.
    pub(crate) fn fault_from_page(&self, nth: u64, kind: &FaultKind) {
        let faults = (nth..nth + 100).map(|nth| Fault::on(Operation::Customers, nth, kind.clone())).collect();
        self.control().set_faults(FaultPlan { faults });
    }

    /// Removes all faults.
    pub(crate) fn end_faults(&self) {
        self.control().set_faults(FaultPlan::none());
    }

    /// Waits until a request was hit by a fault.
    pub(crate) fn wait_for_fault(&self) {
        wait_until("a fault was applied", || self.control().applied_faults() > 0);
    }

    /// The saved, unfinished run.
    pub(crate) fn saved_run(&self) -> Option<RunState> {
        StateStore::all(&self.state_directory()).unwrap().first().and_then(|store| store.run().unwrap())
    }

    /// The one state file.
    pub(crate) fn state_file(&self) -> PathBuf {
        StateStore::all(&self.state_directory()).unwrap().first().unwrap().path().to_owned()
    }

    /// Compares the table with the store; `None` if there is no table.
    pub(crate) fn verification(&self) -> Option<Verification> {
        self.control().row_count(DATABASE, TABLE)?;
        let times = self.started.as_secs()..=Clock::machine().unix_time().as_secs();
        let times = i64::try_from(*times.start()).unwrap()..=i64::try_from(*times.end()).unwrap();
        Some(self.control().verify_table(DATABASE, TABLE, times).unwrap())
    }

    /// Rows in the table.
    pub(crate) fn rows(&self) -> u64 {
        self.control().row_count(DATABASE, TABLE).unwrap_or(0)
    }

    /// The table holds exactly the store's customers.
    #[track_caller]
    pub(crate) fn assert_exact(&self) {
        let found = self.verification().expect("the table exists");
        assert!(found.is_exact(), "{found:?}");
    }

    /// The table holds exactly the store's customers, and nothing else is left in Treasure Data.
    #[track_caller]
    pub(crate) fn assert_exact_and_clean(&self) {
        self.assert_exact();
        assert_eq!(self.control().sessions(), [], "sessions are left");
        assert_eq!(self.control().tables(), [(DATABASE.to_owned(), TABLE.to_owned())], "tables are left");
    }
}

/// A running program. It is killed when the test ends.
pub(crate) struct Running {
    child: Child,
    stdout: Gathered,
    stderr: Gathered,
}

/// The output of a stream so far.
#[derive(Default)]
struct Gathered {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    /// Starts a program and reads both its streams.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Gathered::from(child.stdout.take().unwrap());
        let stderr = Gathered::from(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Watches a child whose streams the test handles.
    pub(crate) fn of_child(child: Child) -> Self {
        Self { child, stdout: Gathered::default(), stderr: Gathered::default() }
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until stderr contains `text`, and returns what it has written so far.
    pub(crate) fn wait_for_stderr(&self, text: &str) -> String {
        wait_until(&format!("stderr says {text:?}"), || self.stderr.text().contains(text));
        self.stderr.text()
    }

    /// Waits until stdout contains `text`.
    pub(crate) fn wait_for_stdout(&self, text: &str) {
        wait_until(&format!("stdout says {text:?}"), || self.stdout.text().contains(text));
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Whether it ended, without waiting.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Finished {
        wait_until("the program ends", || self.has_ended());
        let status = self.child.wait().unwrap();
        Finished { status, stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gathered {
    fn from(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let gathered = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                gathered.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}

impl Finished {
    /// The exit code; fails when a signal killed it.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{:?}, stderr:\n{}", self.status, self.stderr))
    }

    /// It ended with this code.
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        assert_eq!(self.code(), code, "stderr:\n{}", self.stderr);
    }

    /// The last line on stderr.
    #[track_caller]
    pub(crate) fn last_line(&self) -> &str {
        self.stderr.lines().last().expect("stderr says something")
    }

    /// The closing words: everything from the line that begins with "error:" (after the mark of a sandbox run).
    #[track_caller]
    pub(crate) fn closing(&self) -> String {
        let is_error = |line: &str| line.strip_prefix("SANDBOX ").unwrap_or(line).starts_with("error:");
        let lines: Vec<&str> = self.stderr.lines().skip_while(|line| !is_error(line)).collect();
        assert!(!lines.is_empty(), "no closing words in:\n{}", self.stderr);
        lines.join("\n")
    }
}

/// All files in a directory, with paths and contents.
pub(crate) fn files_below(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let files = |path: PathBuf| {
        if path.is_dir() { files_below(&path) } else { vec![(path.clone(), fs::read(&path).unwrap())] }
    };
    entries.flat_map(|entry| files(entry.unwrap().path())).collect()
}
