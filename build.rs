//! What the program was built from, for `--version`.
//!
//! The date is that of the commit, or of `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>), so that
//! the same source gives the same program. Without git, both are "unknown".

use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let unknown = || "unknown".to_owned();
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(unknown);
    let date = source_date().or_else(commit_date).unwrap_or_else(unknown);
    let features = if std::env::var_os("CARGO_FEATURE_SANDBOX").is_some() { "sandbox" } else { "none" };
    let target = variable("TARGET").unwrap_or_else(unknown);
    for (name, value) in
        [("COMMIT", commit), ("DATE", date), ("TARGET", target), ("FEATURES", features.to_owned())]
    {
        println!("cargo::rustc-env=BUILD_{name}={value}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

fn source_date() -> Option<String> {
    let seconds = variable("SOURCE_DATE_EPOCH")?.trim().parse().ok()?;
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    // A date has 10 characters.
    humantime::format_rfc3339_seconds(time).to_string().get(..10).map(str::to_owned)
}

fn commit_date() -> Option<String> {
    let seconds: u64 = git(&["log", "-1", "--format=%ct"])?.parse().ok()?;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds))
        .to_string()
        .get(..10)
        .map(str::to_owned)
}

/// What git prints, if the source is a repository of its own and not part of another one.
fn git(arguments: &[&str]) -> Option<String> {
    let is_own = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join(".git").exists();
    if !is_own {
        return None;
    }
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}
