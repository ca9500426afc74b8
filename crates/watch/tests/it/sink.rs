//! Events become numbered, counted in the right windows, and bounded.

use crate::fixtures::*;
use ringfence_core::event::{EventVerdict, Target};
use ringfence_core::ports::EventSink;
use ringfence_watch::kinds;
use ringfence_watch::sink::{DETAILS_MAX, RECENT_EVENTS_MAX, RECENT_SAMPLES_MAX};
use ringfence_watch::windows::{
    Counter, Frame, Gauge, PROJECTS_MAX, Subject, TARGETS_MAX, WINDOW_MS, WINDOWS_KEPT,
};

fn frames(watch: &ringfence_watch::Watch, target: &Target) -> Vec<Frame> {
    watch
        .windows()
        .of(&project("desk"), &Subject::Target(target.clone()))
}

#[test]
fn a_request_counts_for_its_key_its_project_and_no_other() {
    let (clock, watch) = watch();
    let ann = key("ann");
    watch.emit(
        event(&ann, kinds::REQUEST_FINISHED)
            .with("status", 502)
            .with("latency_ms", 40)
            .with("tokens_in", 12)
            .with("tokens_out", 30),
    );
    watch.emit(
        event(&ann, kinds::SHIELD_BLOCKED)
            .denied(None)
            .with("count", 2),
    );
    watch.emit(event(&ann, kinds::PII_REDACTED));
    clock.pass_ms(WINDOW_MS);
    watch.emit(event(&ann, kinds::REQUEST_FINISHED).with("status", 200));

    let seen = frames(&watch, &ann);
    assert_eq!(seen.len(), 2);
    let first = |c| seen[0].counter(c);
    assert_eq!(
        [
            first(Counter::Requests),
            first(Counter::Errors),
            first(Counter::TokensIn),
            first(Counter::TokensOut),
            first(Counter::ShieldHits),
            first(Counter::PiiRedactions),
            first(Counter::Denials),
            first(Counter::Events),
        ],
        [1, 1, 12, 30, 2, 1, 1, 3]
    );
    assert_eq!(seen[0].latency.quantile_ms(500), Some(50));
    assert_eq!(
        (
            seen[1].counter(Counter::Requests),
            seen[1].counter(Counter::Errors)
        ),
        (1, 0)
    );
    assert_eq!(
        watch.windows().of(&project("desk"), &Subject::Project),
        seen
    );
    assert_eq!(
        watch.windows().of(&project("other"), &Subject::Project),
        vec![]
    );
    assert_eq!(watch.windows().targets(&project("desk")), vec![ann]);
}

#[test]
fn sandbox_counters_since_start_become_differences() {
    let (_clock, watch) = watch();
    let (a, b) = (sandbox("a"), sandbox("b"));
    let stats = |target: &Target, cpu: u64, memory: u64| {
        watch.emit(
            event(target, kinds::SANDBOX_STATS)
                .with("cpu_us", cpu)
                .with("memory_bytes", memory)
                .with("processes", 2)
                .with("oom_kills", 1)
                .with("fork_denials", 0),
        );
    };
    stats(&a, 1_000, 90);
    stats(&a, 1_500, 50);
    stats(&b, 10, 5);
    stats(&a, 100, 60);
    let of_a = frames(&watch, &a)[0];
    assert_eq!(
        of_a.counter(Counter::CpuUs),
        1_600,
        "a lower count is a new start"
    );
    assert_eq!(of_a.counter(Counter::OomKills), 1);
    assert_eq!(
        (of_a.gauge(Gauge::MemoryBytes), of_a.gauge(Gauge::Processes)),
        (90, 2)
    );
    let all = watch.windows().of(&project("desk"), &Subject::Project)[0];
    assert_eq!(all.counter(Counter::CpuUs), 1_610);
    assert_eq!(watch.windows().gauges_now()[&project("desk")], [65, 4]);
    watch.forget(&project("desk"), &a);
    assert_eq!(watch.windows().gauges_now()[&project("desk")], [5, 2]);
}

