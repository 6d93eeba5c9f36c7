//! The laws.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const POLL: u64 = 300;
const DELAY: u64 = 2 * POLL + 60;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn name(number: usize) -> KeyVersion {
    format!("{number:032x}").parse().unwrap()
}

fn version(number: usize, created: u64) -> Candidate {
    Candidate {
        version: name(number),
        created: at(created),
        updated: at(created),
        not_before: None,
        expires: None,
        enabled: true,
        allows_wrapping: true,
        fitness: Fitness::WrappingKey,
    }
}

fn activation() -> Activation {
    Activation::new(Duration::from_secs(DELAY))
}

/// One that has looked at these versions from the start.
fn following(versions: &[Candidate], now: u64) -> Activation {
    let mut activation = activation();
    activation.observe(versions.to_vec(), true, at(now));
    activation.decide(at(now));
    activation
}

fn active(number: usize) -> Decision {
    Decision::Active(name(number))
}

fn stopped(number: usize, stop: Stop) -> Decision {
    Decision::Stopped(name(number), stop)
}

#[test]
fn the_oldest_version_needs_no_delay() {
    let mut first = activation();
    first.observe([version(1, 0)], false, at(1));
    assert_eq!(
        first.decide(at(1)),
        Decision::Nothing,
        "there may be older ones"
    );
    first.observe([version(1, 0)], true, at(1));
    assert_eq!(first.decide(at(1)), active(1));
}

#[test]
fn a_new_version_is_active_at_its_instant() {
    let mut replica = following(&[version(1, 0)], 10);
    replica.observe([version(2, 1000)], false, at(1200));
    let pending = replica.pending(at(1200)).unwrap();
    assert_eq!(pending.version, name(2));
    assert_eq!(pending.active_at, at(1000 + DELAY));
    assert_eq!(replica.decide(at(1000 + DELAY - 1)), active(1));
    assert_eq!(replica.decide(at(1000 + DELAY)), active(2));
    assert_eq!(replica.pending(at(1000 + DELAY)), None);
}

#[test]
fn a_start_time_puts_the_instant_off() {
    let mut replica = following(&[version(1, 0)], 10);
    let mut next = version(2, 1000);
    next.not_before = Some(at(90_000));
    replica.observe([next], false, at(1200));
    assert_eq!(replica.decide(at(90_000 + DELAY - 1)), active(1));
    assert_eq!(replica.decide(at(90_000 + DELAY)), active(2));
}

#[test]
fn of_two_made_in_one_second_the_name_decides() {
    for order in [[2, 3], [3, 2]] {
        let mut replica = following(&[version(1, 0)], 10);
        for number in order {
            replica.observe([version(number, 1000)], false, at(1100));
        }
        assert_eq!(replica.decide(at(1000 + DELAY)), active(3));
    }
}

/// Rule 2: enabled later, and everyone who sees it in time changes over at one moment.
#[test]
fn a_version_enabled_late_has_its_instant_from_then() {
    let mut disabled = version(2, 1000);
    disabled.enabled = false;
    let mut enabled = version(2, 1000);
    enabled.updated = at(50_000);
    for first_look in [50_010, 50_300, 50_000 + DELAY - 1] {
        let mut replica = following(&[version(1, 0)], 10);
        replica.observe([disabled.clone()], false, at(1100));
        assert_eq!(
            replica.decide(at(49_000)),
            active(1),
            "never active, so passed over"
        );
        replica.observe([enabled.clone()], false, at(first_look));
        assert_eq!(replica.decide(at(50_000 + DELAY - 1)), active(1));
        assert_eq!(replica.decide(at(50_000 + DELAY)), active(2));
    }
}

/// Rule 2: blind until after the instant, it follows with its first look.
#[test]
fn a_blind_replica_follows_at_its_first_look() {
    let mut replica = following(&[version(1, 0)], 10);
    assert_eq!(replica.decide(at(9_999)), active(1));
    replica.observe([version(2, 1000)], false, at(10_000));
    assert_eq!(replica.decide(at(10_000)), active(2));
}

