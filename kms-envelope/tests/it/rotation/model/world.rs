//! A small cluster: two replicas, three keys, a few objects, and a driver's hands.

use super::Scenario;

/// Keys that there may be.
pub(super) const KEYS: usize = 3;
pub(super) const REPLICAS: usize = 2;
pub(super) const OBJECTS: usize = 3;
/// How long before its instant a version is made, in ticks.
pub(super) const DELAY: i8 = 2;

/// What an object is under, or what a replica writes.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Under {
    #[default]
    Nothing,
    Plain,
    KmsV1,
    Damaged,
    Key(u8),
}

impl Under {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Plain => 1,
            Self::KmsV1 => 2,
            Self::Damaged => 3,
            Self::Key(key) => 4 + key,
        }
    }

    pub(super) const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Nothing,
            1 => Self::Plain,
            2 => Self::KmsV1,
            3 => Self::Damaged,
            key => Self::Key(key - 4),
        }
    }

    pub(super) const fn key(self) -> Option<usize> {
        match self {
            Self::Key(key) => Some(key as usize),
            _ => None,
        }
    }
}

/// What its provider lets a key do.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Health {
    #[default]
    Fine,
    Disabled,
    Expired,
    /// Deleted by mistake; it can be recovered.
    Deleted,
    /// Deleted with leave. Nobody recovers it.
    Gone,
}

impl Health {
    pub(super) const ALL: [Self; 5] = [
        Self::Fine,
        Self::Disabled,
        Self::Expired,
        Self::Deleted,
        Self::Gone,
    ];

    pub(super) const fn wraps(self) -> bool {
        matches!(self, Self::Fine)
    }

    pub(super) const fn unwraps(self) -> bool {
        matches!(self, Self::Fine | Self::Expired)
    }
}

/// An API server and its plugin.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Replica {
    pub(super) up: bool,
    /// Cannot see the provider, and goes on with what it knows.
    pub(super) blind: bool,
    /// The version of provider 0 that its plugin wraps with.
    pub(super) plugin: u8,
    /// What it writes under: it may lag behind its plugin.
    pub(super) server: Under,
    /// The providers that it is configured with, by bit: 0, 1 and KMS v1.
    pub(super) reads: u8,
    /// What it is configured to write by: 0 and 1 are providers.
    pub(super) writes: u8,
    /// The check under way has seen it as it should be.
    pub(super) seen: bool,
}

/// In [`Replica::writes`].
pub(super) const BY_PLAIN: u8 = 2;
/// In [`Replica::writes`], and the bit of [`Replica::reads`].
pub(super) const BY_V1: u8 = 3;
pub(super) const READS_V1: u8 = 1 << 2;

/// Which of the machine's tasks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Role {
    #[default]
    Work,
    Change,
    Release,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Work, Self::Change, Self::Release];
}

/// Finding out whether replicas are as they should be: one after the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Check {
    /// None is under way.
    pub(super) idle: bool,
    pub(super) role: Role,
    /// Read after the last replica was seen.
    pub(super) floor: Option<u8>,
}

/// A census that was taken and may be used at any time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Census {
    /// What objects were under, by the bit of [`Under::code`]. Zero: none was taken.
    pub(super) found: u8,
    pub(super) revision: u8,
    /// In ticks.
    pub(super) age: u8,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct World {
    /// The machine's state, by its number.
    pub(super) machine: u32,
    /// The store's newest revision.
    pub(super) revision: u8,
    /// Keys that were made, by bit.
    pub(super) made: u8,
    pub(super) health: [Health; KEYS],
    /// Ticks until each version's instant.
    pub(super) instant: [i8; KEYS],
    /// Versions whose instant replicas learn at different times, by bit.
    pub(super) late: u8,
    /// The version of provider 0 that is active by the provider's rule.
    pub(super) rule: u8,
    pub(super) replicas: [Replica; REPLICAS],
    pub(super) objects: [Under; OBJECTS],
    /// Tasks that the driver has been given, by bit of [`Role`].
    pub(super) given: u8,
    /// What a migration writes that was begun and not ended, whoever has forgotten it.
    pub(super) mover: Under,
    pub(super) check: Check,
    pub(super) census: Census,
    /// For how many more ticks, and this one, the driver believes that a key may be deleted.
    pub(super) leave: [u8; KEYS],
    /// Faults that may still happen, of all kinds together.
    pub(super) faults: u8,
    /// Kinds of faults that may not happen again, by bit of [`Slip`].
    pub(super) spent: u8,
    /// Compromises that may still happen.
    pub(super) thefts: u8,
}

