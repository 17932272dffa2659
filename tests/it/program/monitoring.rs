//! `--metrics-file`, `--metrics-listen` and `--metrics-push`: what monitoring systems see of a run, and that it never depends on them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use rustix::process::Signal;
use yotpo_td::clock::Clock;
use yotpo_td::sandbox::{FaultKind, Operation, Service};

use super::binary::{Finished, Running, Surroundings, program, wait_until};
use crate::tls_relay::Authority;

/// A file next to the state, and its text.
struct Metrics(PathBuf);

impl Metrics {
    fn beside(surroundings: &Surroundings) -> Self {
        Self(surroundings.directory().join("yotpo.prom"))
    }

    fn flag(&self) -> [&str; 2] {
        ["--metrics-file", self.0.to_str().unwrap()]
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap()
    }

    #[track_caller]
    fn assert_values(&self, expected: &[(&str, Option<f64>)]) {
        assert_values(&self.text(), expected);
    }
}

/// The value of a metric whose labels begin with those of the target and have `own` after them.
fn value(text: &str, name: &str) -> Option<f64> {
    let (name, own) =
        name.split_once('{').map_or((name, ""), |(name, own)| (name, own.trim_end_matches('}')));
    let line = text.lines().find(|line| {
        let series = line.rsplit_once(' ').map_or("", |(series, _)| series);
        series.split('{').next() == Some(name) && series.contains(own)
    })?;
    Some(line.rsplit_once(' ')?.1.parse().unwrap())
}

#[track_caller]
fn assert_values(text: &str, expected: &[(&str, Option<f64>)]) {
    for (name, expected) in expected {
        assert_eq!(value(text, name), *expected, "{name}\n{text}");
    }
}

fn get(address: &str, path: &str) -> (u16, String) {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

fn request(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The address at which a run serves, from its log.
fn served_at(running: &Running) -> String {
    let lines = running.wait_for_stderr("serving metrics and health");
    let line = lines.lines().find(|line| line.contains("serving metrics and health")).unwrap().to_owned();
    line.split_once("address=").unwrap().1.split(' ').next().unwrap().to_owned()
}

/// A run that waits for its first or a later page.
fn hanging_at(surroundings: &Surroundings, page: u64, flags: &[&str]) -> Running {
    surroundings.fault_on(Operation::Customers, page, FaultKind::Hang);
    let flags = [&["--batch-size", "5"], flags].concat();
    let running = Running::start(surroundings.sync(&flags));
    surroundings.wait_for_fault();
    running
}

fn warning<'a>(end: &'a Finished, about: &str) -> &'a str {
    let mut lines = end.stderr.lines().filter(|line| line.contains(" WARN ") && line.contains(about));
    let line = lines.next().unwrap_or_else(|| panic!("a warning about {about}: {}", end.stderr));
    assert_eq!(lines.next(), None);
    line
}

#[test]
fn the_file_tells_of_each_run_and_keeps_the_last_success() {
    let surroundings = Surroundings::with_customers(60);
    let metrics = Metrics::beside(&surroundings);
    let before = Clock::machine().unix_time().as_secs_f64().floor();
    surroundings.run(&metrics.flag()).assert_code(0);
    metrics.assert_values(&[
        ("yotpo_td_running", Some(0.0)),
        ("yotpo_td_exit_code", Some(0.0)),
        ("yotpo_td_failure{code=\"none\"}", Some(0.0)),
        ("yotpo_td_last_success_rows", Some(60.0)),
        ("yotpo_td_customers_total", Some(60.0)),
        ("yotpo_td_parts{state=\"stored\"}", Some(6.0)),
        ("yotpo_td_parts{state=\"queued\"}", Some(0.0)),
        ("yotpo_td_queued_batches", Some(0.0)),
        ("yotpo_td_interrupted_run_expiry_timestamp_seconds", Some(0.0)),
        ("yotpo_td_requests_total{service=\"Treasure Data\",operation=\"commit the session\",status=\"2xx\"}", Some(1.0)),
    ]);
    let succeeded = value(&metrics.text(), "yotpo_td_last_success_timestamp_seconds").unwrap();
    assert!(succeeded >= before, "{succeeded} {before}");

    // Another machine, which only has the file, fails.
    fs::remove_dir_all(surroundings.state_directory()).unwrap();
    let mut command = surroundings.sync(&metrics.flag());
    command.env("YOTPO_CLIENT_SECRET", "wrong-secret");
    Running::start(command).finish().assert_code(3);
    metrics.assert_values(&[
        ("yotpo_td_exit_code", Some(3.0)),
        ("yotpo_td_failure{code=\"yotpo_credentials_refused\"}", Some(1.0)),
        ("yotpo_td_last_success_rows", Some(60.0)),
        ("yotpo_td_last_success_timestamp_seconds", Some(succeeded)),
        ("yotpo_td_requests_total{operation=\"get an access token\",status=\"4xx\"}", Some(1.0)),
    ]);

    // So does a run that does not know its store.
    let mut command = surroundings.sync(&metrics.flag());
    command.env_remove("YOTPO_STORE_ID");
    Running::start(command).finish().assert_code(2);
    metrics.assert_values(&[
        ("yotpo_td_exit_code", Some(2.0)),
        ("yotpo_td_failure{code=\"settings_invalid\"}", Some(1.0)),
        ("yotpo_td_last_success_timestamp_seconds", Some(succeeded)),
    ]);
    let text = metrics.text();
    for (variable, secret) in surroundings.environment() {
        if matches!(variable, "YOTPO_CLIENT_SECRET" | "TD_API_KEY") {
            assert!(!text.contains(&secret), "{variable}");
        }
        if variable == "YOTPO_STORE_ID" {
            assert!(text.contains(&format!("store_id=\"{secret}\"")), "{text}");
        }
    }
}

