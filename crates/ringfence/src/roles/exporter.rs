//! The exporter: brings the log to write-once storage. It faces the network, so it is not root, and
//! of all files it can read only those of the log that the world may see.
//!
//! Started by root it becomes the recorder's user, who owns the log; the keys beside the log, the
//! payloads and the state are out of its reach by Landlock, without which it refuses to start. What
//! it is told to read, the configuration and the credentials, it opens as that user, before it
//! confines itself: a configuration cannot have root open a file.
//!
//! INVARIANT: nothing comes in from the network before [`confine`].

use super::{RoleResult, misplaced, value};
use crate::{PASS, house};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::Strictness;
use ringfence_core::secret::Secret;
use ringfence_net::https::ROOTS_BYTES_MAX;
use ringfence_record::verify::vkeys_of;
use ringfence_record::worm::{
    self, CREDENTIALS_BYTES_MAX, Directory, Exporter, LockedBucket, Report, WormConfig, WormError,
};
use ringfence_server::config::{self, CONFIG_BYTES_MAX};
use ringfence_server::service::exports::Export;
use ringfence_sys::clock::SystemClock;
use ringfence_sys::confine::{Confinement, NetworkRule, Place, apply};
use ringfence_sys::process::{drop_to, is_root, set_not_dumpable};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What it is told: the state directory, and the folder of the configuration.
pub(crate) const WORDS: [&str; 2] = ["--state", "--folder"];
/// LIMIT: runs for one order. A run ends within minutes, this within hours; the rest is for the next.
const RUNS_MAX: u32 = 64;
/// What the resolver of the C library reads.
const RESOLVER: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/lib",
    "/usr/lib",
    "/run/systemd/resolve",
];

/// What it says on its output, once.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// It began, and ended well or not.
    Exported(Export),
    /// It did not begin.
    Refused(Explained),
}

/// Exports, says what came of it, and ends.
pub(super) fn run(rest: Vec<OsString>) -> RoleResult {
    let words: Vec<String> = rest
        .into_iter()
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    let [state, folder] = WORDS.map(|name| value(&words, name).map(PathBuf::from));
    let (state, folder) = state.zip(folder).ok_or_else(misplaced)?;
    let told = match prepare(&state, &folder) {
        Ok(exporter) => Told::Exported(export(&exporter)?),
        Err(error) => Told::Refused(error),
    };
    let text = serde_json::to_string(&told).map_err(|e| broken("no words for it").because(e))?;
    println!("{text}");
    Ok(PASS)
}

fn broken(what: &str) -> Explained {
    Explained::new(
        ErrorCode("record/exporter-start"),
        what,
        "see `ringfence doctor`",
    )
}

fn setting(key: &'static str, reason: &'static str) -> Explained {
    Explained::of(&WormError::Setting { key, reason })
}

