//! RESPOND within the service: findings and trips become cases, cases become alerts, alerts leave
//! through the outbox, and waivers end.

use crate::app::{App, broken};
use crate::wire::control::Hands;
use crate::wire::respond::Webhooks;
use ringfence_admit::ScanReport;
use ringfence_core::error::Explained;
use ringfence_core::event::Target;
use ringfence_core::ids::{RuleId, SandboxId};
use ringfence_core::leaf::{Leaf, LeafAction};
use ringfence_core::ports::{
    Breaker as _, BreakerState, Control as _, ControlAction, Intervention,
};
use ringfence_core::severity::Severity;
use ringfence_core::time::Timestamp;
use ringfence_respond::cases::Incident;
use ringfence_respond::dispatch::{ATTEMPT_MS_MAX, DispatchParts, Dispatcher};
use ringfence_respond::{Respond, RespondError};
use ringfence_watch::Trip;
use std::sync::Arc;
use std::time::Duration;

/// What the gateway emits when an upstream fails.
const UPSTREAM_FAILED: &str = "run.upstream.failed";
/// Failures within [`UPSTREAM_WINDOW_MS`] that make an incident.
const UPSTREAM_FAILURES: usize = 3;
/// Milliseconds within which failures are counted.
const UPSTREAM_WINDOW_MS: i64 = 10_000;
/// Milliseconds before the same is said again.
const UPSTREAM_QUIET_MS: i64 = 60_000;
/// LIMIT: events that are looked back at.
const RECENT_EVENTS: usize = 200;
/// Milliseconds between two rounds.
const ROUND_MS: u64 = 1_000;

/// Runs work on cases, waivers and alerts away from the tasks that wait for sockets.
pub async fn respond<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Respond) -> Result<T, RespondError> + Send + 'static,
) -> Result<T, Explained> {
    let respond = app.respond.clone();
    tokio::task::spawn_blocking(move || work(&respond))
        .await
        .map_err(|e| broken("work on cases ended early").because(e))?
        .map_err(|e| Explained::of(&e))
}

async fn record_all(app: &App, leaves: Vec<Leaf>) -> Result<(), Explained> {
    for mut leaf in leaves {
        leaf.config = Some(app.config_digest);
        app.record(leaf).await?;
    }
    Ok(())
}

/// Opens cases for what a scan found.
pub async fn from_report(app: &App, report: &ScanReport) -> Result<(), Explained> {
    let (project, owner) = (app.project.clone(), app.config.project.owner.clone());
    let findings = report.findings.clone();
    let opened = respond(app, move |r| {
        r.cases().open_from_findings(&project, &owner, &findings)
    })
    .await?;
    record_all(app, opened.leaves).await
}

/// Takes what the breakers did since the last time: a leaf each, and a case where something was
/// stopped.
pub async fn collect(app: &App) -> Result<(), Explained> {
    for trip in app.watch.take_trips() {
        let leaf = app
            .leaf("service", LeafAction::BreakerChange, name(&trip.target))
            .with("from", format!("{:?}", trip.from))
            .with("to", format!("{:?}", trip.to))
            .with("rule", trip.rule.to_string())
            .with("reason", trip.reason.clone());
        app.record(leaf).await?;
        let Some(incident) = incident(&trip) else {
            continue;
        };
        let project = trip.project.unwrap_or_else(|| app.project.clone());
        let owner = app.config.project.owner.clone();
        let opened = respond(app, move |r| {
            r.cases().open_from_incident(&project, &owner, incident)
        })
        .await?;
        record_all(app, opened.leaves).await?;
    }
    Ok(())
}

fn name(target: &Target) -> String {
    match target {
        Target::Sandbox(id) => format!("sandbox:{id}"),
        Target::Key(id) => format!("key:{id}"),
        Target::Request(id) => format!("request:{id}"),
        Target::Process(pid) => format!("process:{pid}"),
        Target::Host => "host".to_owned(),
    }
}

fn incident(trip: &Trip) -> Option<Incident> {
    let (severity, verb) = match trip.to {
        BreakerState::Frozen => (Severity::Critical, "stopped"),
        BreakerState::Throttled => (Severity::High, "slowed down"),
        BreakerState::HalfOpen | BreakerState::Closed => return None,
    };
    let target = name(&trip.target);
    Some(Incident {
        rule: trip.rule.clone(),
        title: format!("{target} was {verb} by its breaker"),
        severity,
        evidence: trip.reason.clone(),
        mitigation: format!("requests of {target} are {verb} until it has been quiet"),
        fix: "find out what sent them; end a key with `ringfence key revoke ID`".to_owned(),
        // Being stopped is another incident than being slowed down: it pages somebody.
        target: format!("{target}, {verb}"),
    })
}

