use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// Without a child process, which would hold the locks of other tests between fork and exec.
fn make_fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

const ME: u32 = 1000;
const SOMEBODY: u32 = 1001;
/// Far longer than an open that does not block.
const WATCHDOG: Duration = Duration::from_secs(30);

fn file(owner: u32, mode: u32) -> Result<Repair, Reason> {
    decide(Kind::File, Found { kind: Some(Kind::File), owner, mode }, ME)
}

fn directory(owner: u32, mode: u32) -> Result<Repair, Reason> {
    decide(Kind::Directory, Found { kind: Some(Kind::Directory), owner, mode }, ME)
}

#[test]
fn files_are_trusted_by_owner_and_mode_and_set_back_to_0600() {
    for owner in [ME, ROOT] {
        for mode in [0o600, 0o400, 0o700] {
            assert_eq!(file(owner, mode), Ok(Repair::Nothing), "{owner} {mode:o}");
        }
        for mode in [0o660, 0o620, 0o640, 0o644, 0o604] {
            assert_eq!(file(owner, mode), Ok(Repair::Restrict(0o600)), "{owner} {mode:o}");
        }
        for mode in [0o666, 0o602, 0o777] {
            assert_eq!(file(owner, mode), Err(Reason::WritableByAll { mode }), "{owner} {mode:o}");
        }
    }
    assert_eq!(file(SOMEBODY, 0o600), Err(Reason::OtherOwner { owner: SOMEBODY, user: ME }));
    // Root trusts nobody else either.
    let found = Found { kind: Some(Kind::File), owner: ME, mode: 0o600 };
    assert_eq!(decide(Kind::File, found, ROOT), Err(Reason::OtherOwner { owner: ME, user: ROOT }));
}

#[test]
fn directories_are_closed_to_their_group_unless_root_opened_them() {
    for mode in [0o700, 0o755, 0o2755] {
        assert_eq!(directory(ME, mode), Ok(Repair::Nothing), "{mode:o}");
    }
    assert_eq!(directory(ME, 0o775), Ok(Repair::Restrict(0o755)));
    assert_eq!(directory(ME, 0o2770), Ok(Repair::Restrict(0o2750)));
    assert_eq!(directory(ROOT, 0o2775), Ok(Repair::Nothing));
    for mode in [0o777, 0o702] {
        assert_eq!(directory(ME, mode), Err(Reason::WritableByAll { mode }), "{mode:o}");
        assert_eq!(directory(ROOT, mode), Err(Reason::Shared { mode }), "not ours to change: {mode:o}");
    }
    // As /tmp: closing it to others would break what uses it.
    assert_eq!(directory(ME, 0o1777), Err(Reason::Shared { mode: 0o1777 }));
    let own = Found { kind: Some(Kind::Directory), owner: ROOT, mode: 0o1777 };
    assert_eq!(decide(Kind::Directory, own, ROOT), Err(Reason::Shared { mode: 0o1777 }));
    assert_eq!(directory(SOMEBODY, 0o700), Err(Reason::OtherOwner { owner: SOMEBODY, user: ME }));
}

#[test]
fn an_unexpected_kind_is_refused() {
    for (expected, kind) in
        [(Kind::File, Some(Kind::Directory)), (Kind::File, None), (Kind::Directory, Some(Kind::File))]
    {
        let found = Found { kind, owner: ME, mode: 0o600 };
        assert_eq!(decide(expected, found, ME), Err(Reason::WrongKind), "{expected:?} {kind:?}");
    }
}

/// The errors of every way in which this program opens files. None of them may block.
fn refusals(path: &Path) -> Vec<Reason> {
    let ways: [fn(&mut OpenOptions) -> &mut OpenOptions; 4] = [
        |options| options.read(true),
        |options| options.write(true).create(true),
        |options| options.append(true).create(true),
        |options| options.read(true).write(true).create(true),
    ];
    let mut reasons = Vec::new();
    for way in ways {
        let (sender, receiver) = mpsc::channel();
        let opened = path.to_owned();
        std::thread::spawn(move || sender.send(open_private(&opened, way(&mut OpenOptions::new()))));
        match receiver.recv_timeout(WATCHDOG).expect("it does not block") {
            Err(PrivateFileError::Untrusted(error)) => reasons.push(error.reason),
            other => panic!("{other:?}"),
        }
    }
    reasons
}

