//! Each condition of the rules is left out once, and some test has to tell, or it stands in a list.
//!
//! `cargo test --release -p kms-policy --test rules -- mutants --include-ignored --nocapture`

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kms_policy::Policy;
use kms_policy::evaluate::Evaluator;
use kms_policy::rules::Rules;

use crate::build::{self, POD, PROFILES};
use crate::{attacks, changes, denial, edges, gates, network, state};

/// Lines that nothing tells. Most say what others beside them say as well, or tell alternatives apart of
/// which only one can hold; the rest spare work.
const UNTOLD: &str = include_str!("untold.txt");

/// A line of the rules between its neighbours, which tell it from others that read the same.
type Place = [String; 3];

thread_local! {
    static LEFT_OUT: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// The rules as tests are to see them.
pub(crate) fn seen(text: &str) -> String {
    LEFT_OUT.with_borrow(|left_out| match left_out {
        None => text.to_owned(),
        Some(place) => without(text, place),
    })
}

fn places(text: &str) -> impl Iterator<Item = Place> {
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let places: Vec<Place> = lines
        .windows(3)
        .map(|window| window.to_vec().try_into().expect("three"))
        .collect();
    places.into_iter()
}

fn without(text: &str, place: &Place) -> String {
    let mut out: Vec<_> = text.lines().collect();
    let at = places(text).position(|other| other == *place);
    if let Some(at) = at {
        out.remove(at + 1);
    }
    out.join("\n") + "\n"
}

/// A statement by itself, that names nothing which others need.
fn is_condition(place: &Place) -> bool {
    let line = &place[1];
    let is_inside = line.starts_with('\t') && !line.trim().starts_with(['"', '}', ']', ')']);
    let is_whole =
        !line.ends_with(['{', '[', '(', ',', '|']) && !place[0].ends_with(['[', '(', ',']);
    is_inside && is_whole && !line.contains(":=")
}

fn compiles(place: &Place) -> bool {
    PROFILES.into_iter().all(|profile| {
        let text = without(Rules::built_in(profile).text(), place);
        let text = format!("{text}\npolicy_data := {}", build::data(profile, POD));
        Evaluator::new(profile, &Policy::from_text(text)).is_ok()
    })
}

fn is_told(place: &Place) -> bool {
    LEFT_OUT.set(Some(place.clone()));
    // Those that tell most come first.
    let tests: [fn(); 39] = [
        changes::a_container_of_the_policy_is_created_and_one_that_differs_in_any_field_is_not,
        gates::every_request_has_a_gate_and_an_unknown_one_is_not_let_through,
        gates::settings_open_a_stream,
        gates::settings_without_expressions_allow_no_variable,
        network::the_loopback_device_is_not_the_hosts,
        network::files_land_where_shared_files_are_and_nowhere_else,
        network::a_sandbox_brings_no_code_and_only_the_storages_of_the_settings,
        state::a_container_that_is_added_changes_nothing_for_the_others,
        state::a_command_is_run_in_the_container_it_belongs_to,
        state::the_first_container_pins_what_the_pod_is,
        state::a_disk_is_passed_through_where_the_manifest_names_it,
        attacks::a_container_takes_no_others_place,
        attacks::what_is_removed_leaves_its_place,
        attacks::more_of_the_kernel_may_be_hidden_and_nothing_of_the_image,
        attacks::of_a_variable_that_stands_twice_the_last_counts,
        attacks::variables_are_resolved_as_kubernetes_does,
        attacks::a_long_text_may_hold_a_placeholder,
        attacks::two_disks_are_not_one,
        attacks::a_volume_may_be_mounted_in_two_places,
        attacks::an_image_is_pulled_as_what_the_container_is,
        attacks::a_direct_volume_is_mounted_where_its_storage_is,
        edges::names_that_the_node_chooses_are_names,
        edges::an_image_is_pulled_from_its_own_repository,
        edges::a_shared_directory_is_mounted_where_the_data_say,
        edges::every_storage_that_is_needed_is_there,
        edges::a_card_is_there_by_the_annotation_that_the_data_name,
        edges::every_field_of_every_kind_of_storage_counts,
        edges::the_kernels_settings_are_written_where_the_data_say,
        edges::a_request_names_its_bundle,
        edges::of_other_mounts_the_options_are_those_of_the_data,
        edges::an_empty_annotation_is_no_leave_for_any,
        edges::no_other_storage_stands_for_a_disk,
        edges::no_source_leaves_the_directory_that_its_expression_is_about,
        edges::a_container_is_in_one_network,
        edges::a_command_of_the_settings_is_run_whole,
        edges::a_source_that_is_no_expression_is_itself_alone,
        edges::options_of_cgroups_are_added_behind_those_of_the_data,
        edges::settings_forbid_hardware_addresses_however_they_are_written,
        denial::every_denial_names_the_container_and_a_field,
    ];
    let is_told = tests
        .into_iter()
        .any(|test| catch_unwind(AssertUnwindSafe(test)).is_err());
    LEFT_OUT.set(None);
    is_told
}

#[test]
#[ignore = "needs minutes of a processor"]
fn no_condition_of_the_rules_can_be_left_out() {
    let all: BTreeSet<Place> = PROFILES
        .into_iter()
        .flat_map(|profile| places(Rules::built_in(profile).text()).collect::<Vec<_>>())
        .filter(is_condition)
        .collect();
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let count = all.len();
    let (next, all) = (AtomicUsize::new(0), Vec::from_iter(all));
    let work = || {
        let (mut unviable, mut told, mut survived) = (0, 0, Vec::new());
        while let Some(place) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !compiles(place) {
                unviable += 1;
            } else if is_told(place) {
                told += 1;
            } else {
                println!("survived: {}", place[1]);
                survived.push(place);
            }
        }
        (unviable, told, survived)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (mut unviable, mut told, mut survived) = (0, 0, Vec::new());
    thread::scope(|scope| {
        let all = Vec::from_iter((0..threads).map(|_| scope.spawn(work)));
        for thread in all {
            let found = thread.join().expect("a thread that looks");
            unviable += found.0;
            told += found.1;
            survived.extend(found.2);
        }
    });
    set_hook(hook);
    println!("{told} of {count} conditions told, {unviable} cannot be left out by themselves");
    for [before, line, after] in &survived {
        println!("survived:\n   {before}\n>  {line}\n   {after}");
    }
    let known: BTreeSet<_> = UNTOLD.lines().collect();
    let new = survived.iter().map(|place| place[1].trim());
    let new: Vec<_> = new.filter(|line| !known.contains(line)).collect();
    assert!(new.is_empty(), "nothing tells {new:?}");
}
