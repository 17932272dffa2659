//! Inputs of `yotpo-td compare`, and a finished comparison with its JSON result.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;
use yotpo_td::part::{ChunkEncoder, CompressionLevel, PartBuilder};
use yotpo_td::row::{Encoder, IngestionTime, Rows};

use crate::program::binary::{Finished, Running, program};

/// A time of rows.
pub(crate) const TIME: u64 = 1_700_000_000;

/// A directory with inputs.
pub(crate) struct Inputs(TempDir);

/// A finished comparison with its JSON result.
pub(crate) struct Compared {
    pub(crate) end: Finished,
    pub(crate) result: Value,
}

impl Inputs {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// `yotpo-td compare` with these arguments in the directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(self.0.path()).arg("compare").args(arguments);
        command
    }

    /// Runs `yotpo-td compare` with these arguments in the directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        Running::start(self.command(arguments)).finish()
    }

    #[track_caller]
    pub(crate) fn compare(&self, a: &str, b: &str) -> Compared {
        let end = self.run(&[a, b, "--output", "json"]);
        let result = serde_json::from_str(&end.stdout)
            .unwrap_or_else(|error| panic!("{error} in {:?}\nstderr:\n{}", end.stdout, end.stderr));
        Compared { end, result }
    }
}

impl Compared {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        self.end.assert_code(code);
        assert_eq!((&self.result["exit_code"], &self.result["equal"]), (&json!(code), &json!(code == 0)));
    }

    /// Identical, written differently, changed, only in A, only in B.
    pub(crate) fn classes(&self) -> [u64; 5] {
        ["identical", "written_differently", "changed", "only_in_a", "only_in_b"]
            .map(|class| self.number(class))
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.result[key].as_u64().unwrap_or_else(|| panic!("{key} in {}", self.result))
    }
}

/// A gzip file of one member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// JSON Lines, as exported from a table.
pub(crate) fn exported(customers: &[impl AsRef<str>], time: u64) -> String {
    let line = |customer: &str| json!({ "json_response": customer, "time": time }).to_string() + "\n";
    customers.iter().map(|customer| line(customer.as_ref())).collect()
}

/// A part as a run uploads it.
pub(crate) fn part(customers: &[impl AsRef<str>]) -> Vec<u8> {
    let time = IngestionTime::from_unix_seconds(TIME).unwrap();
    let rows: Rows = customers
        .iter()
        .map(|customer| {
            let mut row = Vec::new();
            Encoder::new(time).encode(customer.as_ref(), &mut row).unwrap();
            row
        })
        .collect();
    let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST);
    encoder.add(&rows);
    let mut builder = PartBuilder::new();
    builder.append(&encoder.finish().unwrap());
    builder.finish().body.to_vec()
}

/// Different customers.
pub(crate) fn customers(count: u32) -> Vec<String> {
    let customer =
        |id| format!(r#"{{"external_id":"{id}","first_name":"Zoë","points":{id}.5,"tags":["a",{{}}]}}"#);
    (0..count).map(customer).collect()
}