/// Opens all that is needed, and confines the process.
fn prepare(state: &Path, folder: &Path) -> Result<Exporter, Explained> {
    set_not_dumpable().map_err(|e| broken("it can be looked into").because(e))?;
    let toml = folder.join("ringfence.toml");
    let file = File::open(&toml).map_err(|e| unreadable(&toml, &e))?;
    let cursors = cursors(state)?;
    if is_root() {
        house::reachable(state)?;
        drop_to(house::RECORDER).map_err(|e| broken("it stays root").because(e))?;
    }
    let text = text(file, CONFIG_BYTES_MAX).map_err(|e| unreadable(&toml, &e))?;
    let config = config::parse(&toml.to_string_lossy(), &text).map_err(|e| Explained::of(&e))?;
    let config = config
        .record
        .worm
        .ok_or_else(|| setting("record.worm", "is not configured"))?;
    let record = state.join("record");
    let vault = vault(&config, &record)?;
    let keys = vkeys_of(&record).map_err(|e| Explained::of(&e))?;
    let log = record.join("log");
    confine(&log, &cursors)?;
    Ok(Exporter {
        source: Arc::new(Directory(log)),
        keys,
        vault: Arc::new(vault),
        cursor: cursors.join("cursor"),
        clock: Arc::new(SystemClock),
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Explained {
    Explained::new(
        ErrorCode("config/unreadable"),
        format!("{} cannot be read by the exporter", path.display()),
        format!("let user {} read it", house::RECORDER.uid),
    )
    .because(error)
}

/// The folder of cursors, which belongs to the user that this becomes.
fn cursors(state: &Path) -> Result<PathBuf, Explained> {
    drop(house::open(state)?);
    let folder = state.join("exporter");
    let refused = |e: io::Error| broken("its folder cannot be made").because(e);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(refused(e)),
        _ => {}
    }
    if !folder.symlink_metadata().map_err(refused)?.is_dir() {
        return Err(refused(ErrorKind::NotADirectory.into()));
    }
    if is_root() {
        let owner = house::RECORDER;
        chown(&folder, Some(owner.uid), Some(owner.gid)).map_err(refused)?;
    }
    Ok(folder)
}

fn text(file: File, limit: usize) -> io::Result<String> {
    let mut text = String::new();
    file.take(limit as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The bucket, with credentials that nobody else can read.
fn vault(config: &WormConfig, record: &Path) -> Result<LockedBucket, Explained> {
    let path = Path::new(&config.credentials);
    // This user could read the keys of the log until it is confined.
    let real = |path: &Path| path.canonicalize().map_err(|e| unreadable(path, &e));
    if real(path)?.starts_with(real(record)?) {
        let reason = "the file lies beside the log, where our own keys are";
        return Err(setting("record.worm.credentials", reason));
    }
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let mode = file.metadata().map_err(|e| unreadable(path, &e))?.mode();
    if mode & 0o077 != 0 {
        let reason = "others may read the file: chmod 600, and make new credentials";
        return Err(setting("record.worm.credentials", reason));
    }
    let text = text(file, CREDENTIALS_BYTES_MAX).map_err(|e| unreadable(path, &e))?;
    let credentials = worm::credentials(&Secret::new(text)).map_err(|e| Explained::of(&e))?;
    let roots = if config.endpoint.starts_with("https://") {
        let path = Path::new(&config.authorities);
        let mut pem = Vec::new();
        File::open(path)
            .and_then(|f| f.take(ROOTS_BYTES_MAX as u64 + 1).read_to_end(&mut pem))
            .map_err(|e| unreadable(path, &e))?;
        Some(pem)
    } else {
        None
    };
    config
        .vault(credentials, roots.as_deref(), Arc::new(SystemClock))
        .map_err(|e| Explained::of(&e))
}

/// The log to read, its own folder to write, the network; no key, no payload, no program. There is
/// no weaker way: as the recorder's user it could read the keys.
fn confine(log: &Path, cursors: &Path) -> Result<(), Explained> {
    let mut read = vec![Place::from(log)];
    read.extend(RESOLVER.map(|path| Place::IfPresent(path.into())));
    apply(Confinement {
        read,
        write: vec![Place::from(cursors)],
        network: NetworkRule::TcpAndNames,
        exec: false,
        strictness: Strictness::Full,
    })
    .map(drop)
    .map_err(|e| Explained::of(&e))
}

/// Runs until nothing is left that is due.
fn export(exporter: &Exporter) -> Result<Export, Explained> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| broken("the runtime did not start").because(e))?;
    let mut done = Report::default();
    let outcome = runtime.block_on(async {
        for _ in 0..RUNS_MAX {
            let report = exporter.run().await?;
            done = Report {
                stored: done.stored + report.stored,
                found: done.found + report.found,
                bytes: done.bytes + report.bytes,
                ..report
            };
            if report.lag() == 0 {
                break;
            }
        }
        Ok::<_, WormError>(done)
    });
    let vault = exporter.vault.name();
    Ok(match outcome {
        Ok(report) => Export {
            vault,
            report: Some(report),
            failure: None,
            finding: false,
        },
        Err(error) => Export {
            vault,
            report: None,
            failure: Some(Explained::of(&error)),
            finding: error.is_finding(),
        },
    })
}
