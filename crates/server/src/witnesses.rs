//! The log's outside witnesses: asked every [`ROUND_MS`] when the checkpoint changed, and once
//! before anything else is recorded.
//!
//! A witness that remembers more leaves than this log has, or others, shows that the log on this
//! disk was taken back. Then nothing is appended any more: the port for leaves refuses, which fails
//! every request closed, an alert is said, and the service ends with that error. A witness that
//! cannot be reached shows nothing; it is an alert, and a refusal to start with `strict`.

use crate::app::{App, Witnessed};
use crate::wire::respond::parts;
use http::Request;
use ringfence_core::error::Explained;
use ringfence_core::event::{Occurrence, Target};
use ringfence_crypto::checkpoint::Checkpoint;
use ringfence_crypto::note::{Note, NoteKey, NoteSignature};
use ringfence_net::body::{collect, full};
use ringfence_net::client::{Client, ClientLimits};
use ringfence_record::RecordError;
use ringfence_record::config::RecordConfig;
use ringfence_record::witness::policy::Policy;
use ringfence_record::witness::request::{ANSWER_BYTES_MAX, PATH};
use ringfence_record::witness::{AddCheckpoint, Judgement, judge};
use std::sync::Arc;
use std::time::Duration;

/// Milliseconds between two rounds.
pub const ROUND_MS: u64 = 10_000;
/// LIMIT: times that witnesses are asked in one round: to learn what they have, to tell them what
/// is new, and once more when somebody else told them meanwhile.
const ATTEMPTS_MAX: usize = 3;
/// How long a witness may take. It has to force one small file to disk.
const LIMITS: ClientLimits = ClientLimits {
    connect_ms: 1_000,
    head_ms: 3_000,
    idle_ms: 3_000,
};
/// The event of a log that a witness knows otherwise.
pub const ROLLED_BACK: &str = "record.log.rolled-back";
/// The event of a round without a quorum.
pub const UNWITNESSED: &str = "record.log.unwitnessed";

/// One witness, and the size that it is thought to have.
struct Asked {
    key: NoteKey,
    client: Client,
    path: String,
    old: u64,
}

/// The witnesses of a log.
pub struct Witnesses {
    asked: Vec<Asked>,
    policy: Policy,
    vkeys: Vec<String>,
    /// The size that a quorum has cosigned.
    settled: Option<u64>,
}

impl Witnesses {
    /// From the configuration, which was checked when it was read.
    pub fn new(config: &RecordConfig) -> Result<Self, Explained> {
        let (keys, policy) = config.policy().map_err(|e| Explained::of(&e))?;
        let vkeys = config.witness.iter().map(|w| w.vkey.clone()).collect();
        let asked = keys
            .into_iter()
            .zip(&config.witness)
            .map(|(key, witness)| {
                let (address, path) = parts(&witness.url)?;
                Ok(Asked {
                    key,
                    client: Client::new(address, LIMITS),
                    path: format!("{}{PATH}", path.trim_end_matches('/')),
                    old: 0,
                })
            })
            .collect::<Result<_, Explained>>()?;
        Ok(Self {
            asked,
            policy,
            vkeys,
            settled: None,
        })
    }

    /// Whether there is anybody to ask.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Asks all of them to cosign the present checkpoint, publishes what they gave, and says how
    /// far that is enough. An error is [`RecordError::RolledBack`], [`RecordError::Forked`], or the
    /// recorder's; a witness that fails is only missing in the count.
    async fn round(&mut self, app: &App) -> Result<Witnessed, RecordError> {
        let mut note = None;
        let mut lines = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let olds = self.asked.iter().map(|w| w.old).collect();
            let (text, proofs) = app.recorder.extend(olds).await?;
            let present = Note::parse(&text)?;
            lines.clear();
            let mut again = false;
            for (witness, proof) in self.asked.iter_mut().zip(proofs) {
                let request = AddCheckpoint {
                    old: witness.old,
                    proof,
                    note: present.clone(),
                };
                match witness.ask(&request).await {
                    Ok(Judgement::Cosigned(given)) => {
                        witness.old = Checkpoint::parse(present.text())?.size;
                        lines.extend(given);
                    }
                    Ok(Judgement::AskFrom(size)) => {
                        witness.old = size;
                        again = true;
                    }
                    Err(error @ (RecordError::RolledBack { .. } | RecordError::Forked { .. })) => {
                        return Err(error);
                    }
                    Err(error) => {
                        tracing::warn!(witness = witness.key.name(), %error, "no cosignature");
                    }
                }
            }
            note = Some(present);
            if !again {
                break;
            }
        }
        let note = note.ok_or(RecordError::Unreachable)?;
        self.publish(app, note, lines).await
    }

    async fn publish(
        &mut self,
        app: &App,
        mut note: Note,
        lines: Vec<NoteSignature>,
    ) -> Result<Witnessed, RecordError> {
        let size = Checkpoint::parse(note.text())?.size;
        if !lines.is_empty() {
            let texts: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
            let text = note.text().to_owned();
            app.recorder
                .cosign(text, texts.concat(), self.vkeys.clone())
                .await?;
            for line in lines {
                note.add(line)?;
            }
        }
        let enough = self.policy.cosigned(&note);
        let by = match &enough {
            Ok(cosigned) => cosigned.len(),
            Err(RecordError::Quorum { have, .. }) => *have,
            Err(_) => 0,
        };
        self.settled = enough.is_ok().then_some(size);
        Ok(Witnessed {
            size,
            by,
            of: self.asked.len(),
            enough: enough.is_ok(),
            at: app.now(),
        })
    }
}

