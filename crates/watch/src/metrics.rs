//! `/metrics`: the text format of Prometheus, version 0.0.4.
//!
//! Every metric stands in [`CATALOGUE`], from which its `HELP` and `TYPE` lines and the page in
//! the documentation are made; what is not in the catalogue cannot be written. The only labels are
//! the project, bounded in number, and the state of breakers: a key or a sandbox as a label would
//! let whoever makes them fill the memory of every scraper.

use crate::histogram::Histogram;
use crate::sink::{Watch, state_name};
use crate::windows::{Counter, Frame, Gauge};
use ringfence_core::ids::ProjectId;
use std::fmt::Write as _;

/// The value of the `Content-Type` header.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

const REQUESTS: Metric = metric(
    "ringfence_run_requests_total",
    Kind::Counter,
    &["project"],
    "Requests that ended.",
);
const ERRORS: Metric = metric(
    "ringfence_run_request_errors_total",
    Kind::Counter,
    &["project"],
    "Requests that ended with a status of 500 or more.",
);
const LATENCY: Metric = metric(
    "ringfence_run_request_duration_seconds",
    Kind::Histogram,
    &["project"],
    "How long requests took, from the first octet in to the last octet out.",
);
const TOKENS_IN: Metric = metric(
    "ringfence_run_tokens_in_total",
    Kind::Counter,
    &["project"],
    "Tokens read by models.",
);
const TOKENS_OUT: Metric = metric(
    "ringfence_run_tokens_out_total",
    Kind::Counter,
    &["project"],
    "Tokens written by models.",
);
const SHIELD: Metric = metric(
    "ringfence_run_shield_hits_total",
    Kind::Counter,
    &["project"],
    "Hits of the prompt shield.",
);
const PII: Metric = metric(
    "ringfence_run_pii_redactions_total",
    Kind::Counter,
    &["project"],
    "Pieces of personal data replaced.",
);
const DENIALS: Metric = metric(
    "ringfence_run_denials_total",
    Kind::Counter,
    &["project"],
    "Whatever a control refused.",
);
const REFUSED: Metric = metric(
    "ringfence_run_sandbox_refused_connections_total",
    Kind::Counter,
    &["project"],
    "Connections out of sandboxes that were refused.",
);
const CPU: Metric = metric(
    "ringfence_run_sandbox_cpu_seconds_total",
    Kind::Counter,
    &["project"],
    "Processor time of sandboxes.",
);
const OOM: Metric = metric(
    "ringfence_run_sandbox_oom_kills_total",
    Kind::Counter,
    &["project"],
    "Processes killed by the memory limit of their sandbox.",
);
const FORKS: Metric = metric(
    "ringfence_run_sandbox_fork_denials_total",
    Kind::Counter,
    &["project"],
    "Forks refused by the process limit of their sandbox.",
);
const MEMORY: Metric = metric(
    "ringfence_run_sandbox_memory_bytes",
    Kind::Gauge,
    &["project"],
    "Memory of sandboxes, as last reported.",
);
const PROCESSES: Metric = metric(
    "ringfence_run_sandbox_processes",
    Kind::Gauge,
    &["project"],
    "Processes and threads in sandboxes, as last reported.",
);
const EVENTS: Metric = metric(
    "ringfence_watch_events_total",
    Kind::Counter,
    &["project"],
    "Events of any kind.",
);
const BREAKERS: Metric = metric(
    "ringfence_watch_breakers",
    Kind::Gauge,
    &["state"],
    "Keys and sandboxes whose breaker is in this state.",
);
const UNREPORTED: Metric = metric(
    "ringfence_watch_trips_unreported_total",
    Kind::Counter,
    &[],
    "Trips that acted but were too many to be reported one by one.",
);
const SHARED: Metric = metric(
    "ringfence_watch_breakers_shared_total",
    Kind::Counter,
    &[],
    "Times a target beyond the limit had to share the common breaker.",
);
const DROPPED: Metric = metric(
    "ringfence_watch_samples_dropped_total",
    Kind::Counter,
    &[],
    "Samples that younger ones pushed out of the recent ones.",
);
const UNTRACKED: Metric = metric(
    "ringfence_watch_events_untracked_total",
    Kind::Counter,
    &[],
    "Events of targets beyond the limit, counted for their project only.",
);
const CASES: Metric = metric(
    "ringfence_respond_cases_open",
    Kind::Gauge,
    &["project"],
    "Cases that are neither closed nor rejected.",
);
const DEAD: Metric = metric(
    "ringfence_respond_messages_dead",
    Kind::Gauge,
    &["project"],
    "Alert messages that were given up after the last attempt.",
);
const LEAVES: Metric = metric(
    "ringfence_record_leaves",
    Kind::Gauge,
    &[],
    "Leaves in the log.",
);

/// Every metric of the service, in the order of the text.
pub const CATALOGUE: &[Metric] = &[
    REQUESTS, ERRORS, LATENCY, TOKENS_IN, TOKENS_OUT, SHIELD, PII, DENIALS, REFUSED, CPU, OOM,
    FORKS, MEMORY, PROCESSES, EVENTS, BREAKERS, UNREPORTED, SHARED, DROPPED, UNTRACKED, CASES,
    DEAD, LEAVES,
];

