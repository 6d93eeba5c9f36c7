//! What stands in a state file: four lines about the state, an empty one, and the state.
//!
//! There is exactly one spelling, so whatever was cut off, added or changed is refused.

use ring::digest;

use crate::disk::Subject;
use crate::state::{MAX_STATE_LEN, StateVersion, VersionedState};
use crate::{Error, ErrorKind};

/// The first line, up to the number of the format.
const FORMAT: &[u8] = b"kms state file, format ";
const FORMAT_LINE: &[u8] = b"kms state file, format 1\n";
/// All before the state, in bytes.
const HEADER_LEN: usize = 142;
const DIGEST_LABEL: &[u8] = b"kms state file v1";

/// The state as a file.
pub(super) static STATE: Subject = Subject {
    noun: "state",
    max_len: HEADER_LEN.saturating_add(MAX_STATE_LEN),
    unsure: "check the disk, then read the state and go on from what is there",
};

/// The file for a state.
pub(super) fn render(version: StateVersion, bytes: &[u8]) -> Vec<u8> {
    let mut file = FORMAT_LINE.to_vec();
    let mut digest = String::with_capacity(64);
    for byte in digest_of(version, bytes).as_ref() {
        for nibble in [byte >> 4, byte & 0xf] {
            digest.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    let about = format!(
        "version {:020}\nlength {:07}\nsha256 {digest}\n\n",
        version.get(),
        bytes.len()
    );
    file.extend_from_slice(about.as_bytes());
    file.extend_from_slice(bytes);
    file
}

fn digest_of(version: StateVersion, bytes: &[u8]) -> digest::Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(DIGEST_LABEL);
    context.update(&version.get().to_be_bytes());
    context.update(bytes);
    context.finish()
}

/// The state in a file.
///
/// # Errors
///
/// [`ErrorKind::Corrupt`] if the file is torn, was changed, or is not a state file at all;
/// [`ErrorKind::Unsupported`] if its format is a later one.
pub(super) fn parse(file: &[u8]) -> Result<VersionedState, Error> {
    let Some(after_format) = file.strip_prefix(FORMAT_LINE) else {
        return Err(refuse_format(file));
    };
    let version = after_format
        .strip_prefix(b"version ")
        .and_then(|rest| number(rest, 20))
        .ok_or_else(|| refused("its version is not 20 digits"))?;
    // The whole is written again and compared, so what stands between need not be looked at.
    let bytes = file
        .get(HEADER_LEN..)
        .ok_or_else(|| refused("it is cut off"))?;
    let version = StateVersion::new(version);
    if render(version, bytes) == file {
        Ok(VersionedState::new(version, bytes.to_vec()))
    } else {
        Err(refused(
            "it is torn or was changed: version, length, digest and bytes do not agree",
        ))
    }
}

/// The number that the first `digits` bytes spell.
fn number(text: &[u8], digits: usize) -> Option<u64> {
    let text = text.get(..digits)?;
    let all_digits = text.iter().all(u8::is_ascii_digit);
    all_digits
        .then(|| core::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

fn refuse_format(file: &[u8]) -> Error {
    let later = file
        .strip_prefix(FORMAT)
        .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        .is_some_and(|number| {
            (1..=6).contains(&number.len())
                && number.iter().all(u8::is_ascii_digit)
                && !number.starts_with(b"0")
                && number != b"1"
        });
    if later {
        Error::new(
            ErrorKind::Unsupported,
            "the state file was written by a newer version of this software",
        )
        .with_remedy("use that version, or a newer one")
    } else if FORMAT_LINE.starts_with(file) {
        refused("it is cut off")
    } else {
        refused("it is not a state file")
    }
}

fn refused(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the state file is refused: {what}"),
    )
    .with_remedy(
        "it is left as it is: look whether the path is right, or put the newest whole copy back",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(number: u64) -> StateVersion {
        StateVersion::new(number)
    }

    /// The digest was made by another implementation.
    #[test]
    fn the_format_is_frozen() {
        let file = render(version(17), b"state\n");
        let text = "kms state file, format 1\n\
            version 00000000000000000017\n\
            length 0000006\n\
            sha256 a49b436071d292e92f9fe5c82f90269d359f2bd0b82b0f04efebb29d839453b7\n\
            \n\
            state\n";
        assert_eq!(String::from_utf8(file).unwrap(), text);
    }

    #[test]
    fn a_header_is_as_long_as_it_says() {
        assert_eq!(render(version(0), b"").len(), HEADER_LEN);
        let longest = vec![7; MAX_STATE_LEN];
        let file = render(version(u64::MAX), &longest);
        assert_eq!(file.len(), STATE.max_len);
        assert_eq!(parse(&file).unwrap().bytes, longest);
    }

    #[test]
    fn every_beginning_of_a_file_is_refused() {
        let file = render(version(3), b"the state");
        for length in 0..file.len() {
            let error = parse(&file[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
        }
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let file = render(version(3), b"the state");
        for bit in 0..file.len() * 8 {
            let mut changed = file.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_later_format_is_told_from_a_file_that_is_not_ours() {
        for later in ["2\n", "10\nanything", "999999\n"] {
            let file = [FORMAT, later.as_bytes()].concat();
            assert_eq!(parse(&file).unwrap_err().kind(), ErrorKind::Unsupported);
        }
        for foreign in ["", "0\n", "01\n", "1", "x\n", "1000000\n"] {
            let file = [FORMAT, foreign.as_bytes()].concat();
            assert_eq!(parse(&file).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number in any::<u64>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let state = parse(&render(version(number), &bytes)).unwrap();
            prop_assert_eq!(state, VersionedState::new(version(number), bytes));
        }

        #[test]
        fn nothing_makes_it_panic(file in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse(&file).is_err());
            let ours = [FORMAT_LINE, &file].concat();
            prop_assert!(parse(&ours).is_err());
        }
    }
}
