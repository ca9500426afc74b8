//! `witness`: cosigns the checkpoints of other machines' logs, C2SP tlog-witness over HTTP.
//!
//! Everything that it says is signed and nothing that it hears is secret, so it speaks plain HTTP;
//! TLS in front of it keeps others from answering in its place, which could stop a log but never
//! make it trusted.

use crate::cli::WitnessArgs;
use crate::render::{self, Format};
use crate::{Outcome, PASS, house};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::isolation::Strictness;
use ringfence_crypto::CryptoError;
use ringfence_crypto::note::NoteKey;
use ringfence_crypto::random::SystemEntropy;
use ringfence_net::body::{Body, BodyLimits, collect, full};
use ringfence_net::listen::{BODY_IDLE_MS_MAX, Listener, ServeLimits, serve};
use ringfence_record::witness::request::{PATH, REQUEST_BYTES_MAX};
use ringfence_record::witness::{Refusal, Witness};
use ringfence_sys::clock::SystemClock;
use ringfence_sys::confine::{Confinement, NetworkRule, Place, apply};
use ringfence_sys::lock::DirLock;
use ringfence_sys::process::{self, Identity};
use serde_json::json;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The witness's own user, when started by root.
const USER: Identity = Identity {
    uid: 65_103,
    gid: 65_103,
};
/// LIMIT: octets of a file of verifier keys.
const LOGS_BYTES_MAX: u64 = 4 << 20;
/// LIMIT: connections at once. A log needs one every ten seconds.
const CONNECTIONS_MAX: usize = 64;

/// Serves until it is told to stop; without a log it prints its own keys and ends.
pub(crate) fn run(args: &WitnessArgs, state: &Path, format: Format) -> Outcome {
    let logs = logs_of(args)?;
    enter(state)?;
    let here = Path::new(".");
    let _lock = DirLock::acquire(here).map_err(|e| Explained::of(&e))?;
    let witness = Witness::open(here, logs.clone(), Arc::new(SystemClock), &SystemEntropy)
        .map_err(|e| Explained::of(&e))?;
    let vkeys = witness.vkeys().map_err(|e| Explained::of(&e))?;
    if logs.is_empty() {
        print_keys(&vkeys, None, format)?;
        return Ok(PASS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| broken("the runtime did not start").because(e))?;
    runtime.block_on(async {
        let listener = Listener::bind(args.listen)
            .await
            .map_err(|e| Explained::of(&e))?;
        let mut terminate = signal(SignalKind::terminate())
            .map_err(|e| broken("signals cannot be received").because(e))?;
        // The socket is there: from here on nothing else can be reached or made.
        confine(here, args.accept_weaker)?;
        let address = listener.local_address().unwrap_or(args.listen);
        print_keys(&vkeys, Some(format!("http://{address}")), format)?;
        if !address.ip().is_loopback() {
            eprintln!(
                "ringfence: plain HTTP beyond this machine: put TLS in front of it, so that nobody \
                 answers in its place"
            );
        }
        let (stop, stopping) = watch::channel(false);
        let witness = Arc::new(Mutex::new(witness));
        let service = move |request, _| {
            let witness = Arc::clone(&witness);
            async move { answer(&witness, request).await }
        };
        let limits = ServeLimits {
            connections_max: CONNECTIONS_MAX,
            body: BodyLimits {
                bytes_max: REQUEST_BYTES_MAX,
                idle_ms: BODY_IDLE_MS_MAX,
            },
            ..ServeLimits::default()
        };
        let told = async {
            terminate.recv().await;
            stop.send_replace(true);
        };
        tokio::join!(serve(listener, None, limits, service, stopping), told);
        Ok(PASS)
    })
}

fn broken(what: &str) -> Explained {
    Explained::new(
        ErrorCode("record/witness-start"),
        what,
        "see `ringfence doctor`",
    )
}

/// The keys of the logs: those on the command line, and one on each line of a file.
fn logs_of(args: &WitnessArgs) -> Result<Vec<NoteKey>, Explained> {
    let mut texts = args.logs.clone();
    if let Some(path) = &args.logs_file {
        let unreadable = |e: std::io::Error| {
            Explained::new(
                ErrorCode("cli/input"),
                format!("{} cannot be read", path.display()),
                "name a file with one verifier key on each line: ringfence log vkey",
            )
            .because(e)
        };
        let file = File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        let read = file.take(LOGS_BYTES_MAX + 1).read_to_string(&mut text);
        if read.map_err(unreadable)? as u64 > LOGS_BYTES_MAX {
            return Err(unreadable(ErrorKind::FileTooLarge.into()));
        }
        let lines = text.lines().map(str::trim);
        texts.extend(lines.filter(|l| !l.is_empty()).map(str::to_owned));
    }
    texts
        .iter()
        .map(|text| text.parse().map_err(|e: CryptoError| Explained::of(&e)))
        .collect()
}

/// Goes to `<state>/witness` and, from root, to a user that owns nothing else. What is opened from
/// here on is named from there, since that user may not be able to walk to it.
fn enter(state: &Path) -> Result<(), Explained> {
    drop(house::open(state)?);
    let folder = state.join("witness");
    let refused = |e: std::io::Error| {
        Explained::new(
            ErrorCode("config/state-directory"),
            format!("{} cannot be used", folder.display()),
            "name another: --state DIR",
        )
        .because(e)
    };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(refused(e)),
        _ => {}
    }
    if !folder.symlink_metadata().map_err(refused)?.is_dir() {
        return Err(refused(ErrorKind::NotADirectory.into()));
    }
    std::env::set_current_dir(&folder).map_err(refused)?;
    process::set_not_dumpable().map_err(refused)?;
    if process::is_root() {
        chown(".", Some(USER.uid), Some(USER.gid)).map_err(refused)?;
        process::drop_to(USER).map_err(refused)?;
    }
    Ok(())
}

