//! Replicas whose clocks differ, and what a driver makes of them.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use kms::rotation::{KeySource, News};
use kms_azure::activation::{Activation, Candidate, Decision, Fitness};
use kms_core::{CallOptions, Clock as _, Error, KeyId, KeyProvider, KeyState};
use kms_envelope::rotation::{Activity, Observation, ObservedKey, ProviderName};
use kms_testkit::{ManualClock, StaticProvider};
use proptest::prelude::*;

use super::world::World;

const SECOND: Duration = Duration::from_secs(1);
const POLL: u64 = 300;
const DELAY: Duration = Duration::from_secs(660);
/// How far clocks differ, at most.
const SKEW: u64 = 30;
/// What the driver's policy says: a second more, which is a step of this test.
const POLICY_SKEW: u64 = SKEW + 1;

/// Versions 1 and 2, and when they were made.
#[derive(Debug)]
struct Vault {
    name: ProviderName,
    clock: ManualClock,
    versions: Mutex<Vec<SystemTime>>,
}

impl Vault {
    fn made(&self) -> Vec<SystemTime> {
        self.versions.lock().unwrap().clone()
    }

    fn candidates(&self) -> Vec<Candidate> {
        let versions = self.made();
        let versions = versions
            .into_iter()
            .zip(1..)
            .map(|(created, number)| Candidate {
                version: format!("{number:032x}").parse().unwrap(),
                created,
                updated: created,
                not_before: None,
                expires: None,
                enabled: true,
                allows_wrapping: true,
                fitness: Fitness::WrappingKey,
            });
        versions.collect()
    }
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vault")
    }
}

#[async_trait]
impl KeySource for Vault {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn observe(&self, _: &CallOptions) -> Result<Observation, Error> {
        let versions = self.made().into_iter().zip(1..);
        let keys = versions.map(|(created, number)| {
            let delay = if number == 1 { Duration::ZERO } else { DELAY };
            ObservedKey::new(id(number), KeyState::Enabled).with_active_at(created + delay)
        });
        let keys: Vec<_> = keys.collect();
        let now = self.clock.wall_time();
        let is_active = |key: &&ObservedKey| key.active_at.is_some_and(|at| at <= now);
        let current = keys.iter().rfind(is_active).map(|key| key.id.clone());
        Ok(Observation::new(self.name.clone(), keys).with_current(current))
    }
}

/// A plugin, or the driver's own provider: follows the vault by a clock of its own.
struct Follower {
    keys: Arc<StaticProvider>,
    activation: Activation,
    /// How far its clock is ahead of the driver's, and behind, in seconds: one minus the other.
    ahead: u64,
    behind: u64,
    /// When in its period it looks at the vault, in seconds.
    phase: u64,
}

impl Follower {
    fn new([ahead, behind]: [u64; 2], phase: u64) -> Self {
        let keys = StaticProvider::new(id(1), [1; 32]);
        keys.add_key(id(2), [2; 32]).unwrap();
        Self {
            keys: Arc::new(keys),
            activation: Activation::new(DELAY),
            ahead,
            behind,
            phase,
        }
    }

    /// One second of its life.
    fn live(&mut self, vault: &Vault, second: u64) {
        let now =
            vault.clock.wall_time() + SECOND * self.ahead as u32 - SECOND * self.behind as u32;
        if second == 0 || second % POLL == self.phase {
            self.activation.observe(vault.candidates(), true, now);
        }
        let newest = format!("{:032x}", 2).parse().unwrap();
        if self.activation.decide(now) == Decision::Active(newest) {
            self.keys.make_current(&id(2)).unwrap();
        }
    }
}

fn id(number: u32) -> KeyId {
    KeyId::new(format!("etcd-{number}")).unwrap()
}

/// When the first and the last API server changed over, what was told, and when migrating began.
struct Course {
    apart: Duration,
    last: SystemTime,
    migrating: SystemTime,
    told: Vec<String>,
}

