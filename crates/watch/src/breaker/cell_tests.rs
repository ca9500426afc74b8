//! The laws of one breaker, for every sequence of inputs and every jump of the clock.

use super::*;
use proptest::prelude::*;

fn config() -> BreakerConfig {
    BreakerConfig {
        window_s: 10,
        denials_max: 4,
        requests_per_second_max: 2,
        throttle_one_in: 5,
        cool_down_s: 30,
        cool_down_s_max: 120,
        half_open_s: 10,
        half_open_requests: 3,
        enabled: true,
    }
}

fn any_state() -> impl Strategy<Value = BreakerState> {
    prop::sample::select(vec![
        BreakerState::Closed,
        BreakerState::Throttled,
        BreakerState::Frozen,
        BreakerState::HalfOpen,
    ])
}

prop_compose! {
    fn any_cell()(
        state in any_state(),
        level in 0..=LEVEL_MAX,
        start in 0..=SECOND_MASK,
        attempts: u16,
        denials: u16,
    ) -> Cell {
        Cell { state, level, start, attempts, denials }
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    prop::sample::select(vec![
        Input::Attempt,
        Input::Attempt,
        Input::Attempt,
        Input::Denial,
    ])
}

/// Steps of a simulation: seconds the clock moves (sometimes back or far ahead) and an input.
fn script() -> impl Strategy<Value = Vec<(i64, Input)>> {
    let seconds =
        prop_oneof![8 => 0..3_i64, 2 => 3..40_i64, 1 => -100..0_i64, 1 => 0..1_000_000_i64];
    prop::collection::vec((seconds, any_input()), 1..300)
}

proptest! {
    #[test]
    fn a_cell_survives_its_word(cell in any_cell()) {
        prop_assert_eq!(Cell::unpack(cell.pack()), cell);
    }

    #[test]
    fn frozen_admits_nothing_before_its_cool_down(
        cell in any_cell(), inputs in prop::collection::vec((0..30_u32, any_input()), 1..50),
    ) {
        let config = config();
        let frozen = cell.freeze(cell.start);
        let mut at = frozen;
        let mut passed = 0;
        for (seconds, input) in inputs {
            passed += seconds;
            if passed >= config.cool_down_at(frozen.level) {
                break;
            }
            let (next, admitted) = at.step(&config, frozen.start.wrapping_add(passed), input);
            prop_assert!(!admitted);
            prop_assert_eq!(next.state, BreakerState::Frozen);
            at = next;
        }
    }

    #[test]
    fn a_trial_admits_at_most_its_share_and_one_denial_ends_it(cell in any_cell(), n in 1..100_u32) {
        let config = config();
        let frozen = cell.freeze(0);
        let after = config.cool_down_at(frozen.level);
        let (mut at, mut admitted) = (frozen, 0);
        for _ in 0..n {
            let (next, passes) = at.step(&config, after, Input::Attempt);
            prop_assert_eq!(next.state, BreakerState::HalfOpen);
            admitted += u32::from(passes);
            at = next;
        }
        prop_assert_eq!(admitted, n.min(config.half_open_requests));
        let (refrozen, _) = at.step(&config, after, Input::Denial);
        prop_assert_eq!(refrozen.state, BreakerState::Frozen);
        prop_assert_eq!(refrozen.level, (frozen.level + 1).min(LEVEL_MAX));
    }

    #[test]
    fn nothing_trips_below_the_thresholds(windows in prop::collection::vec((0..=20_u32, 0..=4_u32), 1..50)) {
        let config = config();
        let mut cell = Cell::new(0);
        for (n, (attempts, denials)) in windows.into_iter().enumerate() {
            let now = u32::try_from(n).unwrap() * config.window_s;
            for _ in 0..attempts {
                let (next, passes) = cell.step(&config, now, Input::Attempt);
                prop_assert!(passes);
                cell = next;
            }
            for _ in 0..denials {
                cell = cell.step(&config, now, Input::Denial).0;
            }
            prop_assert_eq!(cell.state, BreakerState::Closed);
        }
    }

    #[test]
    fn only_drawn_edges_are_taken_whatever_the_clock_does(script in script()) {
        use BreakerState::{Closed, Frozen, HalfOpen, Throttled};
        let config = config();
        let (mut cell, mut clock) = (Cell::new(0), 0_i64);
        for (seconds, input) in script {
            clock = (clock + seconds).max(0);
            let now = u32::try_from(clock).unwrap() & SECOND_MASK;
            let settled = cell.settled(&config, now);
            let (next, passes) = cell.step(&config, now, input);
            for edge in [(cell.state, settled.state), (settled.state, next.state)] {
                let drawn = edge.0 == edge.1 || matches!(
                    edge,
                    (Closed, Throttled)
                        | (Throttled | HalfOpen, Frozen | Closed)
                        | (Frozen, HalfOpen)
                );
                prop_assert!(drawn, "{edge:?}");
            }
            prop_assert!(!(passes && next.state == Frozen));
            cell = next;
        }
    }

    #[test]
    fn silence_always_closes_it(script in script()) {
        let config = config();
        let (mut cell, mut now) = (Cell::new(0), 0_u32);
        for (seconds, input) in script {
            now = now.wrapping_add(u32::try_from(seconds.max(0)).unwrap());
            cell = cell.step(&config, now, input).0;
        }
        for _ in 0..4 {
            now = now.wrapping_add(config.cool_down_s_max);
            cell = cell.settled(&config, now);
        }
        prop_assert_eq!(cell.state, BreakerState::Closed);
    }
}

#[test]
fn it_trips_one_above_the_limit_and_recovers_with_hysteresis() {
    let config = config();
    let mut cell = Cell::new(0);
    for _ in 0..config.denials_max {
        cell = cell.step(&config, 1, Input::Denial).0;
    }
    assert_eq!(cell.state, BreakerState::Closed);
    cell = cell.step(&config, 1, Input::Denial).0;
    assert_eq!(cell.state, BreakerState::Throttled);
    for _ in 0..=config.denials_max / 2 {
        cell = cell.step(&config, 2, Input::Denial).0;
    }
    assert_eq!(
        cell.settled(&config, 11).state,
        BreakerState::Throttled,
        "not quiet enough"
    );
    assert_eq!(
        cell.settled(&config, 21).state,
        BreakerState::Closed,
        "a silent window"
    );
}

#[test]
fn a_clock_that_goes_back_frees_nobody() {
    let config = config();
    let frozen = Cell::new(1_000).freeze(1_000);
    assert_eq!(frozen.settled(&config, 0).state, BreakerState::Frozen);
    assert_eq!(frozen.settled(&config, 1_029).state, BreakerState::Frozen);
    assert_eq!(frozen.settled(&config, 1_030).state, BreakerState::HalfOpen);
}
