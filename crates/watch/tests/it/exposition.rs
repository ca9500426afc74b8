//! The metrics text against a strict reader of the format: the rules that `promtool check metrics`
//! enforces, written from the description of the format.

use crate::fixtures::*;
use ringfence_core::event::Target;
use ringfence_core::ports::EventSink;
use ringfence_watch::kinds;
use ringfence_watch::metrics::{CATALOGUE, Kind, Outside, text};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

#[derive(Debug, Default)]
struct Family {
    help: Option<String>,
    kind: Option<String>,
    samples: Vec<Sample>,
}

fn is_name(text: &str, colon: bool) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    text.chars().all(ok) && text.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, tail) = rest.split_once("=\"").ok_or("label without value")?;
        if !is_name(name, false) {
            return Err(format!("label name {name:?}"));
        }
        let mut value = String::new();
        let mut chars = tail.char_indices();
        let end = loop {
            match chars.next().ok_or("unterminated label value")? {
                (_, '\\') => value.push(match chars.next().map(|c| c.1) {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => return Err(format!("escape {other:?}")),
                }),
                (at, '"') => break at,
                (_, c) => value.push(c),
            }
        };
        if found.insert(name.to_owned(), value).is_some() {
            return Err(format!("label {name} twice"));
        }
        rest = &tail[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok(found)
}

fn sample(line: &str) -> Result<Sample, String> {
    let (head, value) = line.rsplit_once(' ').ok_or("sample without value")?;
    let (name, inner) = match head.split_once('{') {
        Some((name, tail)) => (name, tail.strip_suffix('}').ok_or("unterminated labels")?),
        None => (head, ""),
    };
    if !is_name(name, true) {
        return Err(format!("metric name {name:?}"));
    }
    let value = value.parse().map_err(|_| format!("value {value:?}"))?;
    Ok(Sample {
        name: name.to_owned(),
        labels: labels(inner)?,
        value,
    })
}

/// Reads the whole text, or says what a scraper would refuse.
fn read(text: &str) -> Result<BTreeMap<String, Family>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("HELP without text")?;
            if families.contains_key(name) {
                return Err(format!("{name} twice"));
            }
            name.clone_into(&mut current);
            families.entry(current.clone()).or_default().help = Some(help.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("TYPE without kind")?;
            let family = families
                .get_mut(name)
                .filter(|f| f.kind.is_none() && f.samples.is_empty());
            family.ok_or(format!("TYPE of {name} late or twice"))?.kind = Some(kind.to_owned());
        } else {
            let sample = sample(line)?;
            let family = families.get_mut(&current).ok_or("sample before HELP")?;
            let kind = family.kind.as_deref().ok_or("sample before TYPE")?;
            let suffix = sample
                .name
                .strip_prefix(&current)
                .ok_or("sample of another family")?;
            let fits = match kind {
                "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
                _ => suffix.is_empty(),
            };
            if !fits {
                return Err(format!("{} in a {kind}", sample.name));
            }
            family.samples.push(sample);
        }
    }
    families.values().try_for_each(check)?;
    Ok(families)
}

fn check(family: &Family) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for s in &family.samples {
        if !seen.insert((s.name.clone(), s.labels.clone())) {
            return Err(format!("{} {:?} twice", s.name, s.labels));
        }
        if family.kind.as_deref() != Some("gauge") && s.value < 0.0 {
            return Err(format!("{} is negative", s.name));
        }
    }
    if family.kind.as_deref() == Some("histogram") {
        check_histogram(family)
    } else {
        Ok(())
    }
}

fn check_histogram(family: &Family) -> Result<(), String> {
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for s in &family.samples {
        let mut labels = s.labels.clone();
        if s.name.ends_with("_bucket") {
            let le = labels.remove("le").ok_or("bucket without le")?;
            let bound = le.parse().map_err(|_| format!("le {le:?}"))?;
            groups.entry(labels).or_default().push((bound, s.value));
        } else if s.name.ends_with("_count") {
            counts.insert(labels, s.value);
        }
    }
    for (labels, buckets) in groups {
        if !buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
            return Err(format!("buckets of {labels:?} do not grow"));
        }
        let (bound, total) = *buckets.last().ok_or("no buckets")?;
        if bound.is_finite() || counts.get(&labels) != Some(&total) {
            return Err(format!("+Inf of {labels:?} is missing or not the count"));
        }
    }
    Ok(())
}

