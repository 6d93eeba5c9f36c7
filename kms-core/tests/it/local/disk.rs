//! The file: created once, never lost, never trusted blindly.

use std::fs;

use kms_core::local::{LocalProvider, check_keyring};
use kms_core::{CallOptions, ErrorKind, KeyProvider as _};

use super::{Place, cheap, current, kind, now, secret, sibling, unwrap, wrap};

#[test]
fn create_replaces_nothing() {
    let place = Place::new();
    fs::write(place.path(), "mine").unwrap();
    let refused = LocalProvider::create(place.path(), place.options()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(fs::read(place.path()).unwrap(), b"mine");
    fs::remove_file(place.path()).unwrap();
    drop(place.create());
    let before = fs::read(place.path()).unwrap();
    assert!(LocalProvider::create(place.path(), place.options()).is_err());
    assert_eq!(fs::read(place.path()).unwrap(), before);
    assert!(place.strays().is_empty());
}

#[test]
fn open_makes_nothing() {
    let place = Place::new();
    let error = place.open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("keyring.json"), "{error}");
    assert!(!place.path().exists());
    assert_eq!(
        kind(LocalProvider::open(place.directory.path(), place.options())),
        ErrorKind::InvalidInput
    );
}

#[test]
fn an_io_error_says_its_cause_once_and_a_missing_directory_how_to_make_it() {
    let place = Place::new();
    let missing = place.directory.path().join("missing");
    let path = missing.join("keyring.json");
    for (error, is_directory) in [
        (place.open().unwrap_err(), false),
        (
            LocalProvider::open(&path, place.options()).unwrap_err(),
            true,
        ),
        (
            LocalProvider::create(&path, place.options()).unwrap_err(),
            true,
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::Io);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.to_string().contains(&source), "{error}: {source}");
        let remedy = format!(
            "create the directory {}, owned by the user who runs this, mode 0700",
            missing.display()
        );
        assert_eq!(error.remedy() == remedy, is_directory, "{}", error.remedy());
    }
}

#[test]
fn a_torn_file_is_named_and_left_alone() {
    let place = Place::new();
    let provider = place.create();
    let whole = fs::read(place.path()).unwrap();
    for length in (0..whole.len()).step_by(7) {
        fs::write(place.path(), &whole[..length]).unwrap();
        for error in [
            place.open().unwrap_err(),
            provider.rotate().unwrap_err(),
            provider.change_passphrase(None, cheap()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
            assert!(error.to_string().contains("keyring.json"), "{error}");
        }
        assert_eq!(fs::read(place.path()).unwrap(), &whole[..length]);
    }
}

#[test]
fn a_running_provider_unwraps_on_when_its_file_is_gone_torn_or_another() {
    let place = Place::new();
    let provider = place.create();
    let wrapped = wrap(&provider, "dek").unwrap();
    let whole = fs::read(place.path()).unwrap();
    let other = Place::new();
    drop(other.create());
    let foreign = fs::read(other.path()).unwrap();

    let damages: [(&dyn Fn(), ErrorKind); 3] = [
        (&|| fs::remove_file(place.path()).unwrap(), ErrorKind::Io),
        (
            &|| fs::write(place.path(), &whole[..99]).unwrap(),
            ErrorKind::Corrupt,
        ),
        (&|| write_private(&place, &foreign), ErrorKind::Corrupt),
    ];
    for (damage, expected) in damages {
        damage();
        assert_eq!(unwrap(&provider, &wrapped).unwrap(), secret("dek"));
        assert_eq!(kind(current(&provider)), expected);
        assert_eq!(kind(wrap(&provider, "new")), expected);
        assert_eq!(kind(provider.list()), expected);
        assert_eq!(
            kind(now(provider.list_keys(&CallOptions::default()))),
            expected
        );
        assert_eq!(kind(provider.reload()), expected);
        assert_eq!(kind(provider.rotate()), expected);
        // Not a key id that is unknown, as long as the file might know it.
        let next = sibling(wrapped.key_id().unwrap(), "2");
        let next = kms_core::WrappedKey::new(next.parse().unwrap(), vec![1]).unwrap();
        assert_eq!(kind(unwrap(&provider, &next)), expected);
        // Put right, and all is well.
        write_private(&place, &whole);
        assert_eq!(
            unwrap(&provider, &wrap(&provider, "new").unwrap()).unwrap(),
            secret("new")
        );
        provider.reload().unwrap();
    }
}

#[test]
fn a_keyring_that_goes_back_is_not_served() {
    let place = Place::new();
    let provider = place.create();
    let old = fs::read(place.path()).unwrap();
    let rotated = provider.rotate().unwrap();
    let wrapped = wrap(&provider, "dek").unwrap();
    write_private(&place, &old);
    let error = current(&provider).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("went back"), "{error}");
    // Version 2 must not be given out twice.
    assert_eq!(kind(provider.rotate()), ErrorKind::Corrupt);
    assert_eq!(unwrap(&provider, &wrapped).unwrap(), secret("dek"));
    // Another history of the same length is no better.
    place.open().unwrap().rotate().unwrap();
    assert_eq!(kind(current(&provider)), ErrorKind::Corrupt);
    assert_eq!(wrapped.key_id(), Some(&rotated.info.id));
}