#[test]
fn the_state_knows_the_last_success_without_a_file() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.run(&[]).assert_code(0);
    let metrics = Metrics::beside(&surroundings);
    surroundings.fault_on_every(Operation::Customers, FaultKind::Status(404, None));
    surroundings.run(&metrics.flag()).assert_code(4);
    metrics.assert_values(&[("yotpo_td_exit_code", Some(4.0)), ("yotpo_td_last_success_rows", Some(60.0))]);
}

#[test]
fn a_run_that_works_has_a_file_and_an_interrupted_one_says_until_when_it_can_be_resumed() {
    let surroundings = Surroundings::with_customers(60);
    let metrics = Metrics::beside(&surroundings);
    let running = hanging_at(&surroundings, 7, &metrics.flag());
    metrics.assert_values(&[("yotpo_td_running", Some(1.0)), ("yotpo_td_exit_code", None)]);
    wait_until("parts are stored", || surroundings.saved_run().is_some_and(|run| run.parts > 0));
    running.signal(Signal::TERM);
    running.finish().assert_code(143);
    let saved = surroundings.saved_run().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a time of this century")]
    let until = (saved.updated_at + 6 * 3_600) as f64;
    metrics.assert_values(&[
        ("yotpo_td_exit_code", Some(143.0)),
        ("yotpo_td_failure{code=\"interrupted\"}", Some(1.0)),
        ("yotpo_td_interrupted_run_expiry_timestamp_seconds", Some(until)),
        ("yotpo_td_last_success_rows", None),
    ]);
}

#[test]
fn an_export_has_metrics_without_a_table() {
    let surroundings = Surroundings::with_customers(60);
    let metrics = Metrics::beside(&surroundings);
    let directory = surroundings.directory().join("export");
    let export = directory.to_str().unwrap();
    surroundings.run(&[&["--to", export], &metrics.flag()[..]].concat()).assert_code(0);
    metrics.assert_values(&[("yotpo_td_exit_code", Some(0.0)), ("yotpo_td_last_success_rows", Some(60.0))]);
    // To Prometheus, an empty label is none.
    assert!(metrics.text().contains("database=\"\",table=\"\""), "{}", metrics.text());
    // Loading it is about a table: another target, so another file.
    let mut command = program();
    command.envs(surroundings.environment()).args(["load", export]).args(metrics.flag());
    let end = Running::start(command).finish();
    end.assert_code(0);
    assert!(warning(&end, "--metrics-file").contains("another target"), "{}", end.stderr);
    let loaded = Metrics(surroundings.directory().join("loaded.prom"));
    let mut command = program();
    command.envs(surroundings.environment()).args(["load", export]).args(loaded.flag());
    Running::start(command).finish().assert_code(0);
    loaded.assert_values(&[
        ("yotpo_td_exit_code", Some(0.0)),
        ("yotpo_td_last_success_rows", Some(60.0)),
        ("yotpo_td_rate_limit_requests_per_second", None),
    ]);
}