/// Does all of it, round after round, until the service stops.
pub fn keep_watch(app: &Arc<App>) {
    let dispatcher = Dispatcher::new(DispatchParts {
        respond: app.respond.clone(),
        webhooks: app.webhooks.clone(),
        transport: Arc::new(Webhooks),
        terminal: Arc::clone(&app.terminal),
        attempt_ms: ATTEMPT_MS_MAX,
    });
    let watched = Arc::clone(app);
    app.tasks.add(async move {
        let hands = Hands(Arc::clone(&watched));
        // What an earlier server froze goes on; this server's own breaker decides from here.
        if let Some(sandbox) = watched.sandbox()
            && let Err(error) = sandbox.freeze(false).await
        {
            tracing::error!(code = error.code, "a sandbox may stand still");
        }
        let mut frozen = None;
        let mut upstream_noticed = Timestamp(0);
        loop {
            tokio::select! {
                () = watched.tasks.stopped() => return,
                () = tokio::time::sleep(Duration::from_millis(ROUND_MS)) => {}
            }
            if let Err(error) = hold(&watched, &hands, &mut frozen).await {
                tracing::error!(
                    code = error.code,
                    what = error.what,
                    "a breaker did not hold"
                );
            }
            match upstream_down(&watched, upstream_noticed).await {
                Ok(noticed) => upstream_noticed = noticed,
                Err(error) => tracing::error!(code = error.code, "an incident was not opened"),
            }
            if let Err(error) = round(&watched, &dispatcher).await {
                tracing::error!(
                    code = error.code,
                    what = error.what,
                    "a round of RESPOND failed"
                );
            }
        }
    });
}

/// Stops the processes of a sandbox whose breaker is frozen, and lets them go on when it is not:
/// its doors are closed by the gateway already, but what runs inside could go on working.
async fn hold(app: &App, hands: &Hands, frozen: &mut Option<SandboxId>) -> Result<(), Explained> {
    let hosted = app.sandbox().map(|s| s.id().clone());
    let held = hosted.filter(|id| {
        let target = Target::Sandbox(id.clone());
        app.watch.breakers().state(&target) == BreakerState::Frozen
    });
    if held == *frozen {
        return Ok(());
    }
    let (intervention, id) = match (&held, frozen.clone()) {
        (Some(id), _) => (Intervention::Freeze, id.clone()),
        (None, Some(id)) => (Intervention::Thaw, id),
        (None, None) => return Ok(()),
    };
    let reason = "the breaker of this sandbox".to_owned();
    let target = Target::Sandbox(id);
    hands
        .apply(ControlAction {
            intervention,
            target,
            reason,
            until: None,
        })
        .await?;
    *frozen = held;
    Ok(())
}

/// An upstream that keeps failing is nobody's key's fault, so no breaker trips; it is an incident.
/// Returns when it was last noticed.
async fn upstream_down(app: &App, noticed: Timestamp) -> Result<Timestamp, Explained> {
    let now = app.now();
    let since = now.plus_ms(-UPSTREAM_WINDOW_MS);
    let recent = app.watch.recent(&app.project, RECENT_EVENTS);
    let failures = recent
        .iter()
        .filter(|e| e.kind == UPSTREAM_FAILED && e.time > since)
        .count();
    if failures < UPSTREAM_FAILURES || now.since_ms(noticed) < UPSTREAM_QUIET_MS {
        return Ok(noticed);
    }
    let incident = upstream_incident(failures, &app.facts().upstream);
    let (project, owner) = (app.project.clone(), app.config.project.owner.clone());
    let opened = respond(app, move |r| {
        r.cases().open_from_incident(&project, &owner, incident)
    })
    .await?;
    record_all(app, opened.leaves).await?;
    Ok(now)
}

fn upstream_incident(failures: usize, upstream: &str) -> Incident {
    Incident {
        rule: RuleId::of("watch/upstream-down"),
        target: "upstream".to_owned(),
        title: "the upstream does not answer".to_owned(),
        severity: Severity::High,
        evidence: format!(
            "{failures} requests to {upstream} failed within {} s",
            UPSTREAM_WINDOW_MS / 1000
        ),
        mitigation: "clients get 502 with the reason; nothing is let through unfiltered".to_owned(),
        fix: "start the engine again, or name another under [[model]] upstream".to_owned(),
    }
}

async fn round(app: &App, dispatcher: &Dispatcher) -> Result<(), Explained> {
    collect(app).await?;
    let project = app.project.clone();
    let ended = respond(app, move |r| r.waivers().expire(&project)).await?;
    record_all(app, ended).await?;
    dispatcher.run_due().await.map_err(|e| Explained::of(&e))?;
    let uses = app.keys.take_uses();
    if uses.is_empty() {
        return Ok(());
    }
    app.state(move |store| store.write(move |tx| ringfence_store::keys::touch(tx, &uses)))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trip(to: BreakerState) -> Trip {
        Trip {
            target: Target::Key("abc".parse().unwrap()),
            project: None,
            time: Timestamp(0),
            from: BreakerState::Closed,
            to,
            rule: RuleId::of("watch/denial-rate"),
            reason: "31 denials in 10 s".to_owned(),
        }
    }

    #[test]
    fn only_what_was_stopped_or_slowed_is_an_incident() {
        assert_eq!(
            incident(&trip(BreakerState::Frozen)).unwrap().severity,
            Severity::Critical
        );
        let target = |to| incident(&trip(to)).unwrap().target;
        assert_ne!(
            target(BreakerState::Frozen),
            target(BreakerState::Throttled)
        );
        assert_eq!(
            incident(&trip(BreakerState::Throttled)).unwrap().severity,
            Severity::High
        );
        assert_eq!(incident(&trip(BreakerState::Closed)), None);
        assert_eq!(incident(&trip(BreakerState::HalfOpen)), None);
    }
}
