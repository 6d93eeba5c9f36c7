//! Everything that can happen next in a world.

use kms_envelope::rotation::{Activity, Stage};

use super::machine::{Ask, Facts, Machines};
use super::world::{
    BY_PLAIN, Census, Check, DELAY, Health, KEYS, OBJECTS, READS_V1, REPLICAS, Replica, Role, Slip,
    Under, World,
};
use super::{Fault, Scenario};

/// A world that can come next, and by what.
pub(super) type Next = (World, &'static str);

pub(super) struct Moves<'a> {
    pub(super) machines: &'a mut Machines,
    pub(super) scenario: &'a Scenario,
    pub(super) next: Vec<Next>,
}

impl Moves<'_> {
    /// Finds all worlds that can come next.
    pub(super) fn from(&mut self, world: &World) {
        self.next.clear();
        let facts = self.machines.facts(world.machine).clone();
        self.time(world);
        self.keys(world, &facts);
        self.replicas(world);
        self.writes(world, &facts);
        self.reconfiguration(world, &facts);
        self.checks(world, &facts);
        self.migration(world, &facts);
        self.census(world, &facts);
        self.operator(world, &facts);
        self.driver(world, &facts);
    }

    fn add(&mut self, world: World, by: &'static str) {
        self.next.push((world, by));
    }

    /// One in which something was written: the revision is another.
    fn add_written(&mut self, mut world: World, by: &'static str) {
        let (machine, revisions) = self.machines.reorder(world.machine, world.revisions());
        world.machine = machine;
        world.set_revisions(revisions);
        self.add(world, by);
    }

    /// Tells the machine something, and takes over what it gives out.
    fn tell(&mut self, world: &World, ask: Ask, by: &'static str) {
        let outcome = self.machines.ask(world.machine, ask, self.scenario);
        let mut world = *world;
        // A task that is another now: what the driver does for the old one is answered to nobody.
        if !world.check.idle && outcome.kept & (1 << world.check.role as u8) == 0 {
            world.end_check();
        }
        if !self.scenario.kinds.zombies && outcome.kept & (1 << Role::Work as u8) == 0 {
            world.mover = Under::Nothing;
        }
        world.given = world.given & outcome.kept | outcome.given;
        for key in 0..KEYS {
            world.leave[key] = world.leave[key].max(outcome.leave[key]);
        }
        let revisions = world.revisions();
        let (machine, revisions) = self.machines.outcome(&outcome, revisions);
        world.machine = machine;
        world.set_revisions(revisions);
        self.add(world, by);
    }

    fn time(&mut self, world: &World) {
        let mut later = *world;
        for key in 0..KEYS {
            later.instant[key] = (later.instant[key] - 1).max(-DELAY);
            later.leave[key] = later.leave[key].saturating_sub(1);
        }
        if later.census.found != 0 {
            later.census.age += 1;
            // It is refused from here on, unless somebody lies about its age.
            if later.census.age > 1 {
                match self.scenario.fault {
                    Some(Fault::StampsOldEvidence) => later.census.age = 2,
                    _ => later.census = Census::default(),
                }
            }
        }
        later.follow_rule(self.scenario);
        for at in 0..REPLICAS {
            later.keep_up(at, self.scenario);
        }
        let raw = self.machines.age(world.machine);
        let (machine, revisions) = self.machines.order(raw, later.revisions());
        later.machine = machine;
        later.set_revisions(revisions);
        self.add(later, "a tick passes");
    }

    /// What a vault's owner does.
    fn keys(&mut self, world: &World, facts: &Facts) {
        let scenario = self.scenario;
        let mut versions = (0..scenario.keys).filter(|key| scenario.provider_of(*key) == 0);
        if let Some(next) = versions.find(|key| !world.is_made(*key)) {
            let mut made = *world;
            made.made |= 1 << next;
            made.instant[next] = DELAY;
            if scenario.kinds.late {
                let mut disabled = made;
                disabled.health[next] = Health::Disabled;
                self.add(disabled, "a version is made, and not enabled yet");
            }
            made.follow_rule(scenario);
            self.add(made, "a version is made");
        }
        for key in (0..KEYS).filter(|key| world.is_made(*key)) {
            let health = world.health[key];
            if health == Health::Fine
                && let Some(after) = world.after(Slip::Hurt, scenario)
            {
                for hurt in [Health::Disabled, Health::Expired, Health::Deleted] {
                    let mut hurt_world = after;
                    hurt_world.health[key] = hurt;
                    hurt_world.follow_rule(scenario);
                    self.add(hurt_world, "a key is disabled, expires or is deleted");
                }
            }
            if !matches!(health, Health::Fine | Health::Gone) {
                let mut mended = *world;
                mended.health[key] = Health::Fine;
                if scenario.provider_of(key) == 0 && key > usize::from(world.rule) {
                    mended.late |= 1 << key;
                    mended.instant[key] = DELAY;
                }
                mended.follow_rule(scenario);
                self.add(mended, "a key is mended");
            }
            let has_leave = world.leave[key] > 0
                || (scenario.fault == Some(Fault::DeletesWithoutAsking)
                    && facts.stage[key] == Some(Stage::Retirable));
            if has_leave && health != Health::Gone {
                let mut deleted = *world;
                deleted.health[key] = Health::Gone;
                self.add(deleted, "a key is deleted with leave");
            }
        }
    }

    fn replicas(&mut self, world: &World) {
        let scenario = self.scenario;
        for at in 0..REPLICAS {
            let replica = world.replicas[at];
            let with = |change: &dyn Fn(&mut Replica)| {
                let mut other = *world;
                change(&mut other.replicas[at]);
                other
            };
            if !replica.up {
                // Or one that goes down while it is blind never comes back.
                if replica.blind {
                    let sees = with(&|it| it.blind = false);
                    self.add(sees, "the provider can be reached again");
                }
                for plugin in world.versions_at_start(scenario) {
                    if replica.blind {
                        break;
                    }
                    let mut started = with(&|it| {
                        it.up = true;
                        it.plugin = plugin;
                    });
                    started.adopt(at, scenario);
                    self.add(started, "a replica starts");
                }
                continue;
            }
            if let Some(mut crashed) = world.after(Slip::Crash, scenario) {
                crashed.replicas[at].up = false;
                crashed.replicas[at].server = Under::Nothing;
                self.add(crashed, "a replica crashes");
            }
            if !replica.blind
                && let Some(mut blind) = world.after(Slip::Blind, scenario)
            {
                blind.replicas[at].blind = true;
                self.add(blind, "a replica cannot see the provider");
            }
            if replica.blind {
                let mut sees = with(&|it| it.blind = false);
                sees.keep_up_now(at, scenario);
                self.add(sees, "a replica sees the provider again");
            } else {
                for key in usize::from(replica.plugin) + 1..KEYS {
                    if world.may_switch_to(key, scenario) {
                        self.add(with(&|it| it.plugin = key as u8), "a plugin changes over");
                    }
                }
            }
            let meant = world.meant(&replica, scenario);
            if replica.server != meant && world.can_write(meant) {
                let mut adopts = *world;
                adopts.adopt(at, scenario);
                self.add(adopts, "an API server takes up what its plugin says");
            }
        }
    }

    /// Users write; somebody restores an old value.
    fn writes(&mut self, world: &World, facts: &Facts) {
        for object in 0..OBJECTS {
            let old = world.objects[object];
            if old == Under::Nothing {
                continue;
            }
            for replica in world.replicas.iter().filter(|replica| replica.up) {
                if replica.server != Under::Nothing && replica.server != old {
                    self.add_written(
                        world.with_object(object, replica.server),
                        "an object is written",
                    );
                }
            }
            // Not between a census and its use: nothing can guard against that.
            let is_unused = world.census.found == 0 || world.census.age > 1;
            let Some(after) = world.after(Slip::Restore, self.scenario) else {
                continue;
            };
            if !is_unused || old == Under::Damaged {
                continue;
            }
            for key in 0..KEYS {
                let is_old = matches!(facts.stage[key], Some(Stage::Previous | Stage::Retirable));
                // Leave is for now: nobody restores a backup while a key is being deleted.
                let used = facts.target.key().map(|key| self.scenario.provider_of(key));
                let is_read = used == Some(self.scenario.provider_of(key));
                let is_there = world.leave[key] == 0 && world.health[key] != Health::Gone;
                if is_old && is_read && is_there {
                    let restored = after.with_object(object, Under::Key(key as u8));
                    self.add_written(restored, "an old value is restored");
                }
            }
        }
    }

    /// Somebody carries out what the machine asks for in the configuration of replicas.
    fn reconfiguration(&mut self, world: &World, facts: &Facts) {
        for at in (0..REPLICAS).filter(|at| world.replicas[*at].up) {
            let mut change = |changed: Replica, by| {
                if changed != world.replicas[at] {
                    let mut other = *world;
                    other.replicas[at] = changed;
                    self.next.push((other, by));
                }
            };
            let replica = world.replicas[at];
            if world.is_given(Role::Change)
                && let Some(key) = facts.prepares.key()
            {
                let bit = 1 << self.scenario.provider_of(key);
                let changed = Replica {
                    reads: replica.reads | bit,
                    ..replica
                };
                change(changed, "a replica is given a reader");
            }
            if world.is_given(Role::Work) && facts.reconfigures {
                let writes = match facts.target.key() {
                    Some(key) => self.scenario.provider_of(key),
                    None => BY_PLAIN,
                };
                change(Replica { writes, ..replica }, "a replica is given a writer");
            }
            if world.is_given(Role::Release)
                && let Some(bit) = facts.drops
            {
                let reads = replica.reads & !(1 << bit);
                change(Replica { reads, ..replica }, "a replica drops a provider");
            }
        }
    }

    /// One replica after the other is asked.
    fn checks(&mut self, world: &World, facts: &Facts) {
        let fault = self.scenario.fault;
        if world.check.idle {
            for role in Role::ALL {
                if facts.checks & (1 << role as u8) == 0 || !world.is_given(role) {
                    continue;
                }
                let mut begun = *world;
                begun.check = Check {
                    idle: false,
                    role,
                    floor: None,
                };
                let is_believed = match role {
                    Role::Work => fault == Some(Fault::AsksNoWriter),
                    Role::Change => fault == Some(Fault::AsksNoReader),
                    Role::Release => false,
                };
                if is_believed {
                    begun.replicas.iter_mut().for_each(|it| it.seen = true);
                    begun.check.floor = Some(world.revision);
                }
                self.add(begun, "a check begins");
            }
            return;
        }
        let role = world.check.role;
        for at in (0..REPLICAS).filter(|at| !world.replicas[*at].seen) {
            if world.is_as_expected(at, role, facts, self.scenario) {
                let mut seen = *world;
                seen.replicas[at].seen = true;
                self.add(seen, "a replica is as it should be");
            } else {
                let mut given_up = *world;
                given_up.end_check();
                self.tell(
                    &given_up,
                    Ask::Lagging { role: role as u8 },
                    "a replica lags",
                );
            }
        }
        let is_left = world.mover == Under::Nothing
            || world.mover == facts.target
            || fault == Some(Fault::ForgetsMigration);
        let all_seen = world.replicas.iter().all(|replica| replica.seen);
        if !all_seen || (role == Role::Work && !is_left) {
            return;
        }
        match world.check.floor {
            None => {
                let mut read = *world;
                read.check.floor = Some(world.revision);
                self.add_written(read, "the revision is read");
            }
            Some(revision) => {
                let mut done = *world;
                done.end_check();
                let ask = Ask::Converged {
                    role: role as u8,
                    revision,
                };
                self.tell(&done, ask, "all replicas are as they should be");
            }
        }
    }

    fn migration(&mut self, world: &World, facts: &Facts) {
        let is_asked = facts.activity == Activity::Migrating && world.is_given(Role::Work);
        if is_asked && world.mover == Under::Nothing {
            let mut begun = *world;
            begun.mover = facts.target;
            self.add(begun, "a migration begins");
        }
        if world.mover != Under::Nothing {
            let mut ended = *world;
            ended.mover = Under::Nothing;
            self.add(ended, "a migration ends");
            for object in 0..OBJECTS {
                let old = world.objects[object];
                if old != world.mover && world.can_migrate(old) && world.can_write(world.mover) {
                    self.add_written(
                        world.with_object(object, world.mover),
                        "an object is migrated",
                    );
                }
            }
        }
        let is_left = |old: &Under| *old != facts.target && world.can_migrate(*old);
        if is_asked && !world.objects.iter().any(is_left) {
            self.tell(world, Ask::Migrated, "a migration is through");
        }
    }

    fn census(&mut self, world: &World, facts: &Facts) {
        let mut taken = *world;
        taken.census = Census {
            found: world.found(),
            revision: world.revision,
            age: 0,
        };
        // Where it is of no use to anybody it is not taken.
        let is_old =
            |stage: &Option<Stage>| matches!(stage, Some(Stage::Retirable | Stage::Retired));
        let is_free = |stage: &Option<Stage>| *stage == Some(Stage::Retirable);
        let is_wanted = facts.activity == Activity::Verifying || facts.stage.iter().any(is_free);
        if is_wanted && taken != *world {
            self.add_written(taken, "a census is taken");
        }
        let census = world.census;
        if census.found == 0 {
            return;
        }
        let Census {
            found,
            revision,
            age,
        } = census;
        let age = match self.scenario.fault {
            Some(Fault::StampsOldEvidence) => 0,
            _ => age,
        };
        if facts.activity == Activity::Verifying && world.is_given(Role::Work) {
            let ask = Ask::Verified {
                found,
                revision,
                age,
            };
            self.tell(world, ask, "a census is told");
        }
        for key in 0..KEYS {
            let is_asked = is_old(&facts.stage[key]) && world.leave[key] == 0;
            if is_asked && world.health[key] != Health::Gone {
                let ask = Ask::Retire {
                    key: key as u8,
                    found,
                    revision,
                    age,
                };
                self.tell(world, ask, "a key is asked to be retired");
            }
        }
    }

    fn operator(&mut self, world: &World, facts: &Facts) {
        let scenario = self.scenario;
        let is_wrong = world.objects.contains(&Under::Damaged) || scenario.kinds.hurts;
        if is_wrong || scenario.kinds.restores {
            self.tell(world, Ask::VerifyNow, "an operator asks for a census");
        }
        if world.thefts > 0 {
            for key in (0..KEYS).filter(|key| facts.stage[*key].is_some()) {
                // One that can be replaced: that there is no fourth key is a limit of this search.
                if key + 1 < scenario.keys {
                    let mut stolen = *world;
                    stolen.thefts -= 1;
                    let ask = Ask::Compromised { key: key as u8 };
                    self.tell(&stolen, ask, "a key is compromised");
                }
            }
        }
        for key in 0..scenario.keys {
            let ask = match facts.target {
                Under::Plain => Ask::Enable { key: key as u8 },
                _ => Ask::Replace { key: key as u8 },
            };
            if scenario.changes_to & (1 << key) != 0 && world.health[key] == Health::Fine {
                let mut asked = *world;
                if scenario.provider_of(key) != 0 {
                    asked.made |= 1 << key;
                    asked.instant[key] = -3;
                }
                if asked.is_made(key) {
                    self.tell(&asked, ask, "a change of provider is asked for");
                }
            }
        }
        if scenario.disables {
            self.tell(world, Ask::Disable, "plain objects are asked for");
        }
        if scenario.changes_to != 0 || scenario.disables {
            self.tell(world, Ask::Abandon, "a change is given up");
        }
    }

    fn driver(&mut self, world: &World, facts: &Facts) {
        self.tell(world, Ask::Tick { ahead: false }, "the driver wakes");
        if self.scenario.kinds.skews {
            let ahead = true;
            self.tell(world, Ask::Tick { ahead }, "the driver wakes");
        }
        for provider in 0..2 {
            if facts.providers & (1 << provider) != 0 {
                self.tell(
                    world,
                    world.look(provider),
                    "the driver looks at a provider",
                );
            }
        }
        for role in Role::ALL {
            if world.is_given(role)
                && let Some(mut lost) = world.after(Slip::Loss, self.scenario)
            {
                if lost.check.role == role {
                    lost.end_check();
                }
                self.tell(&lost, Ask::Failed { role: role as u8 }, "a task fails");
                lost.given &= !(1 << role as u8);
                self.add(lost, "an effect is lost");
            }
        }
        let Some(mut restarted) = world.after(Slip::Restart, self.scenario) else {
            return;
        };
        restarted.given = 0;
        restarted.mover = Under::Nothing;
        restarted.leave = [0; KEYS];
        restarted.census = Census::default();
        restarted.end_check();
        self.tell(&restarted, Ask::Restarted, "the driver restarts");
    }
}