#[test]
fn refused_connections_are_denials_and_unknown_kinds_only_events() {
    let (_clock, watch) = watch();
    let a = sandbox("a");
    watch.emit(event(&a, kinds::SANDBOX_REFUSED).denied(None));
    watch.emit(event(&a, "run.something.new").with("tokens_in", 99));
    let frame = frames(&watch, &a)[0];
    let counts = [
        Counter::RefusedConnections,
        Counter::Denials,
        Counter::TokensIn,
        Counter::Events,
    ];
    assert_eq!(counts.map(|c| frame.counter(c)), [1, 1, 0, 2]);
}

#[test]
fn windows_are_kept_up_to_their_number() {
    let (clock, watch) = watch();
    let ann = key("ann");
    for _ in 0..=WINDOWS_KEPT {
        watch.emit(event(&ann, kinds::PII_REDACTED));
        clock.pass_ms(WINDOW_MS);
    }
    assert_eq!(frames(&watch, &ann).len(), WINDOWS_KEPT);
    clock.pass_ms(WINDOW_MS * WINDOWS_KEPT as u64);
    assert_eq!(
        frames(&watch, &ann),
        vec![],
        "too old to say anything about now"
    );
}

#[test]
fn targets_beyond_the_limit_still_count_for_their_project() {
    let (_clock, watch) = watch();
    // One place is taken by the series of the project itself, made right after the first key's.
    for n in 0..TARGETS_MAX {
        watch.emit(event(&key(&format!("k{n}")), kinds::PII_REDACTED));
    }
    assert_eq!(watch.windows().untracked(), 1);
    let all = watch.windows().of(&project("desk"), &Subject::Project)[0];
    assert_eq!(all.counter(Counter::PiiRedactions), TARGETS_MAX as u64);
}

#[test]
fn projects_beyond_the_limit_share_their_totals() {
    let (_clock, watch) = watch();
    for n in 0..=PROJECTS_MAX {
        let mut occurrence = event(&Target::Host, kinds::PII_REDACTED);
        occurrence.project = project(&format!("p{n}"));
        watch.emit(occurrence);
    }
    let totals = watch.windows().totals();
    assert_eq!(totals.len(), PROJECTS_MAX + 1);
    assert_eq!(totals[&None].counter(Counter::PiiRedactions), 1);
}

#[test]
fn numbers_have_no_holes_and_a_flood_of_samples_pushes_no_denial_out() {
    let (_clock, watch) = watch();
    let ann = key("ann");
    watch.emit(event(&ann, kinds::KEY_REFUSED).denied(None));
    for _ in 0..=RECENT_SAMPLES_MAX {
        watch.emit(event(&ann, kinds::REQUEST_FINISHED));
    }
    assert_eq!(watch.samples_dropped(), 1);
    let samples = watch.recent_samples(&project("desk"), usize::MAX);
    assert_eq!(samples.len(), RECENT_SAMPLES_MAX);
    let numbers: Vec<u64> = samples.iter().rev().map(|e| e.seq).collect();
    assert_eq!(
        numbers,
        (2..2 + RECENT_SAMPLES_MAX as u64).collect::<Vec<_>>()
    );
    let kept = watch.recent(&project("desk"), usize::MAX);
    assert_eq!(
        (kept.len(), kept[0].verdict, kept[0].seq),
        (1, EventVerdict::Denied, 0)
    );
    assert_eq!(kept[0].id, "0102030405060708-0");
    for _ in 0..=RECENT_EVENTS_MAX {
        watch.emit(event(&ann, kinds::KEY_REFUSED).denied(None));
    }
    assert_eq!(
        watch.recent(&project("desk"), usize::MAX).len(),
        RECENT_EVENTS_MAX
    );
    assert_eq!(watch.recent(&project("other"), usize::MAX), vec![]);
}

#[test]
fn details_are_bounded() {
    let (_clock, watch) = watch();
    let mut many = event(&key("ann"), kinds::KEY_REFUSED).denied(None);
    for n in 0..=DETAILS_MAX {
        many = many.with(&format!("d{n:03}"), n);
    }
    watch.emit(many);
    assert_eq!(
        watch.recent(&project("desk"), 1)[0].detail.len(),
        DETAILS_MAX
    );
    assert_eq!(watch.details_dropped(), 1);
}