/// What other stages know; handed in by who wires them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Open cases of each project.
    pub cases_open: Vec<(ProjectId, u64)>,
    /// Messages given up, of each project.
    pub messages_dead: Vec<(ProjectId, u64)>,
    /// Leaves in the log, if the recorder answers.
    pub leaves: Option<u64>,
}

/// The whole text.
pub fn text(watch: &Watch, outside: &Outside) -> String {
    let totals = watch.windows().totals();
    let gauges = watch.windows().gauges_now();
    let mut out = String::new();
    for metric in CATALOGUE {
        head(&mut out, metric);
        if let Some(counter) = counter_of(metric) {
            for (project, frame) in &totals {
                sample(
                    &mut out,
                    metric.name,
                    &[("project", label(project.as_ref()))],
                    &number(metric, counter, frame),
                );
            }
        } else if *metric == LATENCY {
            for (project, frame) in &totals {
                histogram(
                    &mut out,
                    metric.name,
                    label(project.as_ref()),
                    &frame.latency,
                );
            }
        } else if *metric == MEMORY || *metric == PROCESSES {
            let gauge = if *metric == MEMORY {
                Gauge::MemoryBytes
            } else {
                Gauge::Processes
            };
            for (project, values) in &gauges {
                let value = values.get(gauge as usize).copied().unwrap_or_default();
                sample(
                    &mut out,
                    metric.name,
                    &[("project", project.as_str())],
                    &value.to_string(),
                );
            }
        } else if *metric == BREAKERS {
            for (state, count) in watch.breakers().census() {
                sample(
                    &mut out,
                    metric.name,
                    &[("state", state_name(state))],
                    &count.to_string(),
                );
            }
        } else if *metric == CASES || *metric == DEAD {
            let rows = if *metric == CASES {
                &outside.cases_open
            } else {
                &outside.messages_dead
            };
            for (project, count) in rows {
                sample(
                    &mut out,
                    metric.name,
                    &[("project", project.as_str())],
                    &count.to_string(),
                );
            }
        } else if let Some(value) = single(watch, outside, metric) {
            sample(&mut out, metric.name, &[], &value.to_string());
        }
    }
    out
}

fn single(watch: &Watch, outside: &Outside, metric: &Metric) -> Option<u64> {
    match *metric {
        UNREPORTED => Some(watch.breakers().unreported()),
        SHARED => Some(watch.breakers().overflowed()),
        DROPPED => Some(watch.samples_dropped()),
        UNTRACKED => Some(watch.windows().untracked()),
        LEAVES => outside.leaves,
        _ => None,
    }
}

fn counter_of(metric: &Metric) -> Option<Counter> {
    Some(match *metric {
        REQUESTS => Counter::Requests,
        ERRORS => Counter::Errors,
        TOKENS_IN => Counter::TokensIn,
        TOKENS_OUT => Counter::TokensOut,
        SHIELD => Counter::ShieldHits,
        PII => Counter::PiiRedactions,
        DENIALS => Counter::Denials,
        REFUSED => Counter::RefusedConnections,
        CPU => Counter::CpuUs,
        OOM => Counter::OomKills,
        FORKS => Counter::ForkDenials,
        EVENTS => Counter::Events,
        _ => return None,
    })
}

/// Processor time is counted in microseconds and shown in seconds, the base unit of the format.
fn number(metric: &Metric, counter: Counter, frame: &Frame) -> String {
    let value = frame.counter(counter);
    if *metric == CPU {
        return format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
    }
    value.to_string()
}

/// `(other)` cannot be a project id, so it never collides with one.
fn label(project: Option<&ProjectId>) -> &str {
    project.map_or("(other)", ProjectId::as_str)
}

fn head(out: &mut String, metric: &Metric) {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
    line(out, format_args!("# HELP {} {help}", metric.name));
    line(out, format_args!("# TYPE {} {kind}", metric.name));
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

fn histogram(out: &mut String, name: &str, project: &str, h: &Histogram) {
    let bucket = format!("{name}_bucket");
    for (bound, count) in h.cumulative() {
        let le = seconds(bound);
        sample(
            out,
            &bucket,
            &[("project", project), ("le", &le)],
            &count.to_string(),
        );
    }
    sample(
        out,
        &bucket,
        &[("project", project), ("le", "+Inf")],
        &h.count().to_string(),
    );
    sample(
        out,
        &format!("{name}_sum"),
        &[("project", project)],
        &seconds(h.sum_ms()),
    );
    sample(
        out,
        &format!("{name}_count"),
        &[("project", project)],
        &h.count().to_string(),
    );
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: &str) {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    if labels.is_empty() {
        line(out, format_args!("{name} {value}"));
    } else {
        line(out, format_args!("{name}{{{}}} {value}", labels.join(",")));
    }
}

/// A label value: backslash, quote and line feed are escaped, as the format demands.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    if out.write_fmt(text).is_ok() {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_cannot_break_out_of_their_quotes() {
        let mut out = String::new();
        sample(&mut out, "m", &[("l", "a\"} 1\nevil \\")], "2");
        assert_eq!(out, "m{l=\"a\\\"} 1\\nevil \\\\\"} 2\n");
    }

    #[test]
    fn names_say_their_kind_and_stage() {
        for metric in CATALOGUE {
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            let stage = metric
                .name
                .strip_prefix("ringfence_")
                .and_then(|n| n.split('_').next());
            assert!(
                matches!(stage, Some("run" | "watch" | "respond" | "record")),
                "{stage:?}"
            );
        }
    }
}