/// Rule 3.
#[test]
fn what_becomes_unusable_stops_writes_and_nothing_older_is_taken() {
    let versions = [version(1, 0), version(2, 1000)];
    type Damage = fn(&mut Candidate);
    let damage: [(Damage, Stop); 4] = [
        (|it| it.enabled = false, Stop::Disabled),
        (|it| it.allows_wrapping = false, Stop::NotAllowed),
        (|it| it.expires = Some(at(9_000)), Stop::Expired),
        (|it| it.not_before = Some(at(90_000)), Stop::NotYetValid),
    ];
    for (damage, stop) in damage {
        let mut replica = following(&versions, 9_000);
        assert_eq!(replica.decide(at(9_000)), active(2));
        let mut damaged = version(2, 1000);
        damage(&mut damaged);
        damaged.updated = at(9_500);
        replica.observe([version(1, 0), damaged.clone()], true, at(9_600));
        assert_eq!(replica.decide(at(9_600)), stopped(2, stop));
        assert_eq!(replica.decide(at(20_000)), stopped(2, stop));
        // One that starts now says the same, except that a start time put off looks like one that
        // was always there.
        let restarted = following(&[version(1, 0), damaged], 9_600).decide(at(9_600));
        match stop {
            Stop::NotYetValid => assert_eq!(restarted, active(1)),
            _ => assert_eq!(restarted, stopped(2, stop)),
        }
        replica.observe([version(2, 1000)], false, at(21_000));
        assert_eq!(replica.decide(at(21_000)), active(2), "switched on again");
    }
}

/// Rule 4.
#[test]
fn when_nothing_else_can_wrap_there_is_no_delay() {
    let mut expiring = version(1, 0);
    expiring.expires = Some(at(5_000));
    let mut replica = following(&[expiring], 10);
    replica.observe([version(2, 4_900)], false, at(4_950));
    assert_eq!(replica.decide(at(4_999)), active(1));
    assert_eq!(replica.decide(at(5_000)), active(2));
}

/// Rule 5.
#[test]
fn one_that_restarts_passes_over_what_was_never_active() {
    let mut staged = version(2, 1000);
    staged.enabled = false;
    assert_eq!(
        following(&[version(1, 0), staged.clone()], 90_000).decide(at(90_000)),
        active(1)
    );
    staged.updated = at(1000 + DELAY);
    assert_eq!(
        following(&[version(1, 0), staged], 90_000).decide(at(90_000)),
        stopped(2, Stop::Disabled)
    );
    let mut short = version(2, 1000);
    short.expires = Some(at(1100));
    assert_eq!(
        following(&[version(1, 0), short], 90_000).decide(at(90_000)),
        active(1)
    );
}

#[test]
fn what_is_no_wrapping_key_is_passed_over_unless_there_is_nothing_else() {
    let mut curve = version(2, 1000);
    curve.fitness = Fitness::Unsuitable;
    assert_eq!(
        following(&[version(1, 0), curve.clone()], 90_000).decide(at(90_000)),
        active(1)
    );
    let mut alone = following(&[curve], 90_000);
    assert_eq!(alone.decide(at(90_000)), stopped(2, Stop::Unsuitable));
    alone.observe([version(3, 95_000)], false, at(95_001));
    assert_eq!(alone.decide(at(95_001)), active(3));
}

#[test]
fn a_key_of_the_future_says_so() {
    let mut future = version(1, 0);
    future.not_before = Some(at(5_000));
    let mut replica = following(&[future], 10);
    assert_eq!(replica.decide(at(10)), stopped(1, Stop::NotYetValid));
    assert_eq!(replica.decide(at(5_000)), active(1));
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut replica = following(&[version(1, 0), version(2, 1000)], 9_000);
    assert_eq!(replica.decide(at(9_000)), active(2));
    assert_eq!(replica.decide(at(1001)), active(2));
}

/// What happens in a vault: a version made, perhaps with a start time, perhaps damaged later.
#[derive(Clone, Debug)]
struct Event {
    pause: u64,
    start_in: Option<u64>,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (0_u64..3000, proptest::option::of(0_u64..5000))
        .prop_map(|(pause, start_in)| Event { pause, start_in });
    proptest::collection::vec(event, 1..8)
}

fn history(events: &[Event]) -> Vec<Candidate> {
    let mut now = 0;
    let all = events.iter().enumerate().map(|(number, event)| {
        now += event.pause;
        let mut made = version(number + 1, now);
        made.not_before = event.start_in.map(|wait| at(now + wait));
        made
    });
    all.collect()
}

/// What a vault lists at a time.
fn listed(history: &[Candidate], now: u64) -> Vec<Candidate> {
    history
        .iter()
        .filter(|made| made.created <= at(now))
        .cloned()
        .collect()
}