/// A fault that a scenario allows so many times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slip {
    /// A replica goes down.
    Crash,
    /// A replica cannot see the provider.
    Blind,
    /// An effect is lost or fails.
    Loss,
    /// The driver restarts and knows nothing of what it had begun.
    Restart,
    /// A key is disabled, expires or is deleted.
    Hurt,
    /// An old value is restored.
    Restore,
}

/// Numbers one after the other, each in so many bits.
struct Bits(u128, u32);

impl Bits {
    fn put(&mut self, value: u8, bits: u32) {
        debug_assert!(u32::from(value) < 1 << bits, "{value} in {bits} bits");
        self.0 |= u128::from(value) << self.1;
        self.1 += bits;
    }

    fn take(&mut self, bits: u32) -> u8 {
        let value = (self.0 >> self.1) as u8 & ((1 << bits) - 1) as u8;
        self.1 += bits;
        value
    }

    fn take_flag(&mut self) -> bool {
        self.take(1) == 1
    }

    fn take_under(&mut self) -> Under {
        Under::from_code(self.take(3))
    }
}

impl World {
    /// What tells this world from any other. Replicas and objects are alike, so their order does not
    /// count.
    pub(super) fn pack(mut self) -> u128 {
        self.replicas.sort_unstable();
        self.objects.sort_unstable();
        let mut bits = Bits(u128::from(self.machine), 22);
        assert!(self.machine < 1 << 22);
        bits.put(self.revision, 3);
        bits.put(self.made, 3);
        bits.put(self.late, 3);
        bits.put(self.rule, 2);
        for key in 0..KEYS {
            bits.put(self.health[key] as u8, 3);
            bits.put((self.instant[key] + 3) as u8, 3);
            bits.put(self.leave[key], 2);
        }
        for replica in self.replicas {
            bits.put(u8::from(replica.up), 1);
            bits.put(u8::from(replica.blind), 1);
            bits.put(u8::from(replica.seen), 1);
            bits.put(replica.plugin, 2);
            bits.put(replica.server.code(), 3);
            bits.put(replica.reads, 3);
            bits.put(replica.writes, 2);
        }
        for object in self.objects {
            bits.put(object.code(), 3);
        }
        bits.put(self.given, 3);
        bits.put(self.mover.code(), 3);
        bits.put(u8::from(self.check.idle), 1);
        bits.put(self.check.role as u8, 2);
        bits.put(self.check.floor.map_or(7, |floor| floor), 3);
        bits.put(self.census.found, 7);
        bits.put(self.census.revision, 3);
        bits.put(self.census.age, 2);
        bits.put(self.faults, 3);
        bits.put(self.spent, 6);
        bits.put(self.thefts, 1);
        assert!(bits.1 <= 128, "{} bits", bits.1);
        bits.0
    }