/// Its own folder and the socket it has: no other file, no further socket, no program.
fn confine(folder: &Path, accept_weaker: bool) -> Result<(), Explained> {
    let strictness = if accept_weaker {
        Strictness::AcceptWeaker
    } else {
        Strictness::Full
    };
    let confinement = Confinement {
        network: NetworkRule::None,
        ..Confinement::recorder(Place::Path(folder.to_owned()))
    };
    let applied = apply(confinement.with_strictness(strictness)).map_err(|e| Explained::of(&e))?;
    if let Some(missing) = applied.missing {
        eprintln!("ringfence: not confined to its files: {missing}");
    }
    Ok(())
}

async fn answer(witness: &Mutex<Witness>, request: Request<Body>) -> Response<Body> {
    if request.uri().path() != PATH {
        return text(
            StatusCode::NOT_FOUND,
            "text/plain",
            "not found\n".to_owned(),
        );
    }
    if request.method() != Method::POST {
        let said = "POST a checkpoint\n".to_owned();
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", said);
        let allow = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, allow);
        return response;
    }
    let Ok(body) = collect(request.into_body(), REQUEST_BYTES_MAX).await else {
        return refusal(&Refusal::Malformed("longer than a request may be, or cut"));
    };
    // One at a time: what is checked and what is written must be the same head.
    let outcome = witness
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .add_checkpoint(&body);
    match outcome {
        Ok(lines) => {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            text(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                lines.join("\n") + "\n",
            )
        }
        Err(refused) => {
            if matches!(refused, Refusal::Inconsistent | Refusal::Failed(_)) {
                eprintln!(
                    "ringfence: a known log was refused: {}",
                    refused.to_string().trim()
                );
            }
            refusal(&refused)
        }
    }
}

fn refusal(refused: &Refusal) -> Response<Body> {
    let status =
        StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(status, refused.content_type(), refused.to_string())
}

fn text(status: StatusCode, kind: &'static str, said: String) -> Response<Body> {
    let mut response = Response::new(full(said));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn print_keys(vkeys: &[NoteKey], url: Option<String>, format: Format) -> Result<(), Explained> {
    if format == Format::Json {
        let vkeys: Vec<String> = vkeys.iter().map(ToString::to_string).collect();
        return render::json(&json!({ "vkeys": vkeys, "url": url }));
    }
    println!("This witness cosigns with these keys; give a log the first one:");
    for vkey in vkeys {
        println!("{}: {vkey}", vkey.key().algorithm().name());
    }
    if let Some(url) = url {
        println!("It listens at {url}");
    } else {
        println!("It knows no log yet: --log VKEY, as `ringfence log vkey` prints it there");
    }
    Ok(())
}