impl World {
    fn revisions(&self) -> [u8; 3] {
        // What is not there has the revision of something that is, so that it adds no other.
        let floor = self.check.floor.unwrap_or(self.revision);
        let census = if self.census.found == 0 {
            self.revision
        } else {
            self.census.revision
        };
        [self.revision, floor, census]
    }

    fn set_revisions(&mut self, [revision, floor, census]: [u8; 3]) {
        self.revision = revision;
        if let Some(of_check) = &mut self.check.floor {
            *of_check = floor;
        }
        self.census.revision = if self.census.found == 0 { 0 } else { census };
    }

    fn end_check(&mut self) {
        self.check = Check {
            idle: true,
            ..Check::default()
        };
        self.replicas.iter_mut().for_each(|it| it.seen = false);
    }

    fn with_object(&self, object: usize, under: Under) -> Self {
        let mut other = *self;
        other.objects[object] = under;
        other.revision += 1;
        other
    }

    /// What a census finds.
    fn found(&self) -> u8 {
        let objects = self.objects.iter().filter(|it| **it != Under::Nothing);
        objects.fold(0, |found, object| found | 1 << object.code())
    }

    /// What the provider shows to the driver.
    fn look(&self, provider: u8) -> Ask {
        Ask::Observed {
            provider,
            made: self.made,
            health: self.health.map(|health| health as u8),
            instant: self.instant,
            late: self.late,
            rule: self.rule,
        }
    }

