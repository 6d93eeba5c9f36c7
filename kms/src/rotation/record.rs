//! What is kept of a rotation: the state, and who drives it.

use core::fmt;
use core::str::FromStr;

use kms_core::state::MAX_STATE_LEN;
use kms_core::{Error, SecureRandom};
use kms_envelope::rotation::State;
use serde::{Deserialize, Serialize};

use crate::Failure;

const FORMAT: &str = "kms-rotation";
const VERSION: u32 = 1;

/// What a state store holds for one rotation: two lines of JSON, the first about the driver, the
/// second the state as [`State::to_json`] writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RotationRecord {
    /// Who drives it; nobody if it was left in order.
    pub driver: Option<DriverNote>,
    /// Where it is.
    pub state: State,
}

/// Who drives a rotation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DriverNote {
    /// Tells one run of a driver from every other.
    pub id: DriverId,
    /// Where it runs, for people: a host and a process.
    pub name: String,
    /// Greater by one with each write of this driver. Whoever sees it grow knows that the driver
    /// lives; the driver itself knows by it which writes are its own.
    pub beat: u64,
}

/// One run of a driver: 64 random bits, shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct DriverId(u64);

impl DriverId {
    pub(super) fn random(random: &dyn SecureRandom) -> Result<Self, Error> {
        let mut bytes = [0; 8];
        random.fill(&mut bytes)?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for DriverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for DriverId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(is_hex) {
            return Err("a driver's id is not 16 hexadecimal digits");
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| "a driver's id is not 16 hexadecimal digits")
    }
}

impl From<DriverId> for String {
    fn from(id: DriverId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for DriverId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        text.parse()
    }
}

impl DriverNote {
    /// The longest name, in bytes.
    pub const MAX_NAME_LEN: usize = 256;

    /// The first note of a driver. Of the name only the beginning is kept, without control
    /// characters.
    pub(super) fn new(id: DriverId, name: &str) -> Self {
        let mut kept = String::new();
        for letter in name.chars().filter(|letter| !letter.is_control()) {
            if kept.len().saturating_add(letter.len_utf8()) > Self::MAX_NAME_LEN {
                break;
            }
            kept.push(letter);
        }
        Self {
            id,
            name: kept,
            beat: 0,
        }
    }

    /// The note of the next write.
    pub(super) fn next(&self) -> Self {
        Self {
            beat: self.beat.saturating_add(1),
            ..self.clone()
        }
    }
}

impl fmt::Display for DriverNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.id)
    }
}

/// The first line.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    version: u32,
    driver: Option<DriverNote>,
}

impl RotationRecord {
    /// A record.
    #[must_use]
    pub const fn new(driver: Option<DriverNote>, state: State) -> Self {
        Self { driver, state }
    }

    /// Writes it down.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it is too long for a store, which the bounds of its parts rule out.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        let head = Head {
            format: FORMAT.to_owned(),
            version: VERSION,
            driver: self.driver.clone(),
        };
        let head = serde_json::to_string(&head)
            .map_err(|error| refused(&error.to_string()).with_source(error))?;
        let bytes = format!("{head}\n{}\n", self.state.to_json()?).into_bytes();
        if bytes.len() > MAX_STATE_LEN {
            return Err(refused("it is over 1048576 bytes"));
        }
        Ok(bytes)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the field if anything is missing, unknown, over its bound or at odds
    /// with the rest, or if a newer version of this software wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.len() > MAX_STATE_LEN {
            return Err(refused("it is over 1048576 bytes"));
        }
        let text = core::str::from_utf8(bytes).map_err(|_| refused("it is not text"))?;
        let lines = text
            .strip_suffix('\n')
            .and_then(|text| text.split_once('\n'))
            .filter(|(_, state)| !state.contains('\n'));
        let (head, state) = lines.ok_or_else(|| refused("it is not two lines"))?;
        let head: Head = serde_json::from_str(head).map_err(|error| refused(&shown(&error)))?;
        if head.format != FORMAT {
            return Err(refused("`format` is not that of a rotation"));
        }
        if head.version != VERSION {
            return Err(Failure::new(
                "unsupported",
                "the record of the rotation is of another version of this software",
                "use that version, or a newer one",
            ));
        }
        let is_long = |note: &DriverNote| note.name.len() > DriverNote::MAX_NAME_LEN;
        let is_odd = |note: &DriverNote| note.name.contains(char::is_control);
        if head
            .driver
            .as_ref()
            .is_some_and(|note| is_long(note) || is_odd(note))
        {
            return Err(refused("`name` is too long or holds a control character"));
        }
        Ok(Self {
            driver: head.driver,
            state: State::from_json(state)?,
        })
    }
}

