//! Servers that ask to slow down, and rates.

use core::num::NonZeroU32;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use kms_core::{Clock as _, Error, ErrorKind, Tick};
use kms_envelope::reencrypt::{ApiMigrationEnd, ApiStopReason};

use super::{Call, Reply, Server, assert_complete, migrate, options};

fn throttled(after: Option<u64>) -> Reply {
    let error = Error::new(ErrorKind::Throttled, "slow down");
    Reply::Fails(match after {
        Some(seconds) => error.with_retry_after(Duration::from_secs(seconds)),
        None => error,
    })
}

fn at(seconds: u64) -> Tick {
    Tick::ORIGIN + Duration::from_secs(seconds)
}

/// A storm: whatever comes in a minute is refused, and the server says when to come back.
#[test]
fn nothing_goes_out_while_the_server_wants_to_be_left_alone() {
    let server = Server::with_secrets(40).with_latency(Duration::from_millis(10));
    let clock = server.clock.clone();
    let refused = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&refused);
    server.on_call(move |call| match call {
        Call::Rewrite(_) if clock.now() < at(60) => {
            log.lock().unwrap().push(clock.now());
            Some(throttled(Some(7)))
        }
        _ => None,
    });
    let report = migrate(&server, &options().with_page_limit(40));
    assert_complete(&report);
    assert_eq!(report.counts.written, 40);
    assert!(server.writes().values().all(|writes| *writes == 1));
    let refused = refused.lock().unwrap();
    // What was on its way already, each time the server may be asked again.
    assert_eq!(refused.len(), 9 * 8);
    assert_eq!(report.counts.throttled, 9 * 8);
    for refusal in refused.iter() {
        let too_early =
            |asked: &&Tick| *asked > refusal && asked.since(*refusal) < at(7).since(at(0));
        assert_eq!(
            server.times().iter().find(too_early),
            None,
            "after {refusal:?}"
        );
    }
}

#[test]
fn without_advice_the_pauses_double() {
    let server = Server::with_secrets(1);
    let mut left = 7;
    server.on_call(move |call| match call {
        Call::Rewrite(_) if left > 0 => {
            left -= 1;
            Some(throttled(None))
        }
        _ => None,
    });
    assert_complete(&migrate(&server, &options()));
    let times = server.times();
    let pauses: Vec<_> = times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]).as_secs())
        .collect();
    assert_eq!(pauses[..7], [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn lists_wait_as_well() {
    let server = Server::with_secrets(10);
    let clock = server.clock.clone();
    server.on_call(move |call| match call {
        Call::List(options) if options.page_limit > 1 && clock.now() < at(30) => {
            Some(throttled(Some(10)))
        }
        _ => None,
    });
    let report = migrate(&server, &options());
    assert_complete(&report);
    assert_eq!(report.counts.throttled, 3);
    assert_eq!(server.times()[0], at(30));
}

/// It asks for a pause each time, and never does a thing.
#[test]
fn a_server_that_never_stops_throttling_ends_it() {
    let server = Server::with_secrets(3);
    server.on_call(|call| match call {
        Call::Rewrite(_) => Some(throttled(Some(5))),
        _ => None,
    });
    let report = migrate(&server, &options().with_patience(Duration::from_secs(60)));
    let ApiMigrationEnd::Stopped(ApiStopReason::Server(error)) = &report.end else {
        panic!("{report:#?}");
    };
    assert_eq!(error.kind(), ErrorKind::Throttled);
    let took = server.clock.now().since(Tick::ORIGIN).as_secs();
    assert!((60..=60 * 7 + 10).contains(&took), "{took}");
}

#[test]
fn a_rate_is_kept() {
    let server = Server::with_secrets(101);
    let rate = NonZeroU32::new(10).unwrap();
    let options = options().with_rate(rate).with_page_limit(500);
    assert_complete(&migrate(&server, &options));
    let times = server.times();
    for window in times.windows(13) {
        let took = window[12].since(window[0]);
        // Ten a second, and a tenth of a second that may be made up for.
        assert!(took >= Duration::from_millis(1000), "{took:?}");
    }
    let took = times[100].since(times[0]);
    assert!(took <= Duration::from_millis(10_300), "{took:?}");
}
