//! `redact`: a copy of a dataset without personal data and secrets, and a report of what was in
//! it.
//!
//! The copy grows beside its final name and takes it only when it is whole. Beside it stands a
//! cursor; after a stop of any kind the same command goes on from there.

use crate::cli::RedactArgs;
use crate::render::Format as Shown;
use crate::render::table::neutral;
use crate::{INCOMPLETE, Outcome, PASS};
use ringfence_core::detection::Label;
use ringfence_core::digest::hex;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::json::canonical;
use ringfence_crypto::hash::{digest_of, sha256};
use ringfence_crypto::hmac::HmacKey;
use ringfence_detect::pii::custom::CustomConfig;
use ringfence_detect::redact::Operator;
use ringfence_inspect::dataset::{
    Checkpoint, Format, Hashes, Job, Plan, PlanConfig, Progress, Report, SharedDigest, run as copy,
};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{
    BufRead as _, BufReader, BufWriter, IsTerminal as _, Read, Seek as _, SeekFrom, Write,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets between two cursors, and two lines of progress.
const KEEP_BYTES: u64 = 64 << 20;

fn failed(what: impl Into<String>, help: &str) -> Explained {
    Explained::new(ErrorCode("cli/redact"), what, help)
}

/// What a cursor file says: how far, with which settings.
#[derive(Serialize, Deserialize)]
struct Cursor {
    settings: String,
    checkpoint: Checkpoint,
}

/// Runs the command.
pub(crate) fn run(args: &RedactArgs, shown: Shown) -> Outcome {
    let format = format(args)?;
    let (plan, settings) = plan(args)?;
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let report = match (args.input.as_str(), args.out.as_str()) {
        ("-", "-") => {
            let mut output = std::io::stdout().lock();
            copy(
                Job::new(&plan, format, threads),
                std::io::stdin(),
                &mut output,
                &mut |_, _| Ok(()),
            )
        }
        (input, "-") => {
            let mut output = std::io::stdout().lock();
            copy(
                Job::new(&plan, format, threads),
                open(input)?,
                &mut output,
                &mut |_, _| Ok(()),
            )
        }
        _ => {
            return to_file(args, &plan, (format, threads), &settings)
                .and_then(|report| finish(&report, args, shown));
        }
    };
    finish(&report.map_err(|e| Explained::of(&e))?, args, shown)
}

fn open(path: &str) -> Result<File, Explained> {
    File::open(path).map_err(|e| {
        failed(
            format!("{path} cannot be opened"),
            "name an existing file, or - for standard input",
        )
        .because(e)
    })
}

fn format(args: &RedactArgs) -> Result<Format, Explained> {
    let delimiter = match args.delimiter.as_deref() {
        None => b',',
        Some("tab" | "\\t") => b'\t',
        Some(text) => match text.as_bytes() {
            [one] => *one,
            _ => {
                return Err(failed(
                    "a delimiter is one ASCII character",
                    "for example --delimiter ';' or --delimiter tab",
                ));
            }
        },
    };
    let name = args.format.clone().or_else(|| {
        let path = if args.input == "-" {
            &args.out
        } else {
            &args.input
        };
        Path::new(path)
            .extension()
            .map(|e| e.to_string_lossy().into_owned())
    });
    match name.as_deref() {
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Jsonl),
        Some("csv") => Ok(Format::Csv(delimiter)),
        Some("tsv") => Ok(Format::Csv(b'\t')),
        Some("text" | "txt" | "md" | "log") => Ok(Format::Text),
        _ => Err(failed(
            "the format of the dataset is not known",
            "say --format jsonl, csv or text",
        )),
    }
}

fn operator(name: &str) -> Result<Operator, Explained> {
    Ok(match name {
        "redact" => Operator::Redact,
        "mask" => Operator::Mask,
        "hash" => Operator::Hash,
        "pseudonym" => Operator::Pseudonym,
        _ => {
            return Err(failed(
                "there is no such operator",
                "use redact, mask, hash or pseudonym",
            ));
        }
    })
}

/// A type by the name that reports and markers use.
fn label(name: &str) -> Result<Label, Explained> {
    let long = match name {
        "card" => "payment_card".to_owned(),
        "ip" => "ip_address".to_owned(),
        "mac" => "mac_address".to_owned(),
        "crypto" => "crypto_address".to_owned(),
        other => other.replace('-', "_"),
    };
    serde_json::from_value(long.into()).map_err(|e| {
        failed(
            format!("there is no type {}", neutral(name)),
            "for example --types email,phone,person",
        )
        .because(e)
    })
}