    pub(super) fn unpack(packed: u128) -> Self {
        let mut bits = Bits(packed, 22);
        let mut world = Self {
            machine: (packed & ((1 << 22) - 1)) as u32,
            revision: bits.take(3),
            made: bits.take(3),
            late: bits.take(3),
            rule: bits.take(2),
            ..Self::default()
        };
        for key in 0..KEYS {
            world.health[key] = Health::ALL[usize::from(bits.take(3))];
            world.instant[key] = bits.take(3) as i8 - 3;
            world.leave[key] = bits.take(2);
        }
        for replica in &mut world.replicas {
            replica.up = bits.take_flag();
            replica.blind = bits.take_flag();
            replica.seen = bits.take_flag();
            replica.plugin = bits.take(2);
            replica.server = bits.take_under();
            replica.reads = bits.take(3);
            replica.writes = bits.take(2);
        }
        for object in &mut world.objects {
            *object = bits.take_under();
        }
        world.given = bits.take(3);
        world.mover = bits.take_under();
        world.check.idle = bits.take_flag();
        world.check.role = Role::ALL[usize::from(bits.take(2))];
        let floor = bits.take(3);
        world.check.floor = (floor != 7).then_some(floor);
        world.census.found = bits.take(7);
        world.census.revision = bits.take(3);
        world.census.age = bits.take(2);
        world.faults = bits.take(3);
        world.spent = bits.take(6);
        world.thefts = bits.take(1);
        world
    }

    pub(super) const fn is_made(&self, key: usize) -> bool {
        self.made & (1 << key) != 0
    }

    pub(super) const fn is_late(&self, key: usize) -> bool {
        self.late & (1 << key) != 0
    }

    pub(super) const fn is_given(&self, role: Role) -> bool {
        self.given & (1 << role as u8) != 0
    }

    /// This world, with one fault of a kind less to come; nothing, if none may come.
    pub(super) fn after(&self, slip: Slip, scenario: &Scenario) -> Option<Self> {
        let bit = 1 << slip as u8;
        let faults = self.faults.checked_sub(1)?;
        if !scenario.kinds.allows(slip) || self.spent & bit != 0 {
            return None;
        }
        let spent = match (scenario.once, faults) {
            (true, 1..) => self.spent | bit,
            // Worlds in which none can come are alike in this.
            _ => 0,
        };
        Some(Self {
            faults,
            spent,
            ..*self
        })
    }

    /// Whether new data can be put under this, by its provider.
    pub(super) fn can_write(&self, under: Under) -> bool {
        match under {
            Under::Nothing | Under::Damaged => false,
            Under::Plain | Under::KmsV1 => true,
            Under::Key(key) => self.health[usize::from(key)].wraps(),
        }
    }

    /// Whether what is under this can be read, by its provider.
    pub(super) fn can_read(&self, under: Under) -> bool {
        match under {
            Under::Nothing | Under::Damaged => false,
            Under::Plain | Under::KmsV1 => true,
            Under::Key(key) => self.health[usize::from(key)].unwraps(),
        }
    }

    /// Whether a migration moves what is under this. A no-op update leaves objects of KMS v1 as they
    /// are; they change when somebody writes them.
    pub(super) fn can_migrate(&self, under: Under) -> bool {
        self.can_read(under) && under != Under::KmsV1
    }

    /// What a replica's plugin would have it write.
    pub(super) fn meant(&self, replica: &Replica, scenario: &Scenario) -> Under {
        match replica.writes {
            BY_PLAIN => Under::Plain,
            BY_V1 => Under::KmsV1,
            0 => Under::Key(replica.plugin),
            provider => {
                let key = (0..KEYS).find(|key| scenario.provider_of(*key) == provider);
                key.map_or(Under::Nothing, |key| Under::Key(key as u8))
            }
        }
    }

    /// Whether a replica is configured to read this.
    pub(super) const fn is_configured(
        replica: &Replica,
        under: Under,
        scenario: &Scenario,
    ) -> bool {
        match under {
            Under::Nothing | Under::Damaged | Under::Plain => true,
            Under::KmsV1 => replica.reads & READS_V1 != 0,
            Under::Key(key) => replica.reads & (1 << scenario.provider_of(key as usize)) != 0,
        }
    }
}
