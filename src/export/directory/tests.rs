use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
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