#[test]
fn another_instance_is_seen() {
    let place = Place::new();
    let one = place.create();
    let two = place.open().unwrap();
    for version in 2..20 {
        let id = two.rotate().unwrap().info.id;
        assert_eq!(current(&one).unwrap(), id);
        assert_eq!(one.list().unwrap().len(), version);
        let wrapped = wrap(&two, "dek").unwrap();
        assert_eq!(unwrap(&one, &wrapped).unwrap(), secret("dek"));
        two.disable(1).unwrap();
        assert_eq!(one.list().unwrap(), two.list().unwrap());
        two.enable(1).unwrap();
    }
}

#[test]
fn what_a_crash_left_is_ignored_and_cleaned_up() {
    let place = Place::new();
    let provider = place.create();
    let leftover = place.directory.path().join(".keyring.json.kms-tmp-Ab3xY9");
    let neighbour = place.directory.path().join(".other.json.kms-tmp-Ab3xY9");
    fs::write(&leftover, "half a keyring").unwrap();
    fs::write(&neighbour, "not ours").unwrap();
    assert!(place.open().is_ok() && leftover.exists());
    provider.rotate().unwrap();
    assert!(!leftover.exists());
    assert_eq!(place.strays(), [".other.json.kms-tmp-Ab3xY9"]);
}

#[test]
fn a_passphrase_is_needed_where_there_is_one_and_only_there() {
    let place = Place::new();
    let provider = LocalProvider::create(place.path(), place.locked("open sesame")).unwrap();
    let wrapped = wrap(&provider, "dek").unwrap();
    provider.rotate().unwrap();
    let open = |options| LocalProvider::open(place.path(), options);
    let again = open(place.locked("open sesame")).unwrap();
    assert_eq!(unwrap(&again, &wrapped).unwrap(), secret("dek"));
    assert_eq!(
        kind(open(place.locked("open simsim"))),
        ErrorKind::Unauthenticated
    );
    assert_eq!(kind(open(place.options())), ErrorKind::Unauthenticated);
    assert_eq!(kind(open(place.locked(""))), ErrorKind::InvalidInput);
    assert_eq!(
        kind(open(place.locked(&"x".repeat(1025)))),
        ErrorKind::InvalidInput
    );

    let plain = Place::new();
    drop(plain.create());
    let downgraded = LocalProvider::open(plain.path(), plain.locked("open sesame"));
    assert_eq!(kind(downgraded), ErrorKind::InvalidInput);
    // Nor may it be slipped in under a provider that runs.
    write_private(&place, &fs::read(plain.path()).unwrap());
    assert_eq!(kind(current(&again)), ErrorKind::Corrupt);
}

#[test]
fn a_passphrase_can_be_set_changed_and_removed() {
    let place = Place::new();
    let provider = place.create();
    let wrapped = wrap(&provider, "dek").unwrap();
    let other = place.open().unwrap();
    provider
        .change_passphrase(Some(&secret("one")), cheap())
        .unwrap();
    assert!(current(&provider).is_ok());
    assert_eq!(kind(current(&other)), ErrorKind::Unauthenticated);
    assert_eq!(kind(other.rotate()), ErrorKind::Unauthenticated);
    assert_eq!(unwrap(&other, &wrapped).unwrap(), secret("dek"));
    provider.rotate().unwrap();
    let reopened = LocalProvider::open(place.path(), place.locked("one")).unwrap();
    assert_eq!(unwrap(&reopened, &wrapped).unwrap(), secret("dek"));
    reopened
        .change_passphrase(Some(&secret("two")), cheap())
        .unwrap();
    assert!(LocalProvider::open(place.path(), place.locked("one")).is_err());
    let reopened = LocalProvider::open(place.path(), place.locked("two")).unwrap();
    reopened.change_passphrase(None, cheap()).unwrap();
    assert_eq!(
        unwrap(&place.open().unwrap(), &wrapped).unwrap(),
        secret("dek")
    );
}

#[test]
fn a_backup_can_be_checked() {
    let place = Place::new();
    let provider = LocalProvider::create(place.path(), place.locked("open sesame")).unwrap();
    provider.rotate().unwrap();
    let bytes = fs::read(place.path()).unwrap();
    let blind = check_keyring(&bytes, None).unwrap();
    assert!(blind.passphrase && !blind.authenticated);
    assert_eq!(blind.versions, provider.list().unwrap());
    let seen = check_keyring(&bytes, Some(&secret("open sesame"))).unwrap();
    assert!(seen.authenticated);
    assert_eq!(seen.versions, blind.versions);
    assert_eq!(seen.revision, 2);
    let id = current(&provider).unwrap();
    let prefix = format!("local/{}/2-", seen.keyring_id);
    assert!(id.as_str().starts_with(&prefix), "{id}");
    let wrong = check_keyring(&bytes, Some(&secret("open simsim")));
    assert_eq!(kind(wrong), ErrorKind::Unauthenticated);
}