/// The plan, and a digest of everything that decides what it finds.
fn plan(args: &RedactArgs) -> Result<(Plan, String), Explained> {
    let mut config = PlanConfig {
        instructions: !args.no_instructions,
        identifying: args.k_anonymity.clone(),
        ..PlanConfig::default()
    };
    config.operator = operator(&args.operator)?;
    config.labels = args
        .types
        .iter()
        .map(|name| label(name))
        .collect::<Result<_, _>>()?;
    let mut own = String::new();
    if let Some(path) = &args.recognisers {
        own = std::fs::read_to_string(path).map_err(|e| {
            failed(
                format!("{} cannot be read", path.display()),
                "name a TOML file with [[recogniser]] tables",
            )
            .because(e)
        })?;
        config.custom =
            CustomConfig::parse(&path.to_string_lossy(), &own).map_err(|e| Explained::of(&e))?;
    }
    let (digest, key): (SharedDigest, String) = match (&args.key_file, config.operator) {
        (Some(path), Operator::Pseudonym) => {
            let bytes = std::fs::read(path).map_err(|e| {
                failed(
                    format!("{} cannot be read", path.display()),
                    "make a key: head -c 32 /dev/urandom > key",
                )
                .because(e)
            })?;
            let key = HmacKey::from_bytes(&bytes).map_err(|e| Explained::of(&e))?;
            let id = hex(&key.sign(b"ringfence redact key id"));
            (Arc::new(move |value: &[u8]| key.sign(value)), id)
        }
        (None, Operator::Pseudonym) => {
            return Err(failed(
                "a pseudonym needs a key",
                "make one with head -c 32 /dev/urandom > key, then --key-file key",
            ));
        }
        _ => (Arc::new(sha256), String::new()),
    };
    let settings = format!(
        "{:?}|{:?}|{}|{:?}|{own}|{key}|{}|{:?}|{:?}",
        config.operator,
        config.labels,
        config.instructions,
        config.identifying,
        env!("CARGO_PKG_VERSION"),
        args.format,
        args.delimiter,
    );
    let plan = Plan::new(&config, digest).map_err(|e| Explained::of(&e))?;
    Ok((plan, hex(&sha256(settings.as_bytes()))))
}

/// `name` with a further ending.
fn beside(path: &str, ending: &str) -> PathBuf {
    PathBuf::from(format!("{path}.{ending}"))
}

/// Where the copy and its cursor grow.
struct Places {
    part: PathBuf,
    cursor: PathBuf,
}

impl Places {
    fn of(output: &str) -> Self {
        Self {
            part: beside(output, "part"),
            cursor: beside(output, "cursor"),
        }
    }

    fn unwritten(&self, error: std::io::Error) -> Explained {
        failed(
            format!("{} cannot be written", self.part.display()),
            "look at the folder and its free space",
        )
        .because(error)
    }
}

/// Both sides, at the place where an earlier run stopped or at their beginning.
struct Start {
    source: Box<dyn Read + Send>,
    file: File,
    from: Checkpoint,
    hashes: Hashes,
}

fn start(args: &RedactArgs, places: &Places, settings: &str) -> Result<Start, Explained> {
    let (input, output) = (args.input.as_str(), args.out.as_str());
    if input != "-"
        && Path::new(output).exists()
        && Path::new(input).canonicalize().ok() == Path::new(output).canonicalize().ok()
    {
        return Err(failed(
            "the copy would replace what it is made from",
            "name another --out",
        ));
    }
    let known = if args.restart || input == "-" {
        None
    } else {
        noted(&places.cursor, settings)?
    };
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(known.is_none())
        .open(&places.part)
        .map_err(|e| places.unwritten(e))?;
    let from = known.unwrap_or_default();
    let mut hashes = Hashes::default();
    let source: Box<dyn Read + Send> = if input == "-" {
        Box::new(std::io::stdin())
    } else {
        let mut source = open(input)?;
        if from.bytes_in > 0 {
            eprintln!("going on at octet {} of {input}", from.bytes_in);
            verify(
                &mut source,
                from.bytes_in,
                &from.input,
                &mut hashes.input,
                input,
            )?;
            file.set_len(from.bytes_out)
                .map_err(|e| places.unwritten(e))?;
            verify(
                &mut file,
                from.bytes_out,
                &from.output,
                &mut hashes.output,
                output,
            )?;
            file.seek(SeekFrom::End(0))
                .map_err(|e| places.unwritten(e))?;
        }
        Box::new(source)
    };
    Ok(Start {
        source,
        file,
        from,
        hashes,
    })
}

fn to_file(
    args: &RedactArgs,
    plan: &Plan,
    (format, threads): (Format, usize),
    settings: &str,
) -> Result<Report, Explained> {
    let places = Places::of(&args.out);
    let Start {
        source,
        file,
        from,
        hashes,
    } = start(args, &places, settings)?;
    let mut kept = from.bytes_in;
    let show = std::io::stderr().is_terminal();
    let mut keep = |out: &mut BufWriter<File>, progress: Progress<'_>| {
        let now = progress.checkpoint;
        if now.bytes_in - kept < KEEP_BYTES {
            return Ok(());
        }
        kept = now.bytes_in;
        if show {
            eprint!("\r{} MB", now.bytes_in / 1_000_000);
        }
        out.flush()?;
        out.get_ref().sync_data()?;
        let note = Cursor {
            settings: settings.to_owned(),
            checkpoint: now.clone(),
        };
        replace(&places.cursor, &serde_json::to_vec(&note)?)
    };
    let mut out = BufWriter::new(file);
    let job = Job {
        from,
        hashes,
        ..Job::new(plan, format, threads)
    };
    let report = copy(job, source, &mut out, &mut keep).map_err(|e| Explained::of(&e))?;
    out.get_ref().sync_all().map_err(|e| places.unwritten(e))?;
    std::fs::rename(&places.part, &args.out).map_err(|e| places.unwritten(e))?;
    match std::fs::remove_file(&places.cursor) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(places.unwritten(e)),
        _ => {}
    }
    if show {
        eprint!("\r{:40}\r", "");
    }
    Ok(report)
}

