//! The breaker in its place: fed by events, asked by the gateway, from many threads.

use crate::fixtures::*;
use proptest::prelude::*;
use ringfence_core::event::Target;
use ringfence_core::ports::{Breaker, BreakerState, EventSink};
use ringfence_watch::breaker::{TARGETS_MAX, TRIPS_PER_MINUTE_MAX};
use ringfence_watch::{BreakerConfig, Watch, kinds};
use std::sync::Barrier;

fn deny(watch: &Watch, target: &Target, count: u32) {
    for _ in 0..count {
        watch.emit(event(target, kinds::SANDBOX_REFUSED).denied(None));
    }
}

#[test]
fn denials_freeze_a_sandbox_and_time_lets_it_try_again() {
    let (clock, watch) = watch();
    let (breakers, bad, good) = (watch.breakers(), sandbox("bad"), sandbox("good"));
    let max = BreakerConfig::default().denials_max;
    deny(&watch, &bad, max);
    assert_eq!(breakers.state(&bad), BreakerState::Closed);
    deny(&watch, &bad, 1);
    assert_eq!(breakers.state(&bad), BreakerState::Throttled);
    let passed = (0..20).filter(|_| breakers.admit(&bad)).count();
    assert_eq!(passed, 2, "one in ten");
    deny(&watch, &bad, max + 1);
    assert_eq!(breakers.state(&bad), BreakerState::Frozen);
    assert!(!breakers.admit(&bad));
    assert!(breakers.admit(&good), "nobody pays for another");
    clock.pass_ms(30_000);
    assert_eq!(breakers.state(&bad), BreakerState::HalfOpen);
    assert_eq!((0..20).filter(|_| breakers.admit(&bad)).count(), 5);
    clock.pass_ms(10_000);
    assert!(breakers.admit(&bad));

    let trips = watch.take_trips();
    let edges: Vec<_> = trips.iter().map(|t| (t.to, t.rule.as_str())).collect();
    assert_eq!(
        edges,
        [
            (BreakerState::Throttled, "watch/denial-rate"),
            (BreakerState::Frozen, "watch/denial-rate"),
            (BreakerState::HalfOpen, "watch/recovery"),
            (BreakerState::Closed, "watch/recovery"),
        ]
    );
    assert_eq!(trips[0].project, Some(project("desk")));
    assert_eq!(trips[0].reason, "more than 20 denials in 10 s");
    let events = watch.recent(&project("desk"), 4);
    assert!(
        events
            .iter()
            .all(|e| e.kind == kinds::BREAKER_TRIP && e.rule.is_some())
    );
    assert_eq!(watch.take_trips(), vec![]);
}

#[test]
fn a_burst_is_stopped_with_the_breaker_and_passes_without() {
    let burst = |config: BreakerConfig| {
        let (_clock, watch) = watch_with(config);
        let breakers = watch.breakers();
        (0..2_000).filter(|_| breakers.admit(&key("ann"))).count()
    };
    assert_eq!(burst(BreakerConfig::default()), 500 + 50);
    let off = BreakerConfig {
        enabled: false,
        ..BreakerConfig::default()
    };
    assert_eq!(burst(off), 2_000);
}

#[test]
fn what_the_breaker_itself_refused_does_not_keep_it_shut() {
    let (_clock, watch) = watch();
    let ann = key("ann");
    for _ in 0..1_000 {
        watch.emit(event(&ann, kinds::BREAKER_REFUSED).denied(None));
    }
    assert_eq!(watch.breakers().state(&ann), BreakerState::Closed);
}

#[test]
fn a_person_can_freeze_and_let_go() {
    let (_clock, watch) = watch();
    let (breakers, ann) = (watch.breakers(), key("ann"));
    breakers.freeze(&ann);
    assert!(!breakers.admit(&ann));
    breakers.throttle(&ann);
    assert_eq!(
        breakers.state(&ann),
        BreakerState::Frozen,
        "throttling frees nobody"
    );
    breakers.thaw(&ann);
    assert!(breakers.admit(&ann));
    let rules: Vec<_> = watch
        .take_trips()
        .into_iter()
        .map(|t| t.rule.to_string())
        .collect();
    assert_eq!(rules, ["watch/manual", "watch/manual"]);
}

#[test]
fn requests_and_the_host_have_no_breaker() {
    let (_clock, watch) = watch();
    let request = Target::Request("r1".parse().unwrap());
    deny(&watch, &request, 1_000);
    deny(&watch, &Target::Host, 1_000);
    assert!(watch.breakers().admit(&request) && watch.breakers().admit(&Target::Host));
}

#[test]
fn a_storm_of_trips_acts_on_all_and_reports_some() {
    let (_clock, watch) = watch();
    let breakers = watch.breakers();
    let count = TRIPS_PER_MINUTE_MAX + 1;
    for n in 0..count {
        breakers.freeze(&key(&format!("k{n}")));
    }
    assert!((0..count).all(|n| breakers.state(&key(&format!("k{n}"))) == BreakerState::Frozen));
    assert_eq!(watch.take_trips().len(), TRIPS_PER_MINUTE_MAX as usize);
    assert_eq!(breakers.unreported(), 1);
}

#[test]
fn targets_beyond_the_limit_share_one_breaker_and_quiet_ones_make_room() {
    let (_clock, watch) = watch();
    let breakers = watch.breakers();
    for n in 0..TARGETS_MAX {
        breakers.freeze(&key(&format!("k{n}")));
    }
    assert_eq!(breakers.overflowed(), 0);
    assert!(breakers.admit(&key("late")));
    assert_eq!(breakers.overflowed(), 1);
    breakers.thaw(&key("k0"));
    assert!(breakers.admit(&key("next")));
    assert_eq!(breakers.overflowed(), 1, "k0 made room");
}

#[test]
fn many_threads_admit_exactly_what_the_window_allows() {
    let (_clock, watch) = watch();
    let (breakers, barrier) = (watch.breakers(), Barrier::new(4));
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    (0..500).filter(|_| breakers.admit(&key("ann"))).count()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(passed, 500 + 50);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A seeded run of several targets: what one does never changes what another may.
    #[test]
    fn targets_do_not_touch_each_other(
        script in prop::collection::vec((0..3_usize, 0..4_000_u64, prop::bool::ANY), 1..200),
    ) {
        let names = ["a", "b", "c"];
        let together = watch();
        let apart: Vec<_> = names.iter().map(|_| watch()).collect();
        for (who, ms, denial) in script {
            together.0.pass_ms(ms);
            for (clock, _) in &apart {
                clock.pass_ms(ms);
            }
            let target = key(names[who]);
            if denial {
                deny(&together.1, &target, 9);
                deny(&apart[who].1, &target, 9);
            } else {
                let both = [&together.1, &apart[who].1].map(|w| w.breakers().admit(&target));
                prop_assert_eq!(both[0], both[1]);
            }
            for (name, (_, alone)) in names.iter().zip(&apart) {
                prop_assert_eq!(
                    together.1.breakers().state(&key(name)), alone.breakers().state(&key(name))
                );
            }
        }
    }
}