impl Asked {
    async fn ask(&self, request: &AddCheckpoint) -> Result<Judgement, RecordError> {
        let lost = |reason: String| RecordError::Witness {
            name: self.key.name().to_owned(),
            reason,
        };
        let message = Request::post(&self.path)
            .header(http::header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(full(request.to_string()))
            .map_err(|e| lost(e.to_string()))?;
        let answer = self.client.send(message).await;
        let answer = answer.map_err(|e| lost(e.to_string()))?;
        let status = answer.status().as_u16();
        let body = collect(answer.into_body(), ANSWER_BYTES_MAX).await;
        let body = body.map_err(|e| lost(e.to_string()))?;
        let body = std::str::from_utf8(&body).map_err(|e| lost(e.to_string()))?;
        judge(request, &self.key, status, body)
    }
}

/// Asks the witnesses before anything is recorded. Fails when one of them knows the log otherwise,
/// and with `strict` when too few cosigned.
pub async fn first_contact(app: &App) -> Result<Witnesses, Explained> {
    let config = &app.config.record;
    let mut witnesses = Witnesses::new(config)?;
    if witnesses.is_empty() {
        return Ok(witnesses);
    }
    let seen = match witnesses.round(app).await {
        Ok(seen) => seen,
        Err(error) => return Err(stop(app, &error)),
    };
    if config.strict && !seen.enough {
        return Err(Explained::of(&RecordError::Quorum {
            have: seen.by,
            of: seen.of,
        }));
    }
    learn(app, seen);
    Ok(witnesses)
}

/// Asks round after round until the service stops, or a witness knows the log otherwise.
pub fn keep_asking(app: &Arc<App>, mut witnesses: Witnesses) {
    if witnesses.is_empty() {
        return;
    }
    let asking = Arc::clone(app);
    app.tasks.add(async move {
        loop {
            tokio::select! {
                () = asking.tasks.stopped() => return,
                () = tokio::time::sleep(Duration::from_millis(ROUND_MS)) => {}
            }
            let size = asking.recorder.state().await.map(|s| s.size);
            if size.is_ok_and(|size| witnesses.settled == Some(size)) {
                continue;
            }
            match witnesses.round(&asking).await {
                Ok(seen) => learn(&asking, seen),
                Err(error) => {
                    let stopped = stop(&asking, &error);
                    if asking.halted.get().is_some() {
                        return;
                    }
                    tracing::error!(code = stopped.code, "witnesses were not asked");
                }
            }
        }
    });
}

/// Says what was seen, and an alert where it changed from enough to too little.
fn learn(app: &App, seen: Witnessed) {
    let enough_before = app.facts().witnessed.is_none_or(|w| w.enough);
    if !seen.enough && enough_before {
        let text = format!(
            "alert: {} of {} witnesses cosigned the log at {} leaves, which is no quorum",
            seen.by, seen.of, seen.size
        );
        (app.terminal)(&[text]);
        emit(app, UNWITNESSED);
    }
    app.learn(|facts| facts.witnessed = Some(seen));
}

/// Puts an error into words. One that says that the log is not the one that was seen also ends
/// everything: no leaf, no request, no service.
fn stop(app: &App, error: &RecordError) -> Explained {
    let explained = Explained::of(error);
    if matches!(
        error,
        RecordError::RolledBack { .. } | RecordError::Forked { .. }
    ) {
        // The first witness that says so is the one that is named.
        let _first = app.halted.set(explained.clone()).is_ok();
        emit(app, ROLLED_BACK);
        (app.terminal)(&[format!("alert: {}", explained.what)]);
        app.tasks.stop();
    }
    explained
}

fn emit(app: &App, kind: &'static str) {
    let occurrence = Occurrence::new(app.now(), app.project.clone(), Target::Host, kind);
    app.events.emit(occurrence.denied(None));
}