#[test]
fn nothing_prints_a_key_or_a_passphrase() {
    let place = Place::new();
    let options = place.locked("open sesame");
    assert!(!format!("{options:?}").contains("sesame"));
    let provider = LocalProvider::create(place.path(), options).unwrap();
    assert!(provider.to_string().starts_with("local:/"));
    assert!(format!("{provider:?}").len() < 200, "{provider:?}");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_can_read_what_is_written() {
        let place = Place::new();
        let provider = place.create();
        let lock = place.directory.path().join("keyring.json.lock");
        assert_eq!((mode(&place.path()), mode(&lock)), (0o600, 0o600));
        provider.rotate().unwrap();
        assert_eq!(mode(&place.path()), 0o600);
    }

    #[test]
    fn a_mode_that_is_too_wide_is_refused_with_a_remedy() {
        let place = Place::new();
        let provider = place.create();
        for wide in [0o640, 0o604, 0o610, 0o644] {
            fs::set_permissions(place.path(), fs::Permissions::from_mode(wide)).unwrap();
            for error in [place.open().unwrap_err(), current(&provider).unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{wide:o}");
                assert!(
                    error.remedy().starts_with("chmod 600 /"),
                    "{}",
                    error.remedy()
                );
            }
            let options = place.options().with_wide_permissions(true);
            let allowed = LocalProvider::open(place.path(), options).unwrap();
            allowed.rotate().unwrap();
            assert_eq!(mode(&place.path()), wide, "kept, since it was chosen");
        }
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(current(&provider).is_ok());
    }

    #[test]
    fn a_directory_that_everybody_can_write_to_is_refused_with_a_remedy() {
        let place = Place::new();
        let directory = place.directory.path();
        let set = |mode| fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
        let remedy = format!("chmod o-w {}", directory.canonicalize().unwrap().display());
        for wide in [0o707, 0o777, 0o2777] {
            set(wide);
            let refused = LocalProvider::create(place.path(), place.options()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{wide:o}");
            assert_eq!(refused.remedy(), remedy);
            assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "nothing left");
        }
        set(0o1777);
        let provider = place.create();
        for wide in [0o707, 0o777, 0o2777] {
            set(wide);
            for error in [place.open().unwrap_err(), provider.reload().unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{wide:o}");
                assert_eq!(error.remedy(), remedy);
            }
            let options = place.options().with_wide_permissions(true);
            assert!(LocalProvider::open(place.path(), options).is_ok());
        }
        for narrow in [0o700, 0o755, 0o775, 0o1777, 0o3777] {
            set(narrow);
            assert!(place.open().is_ok(), "{narrow:o}");
        }
        // The directory of a link counts as well.
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join("link");
        symlink(place.path(), &link).unwrap();
        assert!(LocalProvider::open(&link, place.options()).is_ok());
        fs::set_permissions(links.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(
            kind(LocalProvider::open(&link, place.options())),
            ErrorKind::PermissionDenied
        );
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let place = Place::new();
        let provider = place.create();
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join("link");
        symlink(place.path(), &link).unwrap();
        let linked = LocalProvider::open(&link, place.options()).unwrap();
        linked.rotate().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(current(&provider).unwrap(), current(&linked).unwrap());
        assert_eq!(fs::read_dir(links.path()).unwrap().count(), 1);
        assert_eq!(
            kind(LocalProvider::create(&link, place.options())),
            ErrorKind::InvalidInput
        );
        // Nor does `create` write through a link that leads nowhere.
        let dangling = links.path().join("dangling");
        symlink(links.path().join("nowhere"), &dangling).unwrap();
        assert!(LocalProvider::create(&dangling, place.options()).is_err());
        assert!(!links.path().join("nowhere").exists());
    }

    #[test]
    fn a_write_never_touches_the_file_that_is_there() {
        let place = Place::new();
        let provider = place.create();
        let hold = fs::File::open(place.path()).unwrap();
        let before = fs::metadata(place.path()).unwrap();
        provider.rotate().unwrap();
        assert_ne!(fs::metadata(place.path()).unwrap().ino(), before.ino());
        let held = hold.metadata().unwrap();
        assert_eq!(
            (held.len(), held.mtime_nsec()),
            (before.len(), before.mtime_nsec())
        );
    }

    #[test]
    fn where_nothing_can_be_written_the_old_file_stays() {
        let place = Place::new();
        let provider = place.create();
        let before = fs::read(place.path()).unwrap();
        // A directory in place of the lock stops even root.
        let lock = place.directory.path().join("keyring.json.lock");
        fs::remove_file(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        assert_eq!(kind(provider.rotate()), ErrorKind::Io);
        assert_eq!(fs::read(place.path()).unwrap(), before);
        assert!(wrap(&provider, "dek").is_ok());
    }
}

/// Writes as a careful operator restores a file: private, and as a whole.
fn write_private(place: &Place, bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new_in(place.directory.path()).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file.persist(place.path()).unwrap();
}
