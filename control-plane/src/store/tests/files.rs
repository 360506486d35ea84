//! One look at a directory: what is read of it, and what is wrong with what.

use super::*;

fn errors(dir: &Path) -> Vec<(String, String)> {
    match FileStore::new(dir).load() {
        Ok(model) => panic!("valid: {model:?}"),
        Err(LoadError::Unavailable { source, .. }) => panic!("{source}"),
        Err(LoadError::Invalid(Diagnostics(errors))) => {
            let name = |file: &Path| file.strip_prefix(dir).unwrap().display().to_string();
            errors.into_iter().map(|error| (name(&error.file), error.message)).collect()
        }
    }
}

#[test]
fn only_visible_yaml_files_are_read_at_any_depth() {
    let dir = directory(&[
        ("a.yaml", GATEWAY),
        (".hidden.yaml", "a: ["),
        ("b.txt", "a: ["),
        ("c.yaml.bak", "a: ["),
    ]);
    fs::create_dir_all(dir.path().join("x/.git")).unwrap();
    write(&dir.path().join("x/.git"), "d.yaml", "a: [");
    write(&dir.path().join("x"), "e.yml", &backend("e"));
    let model = FileStore::new(dir.path()).load().unwrap();
    assert_eq!((model.gateways.len(), names(&model)), (1, vec!["e"]));
}

#[test]
fn links_are_followed_without_loops_and_without_reading_twice() {
    let elsewhere = directory(&[("b.yaml", &backend("b"))]);
    let dir = directory(&[("a.yaml", GATEWAY)]);
    symlink(elsewhere.path(), dir.path().join("more")).unwrap();
    symlink(elsewhere.path(), dir.path().join("same")).unwrap();
    symlink("a.yaml", dir.path().join("also-a.yaml")).unwrap();
    symlink(".", dir.path().join("loop")).unwrap();
    symlink("round.yaml", dir.path().join("round.yaml")).unwrap();
    symlink(dir.path(), elsewhere.path().join("back")).unwrap();
    let errors = errors(dir.path());
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].0, "round.yaml");
    fs::remove_file(dir.path().join("round.yaml")).unwrap();
    assert_eq!(names(&FileStore::new(dir.path()).load().unwrap()), ["b"]);
}

#[test]
fn what_cannot_be_read_is_an_error_of_its_file() {
    let dir = directory(&[("a.yaml", GATEWAY), ("empty.yaml", ""), ("comment.yaml", "# nothing\n")]);
    fs::write(dir.path().join("binary.yaml"), b"\x7fELF\0\0\x01").unwrap();
    // It takes no place on the disk, and is not read.
    File::create(dir.path().join("large.yaml")).unwrap().set_len(100 << 20).unwrap();
    symlink("nowhere", dir.path().join("link.yaml")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(dir.path().join("pipe.yaml")).status().unwrap();
    assert!(fifo.success());
    let errors = errors(dir.path());
    let expected = [
        ("binary.yaml", "a NUL character: this is a binary file, or UTF-16"),
        ("comment.yaml", "the file is empty: it has no document"),
        ("empty.yaml", "the file is empty: it has no document"),
        ("large.yaml", "the file has 100.0 MiB (104857600 bytes); at most 4 MiB are read"),
        ("link.yaml", "cannot be read: No such file or directory (os error 2)"),
        ("pipe.yaml", "not a regular file"),
    ];
    assert_eq!(errors, expected.map(|(file, message)| (file.to_owned(), message.to_owned())));
}

#[test]
fn odd_files_are_errors_and_never_waited_for() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    File::create(dir.path().join("huge.yaml")).unwrap().set_len(100 << 20).unwrap();
    symlink("/dev/zero", dir.path().join("device.yaml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket.yaml")).unwrap();
    let errors = errors(dir.path());
    let expected = [
        ("device.yaml", "not a regular file"),
        ("huge.yaml", "the file has 100.0 MiB (104857600 bytes); at most 4 MiB are read"),
        ("socket.yaml", "not a regular file"),
    ];
    assert_eq!(errors, expected.map(|(file, message)| (file.to_owned(), message.to_owned())));
}

#[test]
fn a_file_may_have_a_name_that_is_not_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let path = dir.path().join(std::ffi::OsStr::from_bytes(b"b\xff.yaml"));
    fs::write(&path, backend("b")).unwrap();
    assert_eq!(names(&FileStore::new(dir.path()).load().unwrap()), ["b"]);
    fs::write(&path, "a: [").unwrap();
    let error = FileStore::new(dir.path()).load().unwrap_err().to_string();
    assert!(error.contains("b\u{fffd}.yaml:"), "{error}");
}