    /// The provider's own rule: the newest version whose instant is past; at once, if the active one
    /// cannot wrap and a newer one can; never back.
    fn follow_rule(&mut self, scenario: &Scenario) {
        for key in usize::from(self.rule) + 1..KEYS {
            let is_version = scenario.provider_of(key) == 0 && self.is_made(key);
            if !is_version || !self.health[key].wraps() {
                continue;
            }
            if self.instant[key] <= 0 {
                self.rule = key as u8;
            } else if !self.health[usize::from(self.rule)].wraps() {
                self.rule = key as u8;
                self.instant[key] = 0;
                self.late |= 1 << key;
            }
        }
    }

    /// Whether a plugin that sees the provider may have changed over: its clock may be a tick ahead.
    fn may_switch_to(&self, key: usize, scenario: &Scenario) -> bool {
        scenario.provider_of(key) == 0
            && self.is_made(key)
            && self.health[key].wraps()
            && self.instant[key] <= 1
    }

    /// What a plugin that starts now may take: its clock may be a tick ahead, and of what was late
    /// it may not know what the others know.
    fn versions_at_start(&self, scenario: &Scenario) -> Vec<u8> {
        let rule = usize::from(self.rule);
        let mut versions = vec![self.rule];
        versions.extend(
            (rule + 1..KEYS)
                .filter(|key| self.may_switch_to(*key, scenario))
                .map(|key| key as u8),
        );
        if self.is_late(rule) && self.instant[rule] > -DELAY {
            let older = (0..rule)
                .rev()
                .find(|key| self.is_made(*key) && self.health[*key].wraps());
            versions.extend(older.map(|key| key as u8));
        }
        versions
    }