fn busy() -> String {
    let (_clock, watch) = watch();
    for (n, status) in [(1_u64, 200), (80, 200), (120_000, 502)] {
        let done = event(&key("ann"), kinds::REQUEST_FINISHED);
        watch.emit(done.with("latency_ms", n).with("status", status));
    }
    let stats = event(&sandbox("s"), kinds::SANDBOX_STATS);
    watch.emit(
        stats
            .with("cpu_us", 1_250_000)
            .with("memory_bytes", 4_096)
            .with("processes", 3),
    );
    let mut other = event(&Target::Host, "run.other.thing");
    other.project = project("other");
    watch.emit(other);
    watch.breakers().freeze(&key("bad"));
    let outside = Outside {
        cases_open: vec![(project("desk"), 4)],
        messages_dead: vec![(project("desk"), 0)],
        leaves: Some(17),
    };
    text(&watch, &outside)
}

#[test]
fn a_scraper_accepts_the_text_and_reads_the_numbers() {
    let families = read(&busy()).unwrap();
    let value = |name: &str, label: Option<(&str, &str)>| {
        let family = families
            .values()
            .find(|f| f.samples.iter().any(|s| s.name == name))
            .unwrap();
        let fits = |s: &&Sample| {
            s.name == name && label.is_none_or(|(k, v)| s.labels.get(k).is_some_and(|l| l == v))
        };
        family.samples.iter().find(fits).unwrap().value.to_string()
    };
    let desk = Some(("project", "desk"));
    assert_eq!(value("ringfence_run_requests_total", desk), "3");
    assert_eq!(value("ringfence_run_request_errors_total", desk), "1");
    assert_eq!(
        value("ringfence_run_request_duration_seconds_count", desk),
        "3"
    );
    assert_eq!(
        value("ringfence_run_request_duration_seconds_sum", desk),
        "120.081"
    );
    assert_eq!(
        value(
            "ringfence_run_request_duration_seconds_bucket",
            Some(("le", "0.100"))
        ),
        "2"
    );
    assert_eq!(
        value("ringfence_run_sandbox_cpu_seconds_total", desk),
        "1.25"
    );
    assert_eq!(value("ringfence_run_sandbox_memory_bytes", desk), "4096");
    assert_eq!(
        value("ringfence_watch_breakers", Some(("state", "frozen"))),
        "1"
    );
    assert_eq!(
        value("ringfence_watch_events_total", Some(("project", "other"))),
        "1"
    );
    assert_eq!(value("ringfence_respond_cases_open", desk), "4");
    assert_eq!(value("ringfence_record_leaves", None), "17");
}

#[test]
fn the_catalogue_is_the_text() {
    let families = read(&busy()).unwrap();
    assert_eq!(families.len(), CATALOGUE.len());
    for metric in CATALOGUE {
        let family = &families[metric.name];
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(family.kind.as_deref(), Some(kind));
        assert_eq!(family.help.as_deref(), Some(metric.help));
        for sample in &family.samples {
            let names: Vec<_> = sample.labels.keys().filter(|l| *l != "le").collect();
            assert_eq!(
                names,
                metric.labels.iter().collect::<Vec<_>>(),
                "{}",
                metric.name
            );
        }
    }
}

#[test]
fn the_reader_refuses_what_a_scraper_would() {
    let head = "# HELP m Help.\n# TYPE m counter\n";
    for bad in [
        "m 1\n",
        "# HELP m Help.\nm 1\n",
        "# HELP m Help.\n# TYPE m counter\nm 1",
        "# HELP m Help.\n# TYPE m counter\nm 1\nm 2\n",
        "# HELP m Help.\n# TYPE m counter\nm{l=\"a\\x\"} 1\n",
        "# HELP m Help.\n# TYPE m counter\nm{0l=\"a\"} 1\n",
        "# HELP m Help.\n# TYPE m counter\n9m 1\n",
        "# HELP m Help.\n# TYPE m counter\nm -1\n",
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n",
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 1\n",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert!(read(&format!("{head}m{{l=\"a\\\\\"}} 1\n")).is_ok());
}
