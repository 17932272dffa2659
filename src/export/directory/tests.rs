use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;
use crate::captured_log::CapturedLog;
use crate::export::error::NOT_SHARED;
use crate::export::manifest::tests::example;

/// What a manifest that was cut off begins with.
const BEGUN: &str = "{\"form";

/// A directory with the example's export, and its place.
fn exported() -> (TempDir, ExportDirectory) {
    let place = tempfile::tempdir().unwrap();
    let directory = ExportDirectory::create(&place.path().join("export")).unwrap();
    for (part, position) in example().parts.iter().zip(0_u64..) {
        directory.store_part(&part.name, &Bytes::copy_from_slice(&position.to_le_bytes())).unwrap();
    }
    directory.save(&example()).unwrap();
    (place, directory)
}

/// Replaces a file with a symbolic link to it.
fn link(path: &Path) {
    let moved = path.with_extension("moved");
    std::fs::rename(path, &moved).unwrap();
    symlink(&moved, path).unwrap();
}

#[test]
fn other_files_beside_an_export_do_not_make_it_unusable_and_are_kept() {
    let (_place, directory) = exported();
    std::fs::write(directory.path().join("notes.txt"), "kept").unwrap();
    assert_eq!(ExportDirectory::create(directory.path()).unwrap(), directory);
    assert_eq!(directory.remove_surplus(None).unwrap(), 3);
    assert_eq!(directory.file_names().unwrap(), ["notes.txt"]);
    // Without the manifest, nothing says that it was an export.
    let error = ExportDirectory::create(directory.path()).unwrap_err();
    assert!(matches!(error, ExportError::NotEmpty { .. }), "{error}");
}

#[test]
fn only_temporary_files_of_exports_are_taken_for_such() {
    let part = OwnPart::new(0, b"part").render();
    for (name, is_own) in [
        ("manifest.json.new".to_owned(), true),
        (format!("{part}.msgpack.gz.new"), true),
        (format!("{part}.gz.new"), false),
        ("lock.new".to_owned(), false),
        ("notes.txt.new".to_owned(), false),
    ] {
        assert_eq!(matches!(own_file(&name), Some(OwnFile::Temporary)), is_own, "{name}");
    }
}

#[test]
fn a_manifest_of_unknown_origin_does_not_make_a_directory_foreign() {
    let cut = |path: &Path| std::fs::write(path, BEGUN).unwrap();
    let damages: [fn(&Path); 2] = [cut, link];
    for damage in damages {
        let (_place, directory) = exported();
        damage(&directory.path().join(MANIFEST_FILE));
        assert!(matches!(directory.manifest_origin(), Origin::Unknown));
    }
    let (_place, directory) = exported();
    cut(&directory.path().join(MANIFEST_FILE));
    assert_eq!(ExportDirectory::create(directory.path()).unwrap(), directory);
    let error = directory.complete().unwrap_err();
    assert!(matches!(error, ExportError::Manifest { .. }), "{error}");
}

#[test]
fn links_in_place_of_the_manifest_or_a_part_are_not_followed() {
    let (_place, directory) = exported();
    let parts = example().parts;
    let first = &parts[0];
    let part = directory.part_path(&first.name);
    assert_eq!(directory.read_part(first).unwrap(), Bytes::copy_from_slice(&0_u64.to_le_bytes()));
    let refused = |path: &Path| {
        format!(
            "{} is a symbolic link, which is never followed: replace it with the file that it names, or delete it",
            path.display()
        )
    };
    link(&part);
    assert_eq!(directory.read_part(first).unwrap_err().to_string(), refused(&part));
    assert_eq!(directory.complete().unwrap_err().to_string(), refused(&part));
    let manifest = directory.path().join(MANIFEST_FILE);
    link(&manifest);
    assert_eq!(directory.manifest().unwrap_err().to_string(), refused(&manifest));
    assert_eq!(directory.complete().unwrap_err().to_string(), refused(&manifest));
}

