//! The real program through TLS with a private authority: the effect of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and errors
//! about servers and certificates that cannot be trusted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use yotpo_td::sandbox::Service;

use crate::program::binary::{Finished, Running, Surroundings, program};
use crate::program::closing_words::{assert_words, transcript};
use crate::tls_relay::{Authority, TlsRelay};

/// Sixty customers on twelve pages behind TLS.
struct Encrypted {
    surroundings: Surroundings,
    authority: Authority,
    yotpo: TlsRelay,
    treasure_data: TlsRelay,
}

impl Encrypted {
    fn new() -> Self {
        let surroundings = Surroundings::with_customers(60);
        let authority = Authority::named("of the test");
        let yotpo = surroundings.relay(Service::Yotpo, &authority);
        let treasure_data = surroundings.relay(Service::TreasureData, &authority);
        Self { surroundings, authority, yotpo, treasure_data }
    }

    /// A file in the test's directory.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.surroundings.directory().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The file that makes both services trusted.
    fn certificates(&self) -> PathBuf {
        self.file("authority.pem", &self.authority.pem())
    }

    /// Connects a command to these services, without settings for certificates.
    fn lead(&self, mut command: Command) -> Command {
        command.envs(self.surroundings.environment());
        command.env("YOTPO_TD_YOTPO_ENDPOINT", self.yotpo.endpoint());
        command.env("TD_API_SERVER", self.treasure_data.endpoint());
        command
    }

    fn sync(&self, variable: &str, certificates: &Path) -> Finished {
        let mut command = self.lead(self.surroundings.sync(&[]));
        command.env(variable, certificates);
        Running::start(command).finish()
    }

    /// Neither service received a request, and there was at most one connection to each.
    #[track_caller]
    fn assert_nothing_was_sent(&self) {
        assert!(self.yotpo.exchanges().is_empty(), "{:?}", self.yotpo.exchanges());
        assert!(self.treasure_data.exchanges().is_empty(), "{:?}", self.treasure_data.exchanges());
        assert!(self.yotpo.connections() <= 1 && self.treasure_data.connections() <= 1);
        assert_eq!(self.surroundings.control().tables(), []);
    }
}

#[test]
fn run_through_tls_loads_exactly() {
    let encrypted = Encrypted::new();
    encrypted.sync("SSL_CERT_FILE", &encrypted.certificates()).assert_code(0);
    encrypted.surroundings.assert_exact_and_clean();
    assert!(encrypted.treasure_data.connections() > 0);
}

#[test]
fn all_pages_come_through_one_connection() {
    let encrypted = Encrypted::new();
    encrypted.sync("SSL_CERT_FILE", &encrypted.certificates()).assert_code(0);
    let exchanges = encrypted.yotpo.exchanges();
    let pages = exchanges.iter().filter(|exchange| exchange.request.ends_with("/customers")).count();
    assert_eq!(pages, 12, "{exchanges:?}");
    assert!(exchanges.iter().all(|exchange| exchange.connection == 0), "{exchanges:?}");
    assert_eq!(encrypted.yotpo.connections(), 1);
}

#[test]
fn certificates_are_taken_from_the_directories_of_ssl_cert_dir() {
    let encrypted = Encrypted::new();
    let directory = encrypted.surroundings.directory().join("certificates");
    fs::create_dir(&directory).unwrap();
    fs::copy(encrypted.certificates(), directory.join("authority.pem")).unwrap();
    encrypted.sync("SSL_CERT_DIR", &directory).assert_code(0);
    encrypted.surroundings.assert_exact_and_clean();
}

/// A pipe can be read once: reading the certificates again would block forever.
#[test]
#[cfg(target_os = "linux")]
fn certificates_are_read_once_for_both_services() {
    use rustix::fs::{CWD, Mode, mkfifoat};

    let encrypted = Encrypted::new();
    let pipe = encrypted.surroundings.directory().join("pipe.pem");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let pem = encrypted.authority.pem();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, pem).unwrap()
    });
    encrypted.sync("SSL_CERT_FILE", &pipe).assert_code(0);
    writer.join().unwrap();
    encrypted.surroundings.assert_exact_and_clean();
}