/// What an earlier run left, if it had the same settings.
fn noted(cursor: &Path, settings: &str) -> Result<Option<Checkpoint>, Explained> {
    let bytes = match std::fs::read(cursor) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(failed(
                format!("{} cannot be read", cursor.display()),
                "mend it, or begin again with --restart",
            )
            .because(e));
        }
    };
    let other = || {
        failed(
            "an earlier run with other settings was not finished",
            "run it with its settings, or begin again with --restart",
        )
    };
    let note: Cursor = serde_json::from_slice(&bytes).map_err(|e| other().because(e))?;
    if note.settings == settings {
        Ok(Some(note.checkpoint))
    } else {
        Err(other())
    }
}

/// Feeds the first `length` octets to a hash, and refuses when they are not what they were.
fn verify(
    source: &mut File,
    length: u64,
    expected: &str,
    hash: &mut ringfence_crypto::hash::Sha256,
    name: &str,
) -> Result<(), Explained> {
    let changed = || {
        failed(
            format!("{name} is not what it was when the earlier run stopped"),
            "begin again with --restart",
        )
    };
    let mut reader = BufReader::with_capacity(1 << 20, Read::take(Read::by_ref(source), length));
    loop {
        let chunk = reader.fill_buf().map_err(|e| changed().because(e))?;
        if chunk.is_empty() {
            break;
        }
        hash.update(chunk);
        let length = chunk.len();
        reader.consume(length);
    }
    if hex(&hash.clone().finish()) == expected {
        Ok(())
    } else {
        Err(changed())
    }
}

/// Replaces a small file whole.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension("cursor-new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

/// Writes and shows the report. Its digest is what training asks for.
fn finish(report: &Report, args: &RedactArgs, shown: Shown) -> Outcome {
    let value =
        serde_json::to_value(report).map_err(|e| failed("no report", "report it").because(e))?;
    let bytes = canonical(&value).map_err(|e| failed("no report", "report it").because(e))?;
    let digest = digest_of(&bytes).to_string();
    if let Some(path) = &args.report {
        replace(path, &bytes).map_err(|e| {
            failed(
                format!("{} cannot be written", path.display()),
                "look at the folder and its free space",
            )
            .because(e)
        })?;
    }
    // The copy itself may be on standard output.
    let mut out: Box<dyn Write> = if args.out == "-" {
        Box::new(std::io::stderr().lock())
    } else {
        Box::new(std::io::stdout().lock())
    };
    let written = if shown == Shown::Json {
        writeln!(
            out,
            "{}",
            serde_json::json!({"digest": digest, "report": value})
        )
    } else {
        table(&mut out, report, &digest)
    };
    written
        .map_err(|e| failed("the report cannot be shown", "look at standard output").because(e))?;
    Ok(if report.complete() { PASS } else { INCOMPLETE })
}

fn table(out: &mut dyn Write, report: &Report, digest: &str) -> std::io::Result<()> {
    writeln!(
        out,
        "{} records, {} octets in, {} octets out",
        report.records, report.bytes_in, report.bytes_out
    )?;
    for (label, fields) in &report.found {
        for (field, count) in fields {
            writeln!(out, "{count:>9}  {label:<18} {}", neutral(field))?;
        }
    }
    for (label, fields) in &report.planted {
        for (field, count) in fields {
            writeln!(
                out,
                "{count:>9}  {label:<18} {} (planted instruction, not cut)",
                neutral(field)
            )?;
        }
    }
    for sample in &report.samples {
        writeln!(
            out,
            "   sample  {:<18} {}",
            sample.label,
            neutral(&sample.masked)
        )?;
    }
    if let Some(k) = &report.k_anonymity {
        writeln!(
            out,
            "k-anonymity {} over {}: {} combinations, {} of one row",
            k.k,
            neutral(&k.fields.join(", ")),
            k.combinations,
            k.unique
        )?;
    } else if report.k_anonymity_over_limit {
        writeln!(
            out,
            "k-anonymity: more combinations than are counted; none is claimed"
        )?;
    }
    for refused in &report.refused_records {
        writeln!(
            out,
            "  refused  record {}: {}",
            refused.record, refused.reason
        )?;
    }
    if report.refused > 0 {
        writeln!(
            out,
            "INCOMPLETE: {} records are not in the copy",
            report.refused
        )?;
    }
    writeln!(out, "report {digest}")
}