#[test]
fn links_and_special_files_are_refused_without_blocking() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::write(path("file"), "content").unwrap();
    symlink(path("file"), path("link")).unwrap();
    symlink(path("nothing"), path("dangling link")).unwrap();
    make_fifo(&path("fifo"));
    fs::create_dir(path("directory")).unwrap();
    let _listener = UnixListener::bind(path("socket")).unwrap();
    for name in ["link", "dangling link"] {
        assert_eq!(refusals(&path(name)), [Reason::SymbolicLink; 4], "{name}");
    }
    for name in ["fifo", "directory", "socket"] {
        assert_eq!(refusals(&path(name)), [Reason::WrongKind; 4], "{name}");
    }
    // With a process at its other end, a FIFO can be opened in every way.
    let _reader = OpenOptions::new().read(true).write(true).open(path("fifo")).unwrap();
    assert_eq!(refusals(&path("fifo")), [Reason::WrongKind; 4]);
    assert_eq!(refusals(Path::new("/dev/null")), [Reason::WrongKind; 4]);
    assert_eq!(fs::read(path("file")).unwrap(), b"content");
    assert!(!path("nothing").exists());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn modes_on_disk_are_restricted_or_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    drop(open_private(&path, OpenOptions::new().write(true).create(true)).unwrap());
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
    drop(open_private(&path, OpenOptions::new().read(true)).unwrap());
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let error = open_private(&path, OpenOptions::new().read(true)).unwrap_err();
    let shown = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "every user can write to {shown} (mode 0666): run `chmod 600 {shown}` if you trust its content, otherwise \
             delete it"
        )
    );
    assert_eq!(mode(&path), 0o666, "left unchanged for inspection");

    let directory = place.path().join("state of \"mine\"");
    make_directory(&directory).unwrap();
    assert_eq!(mode(&directory), 0o700);
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o775)).unwrap();
    check_directory(&directory).unwrap();
    assert_eq!(mode(&directory), 0o755);
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o1777)).unwrap();
    let error = check_directory(&directory).unwrap_err();
    let shown = directory.display();
    assert_eq!(
        error.to_string(),
        format!(
            "every user can write to {shown} (mode 1777): choose a subdirectory of it that does not exist yet, which is then \
             created for this user only"
        )
    );
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).unwrap();
    let error = check_directory(&directory).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "every user can write to {shown} (mode 0777): run `chmod 700 '{shown}'` or choose another directory"
        )
    );
}

#[test]
fn what_cannot_be_typed_is_no_command() {
    for (name, shown) in [("a\nb", "/x/a\\nb"), ("\u{1b}c", "/x/\\u001bc")] {
        let path = Path::new("/x").join(name);
        let untrusted =
            |reason| UntrustedPath { path: path.clone(), expected: Kind::File, reason }.to_string();
        assert_eq!(
            untrusted(Reason::WritableByAll { mode: 0o666 }),
            format!(
                "every user can write to {shown} (mode 0666): change its mode to 600 if you trust its content, otherwise \
                 delete it"
            )
        );
        assert_eq!(
            untrusted(Reason::OtherOwner { owner: 7, user: 8 }),
            format!(
                "{shown} belongs to user 7, but this process runs as user 8: change its owner if you trust its content, \
                 otherwise delete it"
            )
        );
    }
}

#[test]
fn a_mode_that_cannot_be_changed_is_an_error_unless_nothing_can_be_written() {
    let found = Found { kind: Some(Kind::File), owner: ME, mode: 0o664 };
    let restricted = |error: io::ErrorKind| {
        restrict(Path::new("file"), found, 0o600, |permissions| {
            assert_eq!(permissions.mode(), 0o600);
            Err(error.into())
        })
    };
    assert!(restricted(io::ErrorKind::ReadOnlyFilesystem).is_ok());
    let error = restricted(io::ErrorKind::PermissionDenied).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn only_permissions_of_a_file_of_another_owner_may_stay_too_open() {
    let denied = io::ErrorKind::PermissionDenied;
    let other = io::ErrorKind::StorageFull;
    for (failure, owner, expected) in [
        (None, ME, Ok(())),
        (None, ROOT, Ok(())),
        (Some(denied), ROOT, Ok(())),
        (Some(denied), ME, Err(denied)),
        (Some(other), ROOT, Err(other)),
        (Some(other), ME, Err(other)),
    ] {
        let restricted = failure.map_or(Ok(()), |kind| Err(kind.into()));
        let result = unless_of_other(restricted, owner, ME).map_err(|error| error.kind());
        assert_eq!(result, expected, "{failure:?} {owner}");
    }
}

#[test]
fn what_another_owner_opened_to_others_is_shared() {
    let is_shared = |owner, mode| Found { kind: Some(Kind::Directory), owner, mode }.is_shared(ME);
    for mode in [0o750, 0o705, 0o701, 0o755, 0o1777] {
        assert!(is_shared(ROOT, mode), "{mode:o}");
        assert!(!is_shared(ME, mode), "this user can close it: {mode:o}");
    }
    assert!(!is_shared(ROOT, 0o700) && !is_shared(ROOT, 0o1700));
    let root = fs::metadata("/").unwrap();
    assert_eq!(super::is_shared(&root), current_user() != ROOT, "/ is open to others");
}

#[test]
fn a_look_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, "content").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
    drop(look_at_private(&path).unwrap());
    assert_eq!(mode(&path), 0o664);
    drop(read_private(&path).unwrap());
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    for opened in [look_at_private(&path), read_private(&path)] {
        assert!(matches!(opened, Err(PrivateFileError::Untrusted(_))), "{opened:?}");
    }
}

#[test]
fn other_owners_on_disk_are_refused() {
    if !rustix::process::geteuid().is_root() {
        // The decision itself is tested above.
        println!("skipped: only root can change the owner of a file");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, "content").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    chown(&path, Some(SOMEBODY), None).unwrap();
    let error = open_private(&path, OpenOptions::new().read(true)).unwrap_err();
    let shown = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "{shown} belongs to user 1001, but this process runs as user 0: run `chown 0 {shown}` if you trust its \
             content, otherwise delete it"
        )
    );
    assert!(!is_shared(&fs::metadata(&path).unwrap()));
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    assert!(is_shared(&fs::metadata(&path).unwrap()));
    chown(place.path(), Some(SOMEBODY), None).unwrap();
    let error = check_directory(place.path()).unwrap_err();
    assert!(error.to_string().ends_with("or choose another directory"), "{error}");
    chown(place.path(), Some(ROOT), None).unwrap();
    check_directory(place.path()).unwrap();
}