fn course(ahead: u64, behind: [u64; 3], phases: [u64; 3], policy_skew: u64) -> Course {
    let clock = ManualClock::new();
    let vault = Arc::new(Vault {
        name: "vault".parse().unwrap(),
        versions: Mutex::new(vec![clock.wall_time() - 10 * DELAY]),
        clock: clock.clone(),
    });
    let followers = behind.into_iter().zip(phases);
    let followers = followers.map(|(behind, phase)| Follower::new([ahead, behind], phase));
    let mut followers: Vec<_> = followers.collect();
    // The driver has a provider of its own, by the right time.
    let mut own = Follower::new([0, 0], 0);
    let plugins =
        [0, 1, 2].map(|at: usize| Arc::clone(&followers[at].keys) as Arc<dyn KeyProvider>);
    let source: Arc<dyn KeySource> = vault.clone();
    let world = World::with_plugins(clock.clone(), Arc::clone(&own.keys), plugins, source);
    let (changed, migrating) = (Mutex::new([None; 3]), Mutex::new(None));
    let told = Mutex::new(Vec::new());
    let life = async {
        for second in 0_u64.. {
            if second == 3600 {
                vault.versions.lock().unwrap().push(clock.wall_time());
            }
            for follower in followers.iter_mut().chain([&mut own]) {
                follower.live(&vault, second);
            }
            // Sooner than they would, so that what is measured is the plugins' doing.
            if second >= 3600 {
                world.refresh().await;
            }
            for (at, key) in world.written_with().into_iter().enumerate() {
                if key == id(2) {
                    changed.lock().unwrap()[at].get_or_insert_with(|| clock.wall_time());
                }
            }
            clock.sleep_until(clock.now() + SECOND).await;
        }
    };
    let on_news = |news: &News| {
        let is_migrating = matches!(
            news,
            News::Activity {
                activity: Activity::Migrating
            }
        );
        if is_migrating && changed.lock().unwrap()[0].is_some() {
            migrating
                .lock()
                .unwrap()
                .get_or_insert_with(|| clock.wall_time());
        }
        told.lock().unwrap().push(news.code().to_owned());
    };
    let mut options = World::options();
    options.policy = options.policy.with_skew(Duration::from_secs(policy_skew));
    let _ = world.drive_beside(options, Duration::from_secs(2 * 3600), life, on_news);
    let times = changed.into_inner().unwrap().map(Option::unwrap);
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    Course {
        apart: last.duration_since(*first).unwrap(),
        last: *last,
        migrating: migrating.into_inner().unwrap().expect("it migrates"),
        told: told.into_inner().unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// R26: whatever of 30 s the clocks differ by, and whenever each looks, no two API servers write
    /// with different keys for longer; a driver that knows the bound asks once they agree, is never
    /// told otherwise, and begins after the last of them.
    #[test]
    fn thirty_seconds_of_skew_are_thirty_seconds_of_disagreement(
        ahead in 0..=SKEW,
        behind in proptest::array::uniform3(0..=SKEW),
        phases in proptest::array::uniform3(0..POLL),
    ) {
        let course = course(ahead, behind, phases, POLICY_SKEW);
        prop_assert!(course.apart <= Duration::from_secs(SKEW), "{:?}", course.apart);
        prop_assert!(course.migrating > course.last);
        prop_assert!(!course.told.iter().any(|it| it == "lagging"), "{:?}", course.told);
    }
}

/// The bound is needed, and it is no more than a bound: a driver that takes all clocks for the same
/// asks too early, is told that one lags, and waits for it all the same.
#[test]
fn a_driver_that_trusts_clocks_too_much_is_told_so_and_waits() {
    let behind = [SKEW, 0, 0];
    let knowing = course(0, behind, [0, 100, 200], POLICY_SKEW);
    assert_eq!(knowing.apart, Duration::from_secs(SKEW));
    let is_lagging = |course: &Course| course.told.iter().any(|it| it == "lagging");
    assert!(!is_lagging(&knowing), "{:?}", knowing.told);
    let trusting = course(0, behind, [0, 100, 200], 0);
    assert!(is_lagging(&trusting), "{:?}", trusting.told);
    assert!(trusting.migrating > trusting.last);
}
