//! `docs/interface.json` lists the public interface. Entries can be added; one that is removed or changed breaks something for a user.
//!
//! `UPDATE_DOCUMENTS=1` writes what is new. It never removes or changes an entry, except for a name that `src/renamed.rs` lists. A person who
//! breaks the interface on purpose removes the line by hand, in a version that may do so (docs/releasing.md).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use yotpo_td::checkpoint::STATE_VERSION;
use yotpo_td::config::{Presence, SECRETS, SETTINGS};
use yotpo_td::diagnosis::Code;
use yotpo_td::exit_status::ExitStatus;
use yotpo_td::export::MANIFEST_VERSION;
use yotpo_td::identity::PROTOCOL;
use yotpo_td::renamed::{NameKind, RENAMED, Renamed};
use yotpo_td::row::{Encoder, IngestionTime};
use yotpo_td::telemetry::{FAMILIES, MetricLabels};

const DOCUMENT: &str = "docs/interface.json";
/// Sections of entries by name.
type Interface = BTreeMap<String, BTreeMap<String, Value>>;

/// The interface of this program.
fn current() -> Interface {
    let mut interface = Interface::new();
    let mut put = |section: &str, name: &str, value: Value| {
        interface.entry(section.to_owned()).or_default().insert(name.to_owned(), value);
    };
    for setting in SETTINGS {
        let default = match setting.presence {
            Presence::Required => json!({"required": true}),
            Presence::Optional => Value::Null,
            Presence::Default(default) => default.into(),
        };
        let facts = json!({
            "variable": setting.variable,
            "default": default,
            "values": setting.kind.possible_values(),
        });
        put("settings", setting.key, facts);
    }
    for secret in SECRETS {
        put("secrets", secret.variable, json!({"file": secret.file_variable()}));
    }
    flags(&yotpo_td::cli::command_line(), "", &mut |name, value| put("command_line", name, value));
    for status in ExitStatus::ALL {
        put("exit_codes", &status.code().to_string(), format!("{status:?}").into());
    }
    for code in Code::ALL {
        let facts = json!({"exit_code": code.status().code(), "retryable": code.is_retryable()});
        put("error_codes", code.name(), facts);
    }
    let schema = std::fs::read_to_string(path("docs/summary.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    fields(&schema, &schema, "", &mut |name, value| put("summary", name, value));
    for family in FAMILIES {
        let labels: Vec<_> = MetricLabels::NAMES.iter().chain(family.labels).collect();
        put("metrics", family.name, json!({"type": family.kind.name(), "labels": labels}));
    }
    let customer = r#"{"b": 1.50, "a": "é", "n": null, "b": [ ]}"#;
    let mut row = Vec::new();
    let time = IngestionTime::from_unix_seconds(1_795_406_400).unwrap();
    Encoder::new(time).encode(customer, &mut row).unwrap();
    let mut hex = String::new();
    for byte in row {
        write!(hex, "{byte:02x}").unwrap();
    }
    put("rows", "example", json!({"customer": customer, "time": 1_795_406_400, "messagepack": hex}));
    put("files", "state", json!({"version": STATE_VERSION}));
    put("files", "export manifest", json!({"version": MANIFEST_VERSION}));
    put("protocol", "sessions of attempts", json!({"version": PROTOCOL}));
    interface
}

/// Flags and arguments of a command and of those below it, such as `runs list --output`.
fn flags(command: &clap::Command, prefix: &str, put: &mut dyn FnMut(&str, Value)) {
    let shown = |argument: &&clap::Arg| !argument.is_hide_set();
    for argument in command.get_arguments().filter(shown) {
        let value = argument.get_action().takes_values();
        let name = match (argument.get_long(), argument.get_short()) {
            (Some(long), _) => format!("{prefix}--{long}"),
            (None, Some(short)) => format!("{prefix}-{short}"),
            (None, None) => format!("{prefix}{}", argument.get_id().as_str().to_uppercase()),
        };
        let short = argument.get_short().map(String::from);
        put(&name, json!({"value": value, "short": short, "required": argument.is_required_set()}));
    }
    for below in command.get_subcommands() {
        flags(below, &format!("{prefix}{} ", below.get_name()), put);
    }
}

/// The fields of a JSON Schema by path, such as `yotpo.requests`, with their types.
fn fields(schema: &Value, root: &Value, prefix: &str, put: &mut dyn FnMut(&str, Value)) {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    let schema = target.map_or(schema, |target| root.pointer(target).unwrap());
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, field) in properties {
        let name = format!("{prefix}{name}");
        let allowed: Map<_, _> = field
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| ["type", "const", "enum"].contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        put(&name, Value::Object(allowed));
        fields(field, root, &format!("{name}."), put);
    }
}

/// The section and the name of an entry that has a former name, with what it is now.
fn renamed_entry(renamed: &Renamed) -> Vec<(&'static str, String, String)> {
    let Renamed { kind, old, new, .. } = renamed;
    let pair = |section, old: String, new: String| (section, old, new);
    match kind {
        NameKind::Code => vec![pair("error_codes", (*old).to_owned(), (*new).to_owned())],
        NameKind::Metric => vec![pair("metrics", (*old).to_owned(), (*new).to_owned())],
        NameKind::Variable => vec![pair("secrets", (*old).to_owned(), (*new).to_owned())],
        NameKind::Key => vec![
            pair("settings", (*old).to_owned(), (*new).to_owned()),
            // Of every command.
            pair("command_line", format!(" --{old}"), format!(" --{new}")),
        ],
    }
}

/// Whether an entry that is missing is only called otherwise now.
fn is_renamed(section: &str, name: &str, current: &BTreeMap<String, Value>, renamed: &[Renamed]) -> bool {
    renamed.iter().flat_map(renamed_entry).any(|(of, old, new)| {
        let today = if section == "command_line" {
            name.strip_suffix(&old).map(|command| format!("{command}{new}"))
        } else {
            (name == old).then_some(new)
        };
        of == section && today.is_some_and(|today| current.contains_key(&today))
    })
}

/// Whether an entry is as before, except for a variable that has a former name.
fn is_same(before: &Value, now: &Value, renamed: &[Renamed]) -> bool {
    let mut before = before.clone();
    let variable = before.get("variable").and_then(Value::as_str).map(str::to_owned);
    let new = variable.and_then(|variable| {
        renamed.iter().find(|entry| entry.kind == NameKind::Variable && entry.old == variable)
    });
    if let (Some(entry), Some(object)) = (new, before.as_object_mut()) {
        object.insert("variable".to_owned(), entry.new.into());
    }
    before == *now
}

/// What a user of the interface `before` would miss in `now`.
fn broken(before: &Interface, now: &Interface, renamed: &[Renamed]) -> Vec<String> {
    let nothing = BTreeMap::new();
    let mut broken = Vec::new();
    for (section, entries) in before {
        let current = now.get(section).unwrap_or(&nothing);
        for (name, before) in entries {
            match current.get(name) {
                Some(now) if is_same(before, now, renamed) => {}
                Some(now) => broken.push(format!("{section}: {name} was {before} and is {now}")),
                None if is_renamed(section, name, current, renamed) => {}
                None => broken.push(format!("{section}: {name} is missing")),
            }
        }
    }
    broken
}

/// One entry on a line, so that a difference is easy to read.
fn written(interface: &Interface) -> String {
    let sections: Vec<_> = interface
        .iter()
        .map(|(section, entries)| {
            let lines: Vec<_> =
                entries.iter().map(|(name, value)| format!("    {}: {value}", json!(name))).collect();
            format!("  {}: {{\n{}\n  }}", json!(section), lines.join(",\n"))
        })
        .collect();
    format!("{{\n{}\n}}\n", sections.join(",\n"))
}

fn path(document: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(document)
}

#[test]
fn the_public_interface_only_grows() {
    let text = std::fs::read_to_string(path(DOCUMENT)).unwrap();
    let before: Interface = serde_json::from_str(&text).unwrap();
    let now = current();
    let broken = broken(&before, &now, RENAMED);
    assert!(
        broken.is_empty(),
        "this breaks the public interface:\n{}\nAdd a former name to src/renamed.rs, or, in a version that may break it, remove the line \
         from {DOCUMENT} (docs/releasing.md)",
        broken.join("\n")
    );
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(path(DOCUMENT), written(&now)).unwrap();
    } else {
        assert_eq!(
            text,
            written(&now),
            "the interface has grown; UPDATE_DOCUMENTS=1 cargo test --test it project writes {DOCUMENT}"
        );
    }
}