fn what_wraps(replica: &mut Activation, now: u64) -> Option<KeyVersion> {
    match replica.decide(at(now)) {
        Decision::Active(version) => Some(version),
        _ => None,
    }
}

proptest! {
    /// Replicas that look at different moments decide alike at every moment from the first look
    /// after the first version is there, and so does one that starts just then.
    #[test]
    fn replicas_agree(events in events(), phases in proptest::array::uniform3(0_u64..POLL), jitter in 0_u64..30) {
        let history = history(&events);
        let mut replicas = phases.map(|phase| (phase, activation()));
        let end = 20_000;
        for now in (POLL + 30 + events[0].pause)..end {
            if now % 7 != 0 {
                continue;
            }
            for (next, replica) in &mut replicas {
                if now >= *next {
                    replica.observe(listed(&history, now), true, at(now));
                    *next = now + POLL - jitter;
                }
            }
            let [one, two, three] = replicas.each_mut().map(|(_, replica)| what_wraps(replica, now));
            prop_assert_eq!(&one, &two, "at {}", now);
            prop_assert_eq!(&one, &three, "at {}", now);
            if now % 91 == 0 {
                let mut restarted = following(&listed(&history, now), now);
                prop_assert_eq!(one, what_wraps(&mut restarted, now), "restarted at {}", now);
            }
        }
    }

    /// Whatever is seen and however the clock runs, an older version never comes after a newer one,
    /// and none is active that cannot wrap.
    #[test]
    fn it_never_goes_back(
        looks in proptest::collection::vec((0_usize..6, any::<[bool; 4]>(), 0_u64..9000, 0_u64..9000), 1..60)
    ) {
        let mut replica = activation();
        let mut last = None;
        for (number, [enabled, allowed, fit, all], time, updated) in looks {
            let mut seen = version(number, 1000 * number as u64);
            seen.enabled = enabled;
            seen.allows_wrapping = allowed;
            seen.updated = at(1000 * number as u64 + updated);
            seen.expires = (updated % 3 == 0).then(|| at(updated));
            if !fit && number == 3 {
                seen.fitness = Fitness::Unsuitable;
            }
            replica.observe([seen.clone()], all, at(time));
            let decision = replica.decide(at(time));
            if let Decision::Active(version) | Decision::Stopped(version, _) = &decision {
                prop_assert!(last.as_ref().is_none_or(|last| last <= version));
            }
            if let Decision::Active(version) = &decision {
                last = Some(version.clone());
            }
            if decision == Decision::Active(seen.version.clone()) {
                prop_assert_eq!(seen.stop(at(time)), None);
            }
        }
    }

    /// A replica that was blind for any time agrees again after its first look, if the attributes
    /// have not changed since; else after a delay at most.
    #[test]
    fn a_late_sight_is_bounded(
        created in 100_u64..5000,
        edited in proptest::option::of(0_u64..10_000),
        blind_until in 100_u64..20_000
    ) {
        let mut seeing = following(&[version(1, 0)], 10);
        let mut blind = seeing.clone();
        let mut made = version(2, created);
        let mut agreed_from = blind_until.max(created);
        for now in (created..30_000).step_by(50) {
            if let Some(edited) = edited && now >= created + edited {
                made.updated = at(created + edited);
            }
            seeing.observe([made.clone()], false, at(now));
            if now == created + (blind_until.saturating_sub(created) / 50 + 1) * 50 {
                blind.observe([made.clone()], false, at(now));
                agreed_from = now + if edited.is_some() { DELAY } else { 0 };
            }
            let decisions = (seeing.decide(at(now)), blind.decide(at(now)));
            if now >= agreed_from && now > blind_until + 50 {
                prop_assert_eq!(decisions.0, decisions.1, "at {}", now);
            }
        }
    }

    /// Clocks that differ by less than the skew put the change-over apart by no more than that.
    #[test]
    fn skew_is_bounded(created in 100_u64..5000, skew in 0_u64..60, phases in proptest::array::uniform2(0_u64..POLL)) {
        let instants = [(phases[0], 0), (phases[1], skew)].map(|(phase, skew)| {
            let mut replica = following(&[version(1, 0)], 50);
            replica.observe([version(2, created)], false, at(created + phase + skew));
            (created..created + 2 * DELAY).find(|now| replica.decide(at(now + skew)) == active(2)).unwrap()
        });
        prop_assert!(instants[0].abs_diff(instants[1]) <= skew);
    }
}