#[test]
fn plain_http_needs_no_certificates() {
    let surroundings = Surroundings::with_customers(60);
    let mut command = surroundings.sync(&[]);
    command.env("SSL_CERT_FILE", surroundings.directory().join("absent.pem"));
    Running::start(command).finish().assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn server_of_another_authority_is_refused_immediately() {
    let encrypted = Encrypted::new();
    let other = encrypted.file("other.pem", &Authority::named("another").pem());
    let end = encrypted.sync("SSL_CERT_FILE", &other);
    end.assert_code(5);
    assert_words!("other_authority", transcript(&end));
    encrypted.assert_nothing_was_sent();
}

#[test]
fn expired_certificate_has_a_hint_about_the_clock() {
    let surroundings = Surroundings::with_customers(60);
    let authority = Authority::named("of the test").expired();
    let certificates = surroundings.directory().join("authority.pem");
    fs::write(&certificates, authority.pem()).unwrap();
    for (service, variable, code) in
        [(Service::TreasureData, "TD_API_SERVER", 5), (Service::Yotpo, "YOTPO_TD_YOTPO_ENDPOINT", 4)]
    {
        let relay = surroundings.relay(service, &authority);
        let mut command = surroundings.sync(&[]);
        command.env(variable, relay.endpoint()).env("SSL_CERT_FILE", &certificates);
        let end = Running::start(command).finish();
        end.assert_code(code);
        let said = end.closing();
        for text in ["certificate expired", "and this machine's clock", &format!(" (from {variable})")] {
            assert!(said.contains(text), "{text:?} in {said}");
        }
        assert_eq!(relay.connections(), 1, "it is not repeated");
    }
}

#[test]
fn without_ssl_cert_file_the_system_does_not_know_the_authority() {
    let encrypted = Encrypted::new();
    let end = Running::start(encrypted.lead(encrypted.surroundings.sync(&[]))).finish();
    // A machine without certificates trusts no server either, and reports this.
    let (code, words) = if end.stderr.contains("no root certificates") {
        (6, "no server can be trusted")
    } else {
        (5, "the server's certificate is not trusted")
    };
    end.assert_code(code);
    assert!(end.closing().contains(words), "{}", end.stderr);
    encrypted.assert_nothing_was_sent();
}

#[test]
fn missing_ssl_cert_file_is_reported() {
    let encrypted = Encrypted::new();
    let end = encrypted.sync("SSL_CERT_FILE", &encrypted.surroundings.directory().join("absent.pem"));
    end.assert_code(6);
    assert_words!("certificates_absent", transcript(&end));
    encrypted.assert_nothing_was_sent();
}

#[test]
fn ssl_cert_file_without_a_certificate_is_reported() {
    let encrypted = Encrypted::new();
    let end = encrypted.sync("SSL_CERT_FILE", &encrypted.file("garbage.pem", "no certificate\n"));
    end.assert_code(6);
    assert_words!("certificates_garbage", transcript(&end));
    encrypted.assert_nothing_was_sent();
}

#[test]
fn ssl_cert_file_with_a_damaged_certificate_is_reported() {
    let encrypted = Encrypted::new();
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let end = encrypted.sync("SSL_CERT_FILE", &encrypted.file("damaged.pem", damaged));
    end.assert_code(6);
    assert_words!("certificates_damaged", transcript(&end));
    encrypted.assert_nothing_was_sent();
}

#[test]
fn cleaning_up_without_certificates_is_reported() {
    let encrypted = Encrypted::new();
    let mut command = encrypted.lead(program());
    command.args(["runs", "clean"]);
    command.env("SSL_CERT_FILE", encrypted.surroundings.directory().join("absent.pem"));
    let end = Running::start(command).finish();
    end.assert_code(6);
    assert_words!("certificates_absent_runs", transcript(&end));
    encrypted.assert_nothing_was_sent();
}

#[test]
fn an_export_and_a_dry_run_without_certificates_are_reported() {
    let encrypted = Encrypted::new();
    let directory = encrypted.surroundings.directory().join("export");
    for (arguments, saved) in [
        (&["--to", directory.to_str().unwrap()][..], "saved: nothing was started; "),
        (&["--dry-run"], "saved: nothing: a dry run loads and saves nothing; "),
    ] {
        let mut command = encrypted.lead(encrypted.surroundings.sync(arguments));
        command.env("SSL_CERT_FILE", encrypted.surroundings.directory().join("absent.pem"));
        let end = Running::start(command).finish();
        end.assert_code(6);
        for text in
            ["error: no root certificates could be loaded, ", "hint: install the system's certificates "]
        {
            assert!(end.closing().contains(text), "{text:?} in {}", end.closing());
        }
        assert!(end.last_line().starts_with(saved), "{}", end.last_line());
    }
    encrypted.assert_nothing_was_sent();
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let encrypted = Encrypted::new();
    let unset = encrypted.sync("NOBODY_READS_IT", Path::new(""));
    // The machine does not trust the authority of this test.
    assert_ne!(unset.code(), 0);
    for variable in
        ["SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "all_proxy", "no_proxy", "YOTPO_TD_PAGE_SIZE"]
    {
        let empty = encrypted.sync(variable, Path::new(""));
        assert_eq!((empty.code(), empty.closing()), (unset.code(), unset.closing()), "{variable}");
    }
}