#[test]
fn the_file_of_another_target_or_program_is_not_replaced() {
    for foreign in [
        "node_load1 0.5\n",
        "yotpo_td_run_start_timestamp_seconds{store_id=\"7\",database=\"shop\",table=\"other\"} 1\n",
    ] {
        let surroundings = Surroundings::with_customers(10);
        let metrics = Metrics::beside(&surroundings);
        fs::write(&metrics.0, foreign).unwrap();
        let end = surroundings.run(&metrics.flag());
        end.assert_code(0);
        let warning = warning(&end, "--metrics-file");
        assert!(warning.contains(metrics.0.to_str().unwrap()), "{warning}");
        assert_eq!(metrics.text(), foreign);
        surroundings.assert_exact_and_clean();
    }
}

#[test]
fn a_directory_that_disappears_is_a_warning() {
    let surroundings = Surroundings::with_customers(60);
    let directory = surroundings.directory().join("collector");
    fs::create_dir(&directory).unwrap();
    let metrics = Metrics(directory.join("yotpo.prom"));
    let running = hanging_at(&surroundings, 7, &metrics.flag());
    // Otherwise, the first write may warn, too.
    wait_until("the metrics are written", || metrics.0.exists());
    fs::remove_dir_all(&directory).unwrap();
    surroundings.end_faults();
    running.signal(Signal::TERM);
    let end = running.finish();
    end.assert_code(143);
    assert!(warning(&end, "--metrics-file").contains("No such file"), "{}", end.stderr);
    assert!(end.last_line().contains("; resume with: yotpo-td sync "), "{}", end.stderr);
}

#[test]
fn health_and_metrics_are_served_while_the_run_works() {
    let surroundings = Surroundings::with_customers(60);
    let running = hanging_at(&surroundings, 1, &["--metrics-listen", "0"]);
    let address = served_at(&running);
    assert!(address.parse::<SocketAddr>().unwrap().ip().is_loopback(), "{address}");
    assert_eq!(
        get(&address, "/readyz"),
        (503, "not ready: Yotpo has not accepted an access token yet\n".to_owned())
    );
    let (status, health) = get(&address, "/healthz");
    assert_eq!(status, 200);
    assert!(health.starts_with("ok phase=fetching phase_seconds="), "{health}");
    surroundings.end_faults();
    running.kill();

    let running = hanging_at(&surroundings, 7, &["--metrics-listen", "127.0.0.1:0", "--fresh"]);
    let address = served_at(&running);
    wait_until("the session is open", || get(&address, "/readyz") == (200, "ready\n".to_owned()));
    let (status, text) = get(&address, "/metrics");
    assert_eq!(status, 200);
    assert_values(
        &text,
        &[("yotpo_td_running", Some(1.0)), ("yotpo_td_phase{phase=\"fetching\"}", Some(1.0))],
    );
    assert_eq!(get(&address, "/").0, 404);
    assert_eq!(request(&address, "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").0, 405);
    assert_eq!(request(&address, "HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), (200, String::new()));
    assert_eq!(request(&address, "garbage\r\n\r\n").0, 400);
    // Clients that say nothing do not keep others from being served, nor the run from ending.
    let silent: Vec<_> = (0..8).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert_eq!(get(&address, "/readyz").0, 200);
    running.signal(Signal::TERM);
    running.finish().assert_code(143);
    drop(silent);
    assert!(TcpStream::connect(&address).is_err(), "it no longer listens");
}

#[test]
fn an_address_that_is_taken_is_a_warning() {
    let surroundings = Surroundings::with_customers(10);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let end = surroundings.run(&["--metrics-listen", &address]);
    end.assert_code(0);
    assert!(warning(&end, "--metrics-listen").contains(&format!("address={address}")), "{}", end.stderr);
    surroundings.assert_exact_and_clean();
}

/// A Pushgateway that answers one request, and gives it back.
fn pushgateway(response: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        let mut buffer = [0; 8_192];
        loop {
            let count = stream.read(&mut buffer).unwrap();
            received.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&received).into_owned();
            let is_complete = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let head = head.to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                length.is_some_and(|length| body.len() == length.parse::<usize>().unwrap())
            });
            if is_complete || count == 0 {
                stream.write_all(response.as_bytes()).unwrap();
                if response.is_empty() {
                    // Until the client gives up.
                    let _ = stream.read(&mut buffer);
                }
                return text;
            }
        }
    });
    (address, serving)
}

