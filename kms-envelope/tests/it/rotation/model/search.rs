//! Every world that can be reached, breadth first; and whether each can still come to a good end.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::Scenario;
use super::machine::Machines;
use super::moves::Moves;
use super::safety::{fault_between, fault_of, is_good};
use super::world::World;

/// Worlds are numbers of 128 bits, and nobody chooses them to collide.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a world is one number");
    }

    fn write_u128(&mut self, number: u128) {
        let folded = (number as u64) ^ ((number >> 64) as u64).rotate_left(29);
        let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

type Seen = HashMap<u128, u32, BuildHasherDefault<Mix>>;

/// What a search came to.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) worlds: usize,
    pub(super) transitions: usize,
    pub(super) machine_states: usize,
    pub(super) steps: usize,
    pub(super) good: usize,
    /// What is wrong, and how it came to that.
    pub(super) fault: Option<(&'static str, Vec<String>)>,
}

struct Search {
    seen: Seen,
    worlds: Vec<u128>,
    /// From which world, and by what, each was first reached.
    parents: Vec<(u32, &'static str)>,
    edges: Vec<(u32, u32)>,
}

pub(super) const STUCK: &str = "no good end can be reached any more";
const TOO_MANY: usize = 20_000_000;

pub(super) fn search(scenario: &Scenario) -> Found {
    let mut machines = Machines::default();
    let first = scenario.first(&mut machines);
    let mut search = Search {
        seen: Seen::default(),
        worlds: Vec::new(),
        parents: Vec::new(),
        edges: Vec::new(),
    };
    search.reach(&first, 0, "it begins");
    let mut moves = Moves {
        machines: &mut machines,
        scenario,
        next: Vec::new(),
    };
    let mut fault = None;
    let mut good = Vec::new();
    let mut at = 0;
    'all: while at < search.worlds.len() {
        let world = World::unpack(search.worlds[at]);
        let here = u32::try_from(at).unwrap();
        let facts = moves.machines.facts(world.machine).clone();
        if is_good(&world, &facts, scenario) {
            good.push(here);
        }
        moves.from(&world);
        let next = core::mem::take(&mut moves.next);
        for (world, by) in &next {
            let after = moves.machines.facts(world.machine);
            let wrong = fault_of(world, after, scenario)
                .or_else(|| fault_between(world, &facts, after, scenario));
            let there = search.reach(world, here, by);
            search.edges.push((here, there));
            if let Some(wrong) = wrong {
                let mut story = search.story(here, moves.machines);
                story.push(format!("{by}: {}", describe(world, moves.machines)));
                fault = Some((wrong, story));
                break 'all;
            }
        }
        moves.next = next;
        assert!(search.worlds.len() < TOO_MANY, "the search does not end");
        at += 1;
    }
    if fault.is_none() {
        let stuck = search.cannot_reach(&good);
        fault = stuck.map(|at| (STUCK, search.story(at, &machines)));
    }
    Found {
        worlds: search.worlds.len(),
        transitions: search.edges.len(),
        machine_states: machines.len(),
        steps: machines.steps,
        good: good.len(),
        fault,
    }
}

impl Search {
    fn reach(&mut self, world: &World, from: u32, by: &'static str) -> u32 {
        let packed = world.pack();
        let number = u32::try_from(self.worlds.len()).unwrap();
        let known = *self.seen.entry(packed).or_insert(number);
        if known == number {
            self.worlds.push(packed);
            self.parents.push((from, by));
        }
        known
    }

    /// A world from which none of these can be reached.
    fn cannot_reach(&self, good: &[u32]) -> Option<u32> {
        // Edges by where they lead, one row after the other.
        let mut starts = vec![0_u32; self.worlds.len() + 1];
        for (_, to) in &self.edges {
            starts[*to as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut sources = vec![0_u32; self.edges.len()];
        let mut free = starts.clone();
        for (from, to) in &self.edges {
            let place = &mut free[*to as usize];
            sources[*place as usize] = *from;
            *place += 1;
        }
        let mut reaches = vec![false; self.worlds.len()];
        let mut queue = good.to_vec();
        for at in good {
            reaches[*at as usize] = true;
        }
        while let Some(at) = queue.pop() {
            let row = starts[at as usize] as usize..starts[at as usize + 1] as usize;
            for from in &sources[row] {
                if !core::mem::replace(&mut reaches[*from as usize], true) {
                    queue.push(*from);
                }
            }
        }
        let stuck = reaches.iter().position(|reaches| !reaches)?;
        Some(u32::try_from(stuck).unwrap())
    }

    fn story(&self, mut at: u32, machines: &Machines) -> Vec<String> {
        let mut story = Vec::new();
        loop {
            let (from, by) = self.parents[at as usize];
            let world = World::unpack(self.worlds[at as usize]);
            story.push(format!("{by}: {}", describe(&world, machines)));
            if from == at {
                break;
            }
            at = from;
        }
        story.reverse();
        story
    }
}

fn describe(world: &World, machines: &Machines) -> String {
    let facts = machines.facts(world.machine);
    let replicas = world.replicas.map(|it| {
        format!(
            "{}{}plugin {} server {:?} reads {:b} writes {}",
            if it.up { "" } else { "(down) " },
            if it.blind { "(blind) " } else { "" },
            it.plugin,
            it.server,
            it.reads,
            it.writes
        )
    });
    format!(
        "stages {:?}, target {:?}, {:?}; objects {:?}; replicas {replicas:?}; health {:?}; instants {:?}; given {:b}; {:?}; {:?}; mover {:?}; revision {}",
        facts.stage,
        facts.target,
        facts.activity,
        world.objects,
        world.health,
        world.instant,
        world.given,
        world.check,
        world.census,
        world.mover,
        world.revision
    )
}