    /// At the end of a tick a replica has changed over to what was due in it, and its API server has
    /// taken up what its plugin said at its beginning; or it writes no more.
    fn keep_up(&mut self, at: usize, scenario: &Scenario) {
        if !self.replicas[at].up {
            return;
        }
        self.adopt(at, scenario);
        if !self.replicas[at].blind {
            let due = |key: &usize| {
                let window = if self.is_late(*key) { -DELAY } else { 0 };
                self.may_switch_to(*key, scenario) && self.instant[*key] <= window
            };
            if let Some(newest) = (0..KEYS).rev().find(due) {
                let plugin = &mut self.replicas[at].plugin;
                *plugin = (*plugin).max(newest as u8);
            }
        }
    }

    /// A replica that sees the provider again changes over to what is active.
    fn keep_up_now(&mut self, at: usize, scenario: &Scenario) {
        if self.replicas[at].up && scenario.provider_of(usize::from(self.rule)) == 0 {
            let plugin = &mut self.replicas[at].plugin;
            *plugin = (*plugin).max(self.rule);
        }
    }

    /// An API server takes up what its plugin says.
    fn adopt(&mut self, at: usize, scenario: &Scenario) {
        let meant = self.meant(&self.replicas[at], scenario);
        self.replicas[at].server = if self.can_write(meant) {
            meant
        } else {
            Under::Nothing
        };
    }

    fn is_as_expected(&self, at: usize, role: Role, facts: &Facts, scenario: &Scenario) -> bool {
        let replica = &self.replicas[at];
        let reads = |bit: u8| replica.reads & (1 << bit) != 0;
        replica.up
            && match role {
                Role::Work => self.meant(replica, scenario) == facts.target,
                Role::Change => match facts.prepares.key() {
                    Some(key) => reads(scenario.provider_of(key)),
                    None => true,
                },
                Role::Release => facts.drops.is_none_or(|bit| !reads(bit)),
            }
    }
}

/// The bit of KMS v1 is where [`Machines`] has it.
const _: () = assert!(READS_V1 == 1 << 2);