/// What serde says of bytes that may be anybody's.
fn shown(error: &serde_json::Error) -> String {
    error.to_string().replace(char::is_control, "\u{fffd}")
}

fn refused(what: &str) -> Failure {
    Failure::new(
        "corrupt",
        format!("the record of the rotation is refused: {what}"),
        "it is left as it is: look whether --state is right, or put the newest whole copy back",
    )
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::time::UNIX_EPOCH;

    use kms_envelope::rotation::{Policy, Start};
    use proptest::prelude::*;

    use super::*;

    fn record(driver: Option<DriverNote>) -> RotationRecord {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let state = State::new("c1", Start::Plain, Policy::default(), now).unwrap();
        RotationRecord::new(driver, state)
    }

    fn note() -> DriverNote {
        DriverNote::new("00000000000000ff".parse().unwrap(), "host:7").next()
    }

    #[test]
    fn what_is_written_is_read() {
        for record in [record(None), record(Some(note()))] {
            let bytes = record.to_bytes().unwrap();
            assert_eq!(RotationRecord::from_bytes(&bytes).unwrap(), record);
        }
    }

    #[test]
    fn the_first_line_is_frozen() {
        let bytes = record(Some(note())).to_bytes().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let expected = r#"{"format":"kms-rotation","version":1,"driver":{"id":"00000000000000ff","name":"host:7","beat":1}}"#;
        assert_eq!(text.lines().next(), Some(expected));
    }

    #[test]
    fn what_is_torn_changed_or_anothers_is_refused() {
        let bytes = record(Some(note())).to_bytes().unwrap();
        for cut in 0..bytes.len() {
            let refused = RotationRecord::from_bytes(&bytes[..cut]).unwrap_err();
            assert_eq!(refused.kind(), "corrupt", "cut at {cut}");
        }
        let text = String::from_utf8(bytes).unwrap();
        for (from, to, kind) in [
            ("kms-rotation\"", "kms-rotation-x\"", "corrupt"),
            (
                "\"version\":1,\"driver",
                "\"version\":2,\"driver",
                "unsupported",
            ),
            ("00ff", "00FF", "corrupt"),
            ("\"beat\":1", "\"beat\":-1", "corrupt"),
            ("\"beat\":1", "\"beat\":1,\"more\":1", "corrupt"),
            ("host:7", "host\\u001b", "corrupt"),
            ("\n{", "\n\n{", "corrupt"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            let refused = RotationRecord::from_bytes(changed.as_bytes()).unwrap_err();
            assert_eq!(refused.kind(), kind, "{to}");
        }
    }

    #[test]
    fn a_name_is_cut_to_what_may_be_read() {
        let long = "ä".repeat(200) + "\n\u{7}";
        let id = "00000000000000ff".parse().unwrap();
        let record = record(Some(DriverNote::new(id, &long)));
        let bytes = record.to_bytes().unwrap();
        let read = RotationRecord::from_bytes(&bytes).unwrap();
        assert_eq!(read.driver.unwrap().name, "ä".repeat(128));
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(RotationRecord::from_bytes(&bytes).is_err());
        }
    }
}
