//! `log verify` and `log fsck`: what is checked, and what that shows.

use super::web::Web;
use crate::cli::VerifyArgs;
use crate::render::{self, Format};
use crate::{Outcome, PASS};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::leaf::Leaf;
use ringfence_crypto::note::NoteKey;
use ringfence_record::RecordError;
use ringfence_record::proof::{self, Proof, Proved};
use ringfence_record::receipt::{self, ReceiptFile};
use ringfence_record::verify::{Demands, VerifyReport, fsck_dir, verify_dir, verify_public};
use ringfence_server::service::leaves::IndexedLeaf;
use std::path::Path;

/// LIMIT: octets of a file named on the command line.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// `log verify`.
pub(super) fn verify(arguments: &VerifyArgs, own: &Path, format: Format) -> Outcome {
    let vkeys = arguments
        .vkeys
        .iter()
        .map(|text| text.parse().map_err(|e| Explained::of(&e)))
        .collect::<Result<Vec<NoteKey>, Explained>>()?;
    if let (Some(proof), Some(leaf)) = (&arguments.proof, &arguments.leaf) {
        return one(&text(proof)?, &text(leaf)?, &vkeys, format);
    }
    let since = arguments.since.as_deref().map(text).transpose()?;
    let demands = Demands { vkeys, since };
    let report = match arguments.from.as_deref() {
        Some(from) if from.starts_with("http://") || from.starts_with("https://") => {
            verify_public(&Web::of(from)?, &demands)
        }
        Some(folder) => verify_dir(Path::new(folder), &demands),
        None => verify_dir(own, &demands),
    };
    show(&report.map_err(|e| Explained::of(&e))?, format)
}

/// `log fsck`.
pub(super) fn fsck(own: &Path, format: Format) -> Outcome {
    let report = fsck_dir(own).map_err(|e| Explained::of(&e))?;
    if !report.fsck {
        return Err(Explained::new(
            ErrorCode("cli/not-a-log"),
            format!("{} has no write-ahead log", own.display()),
            "check a copy with `ringfence log verify DIR`",
        ));
    }
    show(&report, format)
}

fn show(report: &VerifyReport, format: Format) -> Outcome {
    if format == Format::Json {
        render::json(report)?;
        return Ok(PASS);
    }
    println!(
        "the log verifies: {} leaves, root {}",
        report.size, report.root
    );
    println!(
        "checkpoint: {} leaves, root {}; {} request numbers unaccounted for",
        report.checkpoint_size, report.checkpoint_root, report.unaccounted
    );
    println!(
        "compared: {} files, {} octets{}",
        report.files,
        report.octets,
        if report.fsck {
            "; write-ahead log and high-water mark agree"
        } else {
            ""
        }
    );
    if let Some(seen) = &report.payloads {
        println!(
            "sealed payloads: {} sound, {} erased, {} erased whose files are left, {} that no leaf \
             names",
            seen.sound, seen.erased, seen.left, seen.unrecorded
        );
    }
    if let Some(size) = report.since {
        println!("it extends the checkpoint kept elsewhere, of {size} leaves");
    }
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    Ok(PASS)
}

/// One proof or receipt.
fn one(promise: &str, leaf: &str, keys: &[NoteKey], format: Format) -> Outcome {
    let leaf = &octets(leaf)?;
    let (what, proved) = match promise.parse::<ReceiptFile>() {
        Ok(receipt) => ("receipt", receipt::verify(&receipt, leaf, keys)),
        Err(_) => (
            "proof",
            promise
                .parse::<Proof>()
                .and_then(|proof| proof::verify(&proof, leaf, keys)),
        ),
    };
    let proved: Proved = proved.map_err(|e| Explained::of(&e))?;
    if format == Format::Json {
        render::json(&proved)?;
    } else {
        println!(
            "the {what} verifies: leaf {} of the log {}, {} leaves",
            proved.index, proved.origin, proved.size
        );
    }
    Ok(PASS)
}

/// The octets of a leaf that a person copied out of `log show --json`, by itself or with its index.
fn octets(text: &str) -> Result<Vec<u8>, Explained> {
    let indexed = serde_json::from_str::<IndexedLeaf>(text).map(|i| i.leaf);
    let leaf = indexed.or_else(|_| serde_json::from_str::<Leaf>(text));
    let leaf = leaf.map_err(|e| {
        Explained::new(
            ErrorCode("cli/input"),
            "the file holds no leaf",
            "copy one entry out of `ringfence log show --json`",
        )
        .because(e)
    })?;
    leaf.canonical()
        .map_err(|e| Explained::of(&RecordError::from(e)))
}

fn text(path: &Path) -> Result<String, Explained> {
    let unreadable = || {
        Explained::new(
            ErrorCode("cli/input"),
            format!("{} cannot be read", path.display()),
            "name a text file of at most 1 MiB",
        )
    };
    let length = std::fs::metadata(path)
        .map_err(|e| unreadable().because(e))?
        .len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable());
    }
    std::fs::read_to_string(path).map_err(|e| unreadable().because(e))
}