#[test]
fn what_is_removed_or_changed_is_noticed_and_what_is_renamed_or_new_is_not() {
    let interface = |entries: &[(&str, &str, Value)]| {
        let mut interface = Interface::new();
        for (section, name, value) in entries {
            interface.entry((*section).to_owned()).or_default().insert((*name).to_owned(), value.clone());
        }
        interface
    };
    let before = interface(&[
        ("settings", "table", json!({"variable": "TD_TABLE"})),
        ("command_line", "sync --table", Value::Null),
        ("metrics", "pages", json!(1)),
    ]);
    let mut now = before.clone();
    now.get_mut("metrics").unwrap().insert("parts".to_owned(), json!(2));
    assert_eq!(broken(&before, &now, &[]), [] as [String; 0]);
    now.get_mut("metrics").unwrap().insert("pages".to_owned(), json!(3));
    assert_eq!(broken(&before, &now, &[]), ["metrics: pages was 1 and is 3"]);

    let now = interface(&[
        ("settings", "target", json!({"variable": "TD_TARGET"})),
        ("command_line", "sync --target", Value::Null),
        ("metrics", "pages", json!(1)),
    ]);
    let missing = ["command_line: sync --table is missing", "settings: table is missing"];
    assert_eq!(broken(&before, &now, &[]), missing);
    let key = Renamed { kind: NameKind::Key, old: "table", new: "target", removed_in: "0.3.0" };
    assert_eq!(broken(&before, &now, &[key]), [] as [String; 0]);
    assert_eq!(broken(&before, &now, &[Renamed { new: "other", ..key }]), missing);

    let now = interface(&[
        ("settings", "table", json!({"variable": "TD_TARGET"})),
        ("command_line", "sync --table", Value::Null),
        ("metrics", "pages", json!(1)),
    ]);
    let variable =
        Renamed { kind: NameKind::Variable, old: "TD_TABLE", new: "TD_TARGET", removed_in: "0.3.0" };
    assert_eq!(
        broken(&before, &now, &[]),
        [r#"settings: table was {"variable":"TD_TABLE"} and is {"variable":"TD_TARGET"}"#]
    );
    assert_eq!(broken(&before, &now, &[variable]), [] as [String; 0]);
}