#[test]
fn line_ends_and_a_byte_order_mark_make_no_difference() {
    let crlf = format!("{GATEWAY}---\n{}", backend("b")).replace('\n', "\r\n");
    let dir = directory(&[("a.yaml", &format!("\u{feff}{crlf}"))]);
    assert_eq!(names(&FileStore::new(dir.path()).load().unwrap()), ["b"]);
    let latin_1 = directory(&[("a.yaml", GATEWAY)]);
    fs::write(latin_1.path().join("b.yaml"), b"# gr\xfc\xdfe\n").unwrap();
    fs::write(latin_1.path().join("c.yaml"), b"\xff\xfea\0:\0").unwrap();
    let errors = errors(latin_1.path());
    assert_eq!(errors[0].1, "the byte 0xfc is not UTF-8");
    assert_eq!(errors[1].1, "the file is UTF-16, not UTF-8");
}

#[test]
fn what_may_not_be_read_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let dir = directory(&[("a.yaml", GATEWAY), ("secret.yaml", GATEWAY)]);
    fs::create_dir(dir.path().join("closed")).unwrap();
    for name in ["secret.yaml", "closed"] {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    if fs::read(dir.path().join("secret.yaml")).is_ok() {
        // Nothing is closed to root; the errors cannot be seen then.
        return;
    }
    let errors = errors(dir.path());
    assert!(errors[0].0 == "closed" && errors[0].1.starts_with("the directory cannot be read"), "{errors:?}");
    assert!(errors[1].0 == "secret.yaml" && errors[1].1.starts_with("cannot be read"), "{errors:?}");
}

#[test]
fn files_that_come_and_go_while_reading_do_no_harm() {
    let dir = directory(&[("a.yaml", GATEWAY)]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                write(dir.path(), "b.tmp", &backend("b"));
                fs::rename(dir.path().join("b.tmp"), dir.path().join("b.yaml")).unwrap();
                fs::remove_file(dir.path().join("b.yaml")).unwrap();
            }
        });
        let outcomes: Vec<_> = (0..300).map(|_| FileStore::new(dir.path()).load()).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for outcome in outcomes {
            outcome.unwrap();
        }
    });
}

/// The directories below `dir` that have documents themselves.
fn examples(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    if entries.iter().any(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        return vec![dir.to_owned()];
    }
    entries.iter().filter(|path| path.is_dir()).flat_map(|path| examples(path)).collect()
}

#[test]
fn the_examples_are_valid() {
    let directories = examples(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples"));
    assert!(directories.len() >= 5, "{directories:?}");
    for dir in directories {
        let model = FileStore::new(&dir).load().unwrap_or_else(|error| panic!("{}\n{error}", dir.display()));
        assert!(!model.gateways.is_empty(), "{}", dir.display());
    }
}

#[test]
fn what_programs_leave_beside_documents_is_no_reason_to_look_at_everything() {
    let dir = directory(&[("a.yaml", GATEWAY), ("b.txt", "")]);
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("x")).unwrap();
    write(&path("x"), "c.yaml", &backend("c"));
    let scan = || directory::scan(dir.path(), &Files::new()).unwrap();
    let glance = |scan: &directory::Scan, names: &[&str]| {
        let found = directory::glance(scan, &names.iter().map(|name| path(name)).collect());
        found.map(|scan| scan.files.values().map(|seen| seen.contents.documents.len()).sum::<usize>())
    };
    let before = scan();
    write(dir.path(), "a.yaml", &format!("{GATEWAY}---\n{}", backend("a")));
    assert_eq!(glance(&before, &["a.yaml", "b.txt", "draft"]), Some(3));
    // A directory, in its place or gone, may have documents; so may a file that is new.
    assert_eq!(glance(&before, &["a.yaml", "x"]), None);
    fs::rename(path("x"), path(".x")).unwrap();
    assert_eq!(glance(&before, &["x"]), None);
    assert_eq!(glance(&before, &["x.d"]), Some(2), "no document was there");
    write(dir.path(), "d.yaml", &backend("d"));
    assert_eq!(glance(&before, &["d.yaml"]), None);
    // A link may lead to any file.
    symlink("b.txt", path("e.yaml")).unwrap();
    assert_eq!(glance(&scan(), &["b.txt"]), None);
}