#[test]
fn the_end_of_a_run_is_pushed_to_the_group_of_its_target() {
    let surroundings = Surroundings::with_customers(60);
    let (address, serving) = pushgateway("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let end = surroundings.run(&["--metrics-push", &address]);
    end.assert_code(0);
    assert!(!end.stderr.contains(" WARN "), "{}", end.stderr);
    let request = serving.join().unwrap();
    let environment = surroundings.environment();
    let group = format!(
        "POST /metrics/job/yotpo_td/store_id/{}/database/{}/table/{} HTTP/1.1\r\n",
        environment["YOTPO_STORE_ID"], environment["TD_DATABASE"], "yotpo_customers"
    );
    assert!(request.starts_with(&group), "{group}: {request}");
    assert_values(&request, &[("yotpo_td_exit_code", Some(0.0)), ("yotpo_td_last_success_rows", Some(60.0))]);
    assert!(!request.contains(&environment["TD_API_KEY"]), "the key");
}

#[test]
fn a_pushgateway_that_fails_or_says_nothing_does_not_change_the_end() {
    for response in ["HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "garbage\r\n\r\n", ""]
    {
        let surroundings = Surroundings::with_customers(10);
        let (address, serving) = pushgateway(response);
        let end = surroundings.run(&["--metrics-push", &address]);
        end.assert_code(0);
        let warning = warning(&end, "--metrics-push");
        assert!(warning.contains("could not be pushed") && warning.contains("127.0.0.1:"), "{warning}");
        serving.join().unwrap();
        surroundings.assert_exact_and_clean();
    }
    let surroundings = Surroundings::with_customers(10);
    let end = surroundings.run(&["--metrics-push", "http://127.0.0.1:1"]);
    end.assert_code(0);
    assert!(warning(&end, "--metrics-push").contains("127.0.0.1:1 (from --metrics-push)"), "{}", end.stderr);
}

#[test]
fn a_pushgateway_is_reached_over_tls_with_the_roots_of_the_process() {
    let authority = Authority::named("a Pushgateway's authority");
    let surroundings = Surroundings::with_customers(10);
    // The relay leads to a mock server, which is no Pushgateway: what counts is that it is reached.
    let relay = surroundings.relay(Service::TreasureData, &authority);
    let trusted = surroundings.directory().join("authority.pem");
    fs::write(&trusted, authority.pem()).unwrap();
    for (roots, cause) in [(trusted.to_str().unwrap(), "404"), ("", "certificate")] {
        let mut command = surroundings.sync(&["--metrics-push", &relay.endpoint()]);
        command.env("SSL_CERT_FILE", roots);
        let end = Running::start(command).finish();
        end.assert_code(0);
        assert!(warning(&end, "--metrics-push").contains(cause), "{}", end.stderr);
    }
}

#[test]
fn a_sandbox_run_reports_nothing_to_what_the_environment_names() {
    let directory = tempfile::tempdir().unwrap();
    let files = ["yotpo.prom", "summary.json", "report.html"].map(|name| directory.path().join(name));
    let export = directory.path().join("export");
    for arguments in [&[][..], &["--dry-run"], &["--to", export.to_str().unwrap()]] {
        let mut command = program();
        command.args(["sync", "--sandbox", "--sandbox-customers", "10"]).args(arguments);
        command.env("YOTPO_TD_METRICS_PUSH", "http://127.0.0.1:1").env("YOTPO_TD_METRICS_LISTEN", "0");
        let variables = ["YOTPO_TD_METRICS_FILE", "YOTPO_TD_SUMMARY_FILE", "YOTPO_TD_REPORT"];
        command.envs(variables.iter().zip(&files));
        let end = Running::start(command).finish();
        end.assert_code(0);
        assert_eq!(files.iter().find(|file| file.exists()), None, "{arguments:?}");
        assert!(!end.stderr.contains("metrics"), "{arguments:?}: {}", end.stderr);
    }
}

#[test]
fn a_password_in_an_address_is_not_repeated() {
    let surroundings = Surroundings::with_customers(10);
    let end = surroundings.run(&["--metrics-push", "http://user:hunter2@127.0.0.1:9091"]);
    end.assert_code(2);
    assert!(end.stderr.contains("--metrics-push") && !end.stderr.contains("hunter2"), "{}", end.stderr);
}