#[test]
fn a_part_must_have_the_digest_that_is_listed_and_not_only_its_name() {
    let (_place, directory) = exported();
    let parts = example().parts;
    let listed = ManifestPart { sha256: parts[1].sha256, ..parts[0].clone() };
    let expected = format!(
        "the part {} is damaged: its checksum is not the one in the manifest",
        directory.part_path(&listed.name).display()
    );
    assert_eq!(directory.read_part(&listed).unwrap_err().to_string(), expected);
}

#[test]
fn what_cannot_be_removed_is_named_and_the_parts_stay() {
    let (_place, directory) = exported();
    let manifest = directory.path().join(MANIFEST_FILE);
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    let error = directory.remove_surplus(None).unwrap_err().to_string();
    assert_eq!(error, format!("could not remove {}", manifest.display()));
    assert_eq!(directory.file_names().unwrap().len(), 1 + example().parts.len());
}

#[test]
fn what_cannot_be_read_is_not_taken_for_missing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    std::fs::write(&path, "not a directory").unwrap();
    let directory = ExportDirectory { path };
    for error in [
        directory.manifest().unwrap_err(),
        directory.complete().unwrap_err(),
        directory.read_part(&example().parts[0]).unwrap_err(),
    ] {
        let ExportError::Io { action: "read", source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::NotADirectory);
        assert!(!error.is_usage());
    }
}

#[test]
fn a_missing_part_is_named() {
    let (_place, directory) = exported();
    let path = directory.part_path(&example().parts[1].name);
    std::fs::remove_file(&path).unwrap();
    let error = directory.complete().unwrap_err();
    assert_eq!(error.to_string(), format!("the part {} is missing", path.display()));
}

#[test]
fn the_largest_part_may_be_any() {
    let (_place, directory) = exported();
    let mut export = directory.complete().unwrap();
    for (position, bytes) in [(1, 90), (0, 91), (2, 92)] {
        export.manifest.parts[position].bytes = bytes;
        assert_eq!(u64::try_from(export.largest_part()), Ok(bytes));
    }
    export.manifest.parts.clear();
    assert_eq!(export.largest_part(), 0);
}

#[test]
fn a_directory_that_others_may_use_is_closed_to_them_and_reported() {
    let log = CapturedLog::start(tracing::Level::WARN);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (_place, directory) = exported();
    for private in [0o700, 0o500] {
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(private)).unwrap();
        ExportDirectory::create(directory.path()).unwrap();
        assert_eq!(mode(directory.path()), private);
    }
    assert_eq!(log.text(), "");
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    ExportDirectory::create(directory.path()).unwrap();
    assert_eq!(mode(directory.path()), 0o700);
    let expected = format!(
        "permissions were too open and have been restricted path={} before=\"0755\" after=\"0700\"",
        directory.path().display()
    );
    assert_eq!(log.lines(&expected).len(), 1, "{}", log.text());
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
}

#[test]
fn the_hint_for_a_shared_directory_is_to_choose_another_one() {
    let (place, directory) = exported();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    let error = ExportDirectory::trusted(place.path()).unwrap_err();
    assert_eq!((error.hint().as_str(), error.is_usage()), (NOT_SHARED, true));
    link(&directory.path().join(MANIFEST_FILE));
    let error = directory.manifest().unwrap_err();
    let expected = "check the directory, its disk and permissions";
    assert_eq!((error.hint().as_str(), error.is_usage()), (expected, false));
}

#[test]
fn an_export_of_another_user_that_others_may_read_is_reported() {
    if !rustix::process::geteuid().is_root() {
        // Which files are shared is tested where that is decided.
        println!("skipped: only root can change the owner of a file");
        return;
    }
    let log = CapturedLog::start(tracing::Level::WARN);
    let (_place, directory) = exported();
    let manifest = directory.path().join(MANIFEST_FILE);
    chown(&manifest, Some(1001), None).unwrap();
    assert_eq!(ExportDirectory::at(directory.path()).unwrap(), directory);
    assert_eq!(log.text(), "", "only its owner may read it");
    std::fs::set_permissions(&manifest, PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(ExportDirectory::at(directory.path()).unwrap(), directory);
    let lines = log.lines("other users may read this export");
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.ends_with(&format!("path={} mode=\"0640\"", manifest.display())), "{line}");
}
