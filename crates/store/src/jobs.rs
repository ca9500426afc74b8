//! Work that is done later, at least once: written in the transaction that made it necessary,
//! claimed by one worker at a time, tried again after a failure, and kept as a dead letter when
//! the last attempt failed, for the operator to see.
//!
//! A job is claimed with a [`Lease`]. A worker that dies loses it when the lease ends; the attempt
//! counts, so that a job that kills its workers ends as a dead letter too.

use crate::error::StoreError;
use crate::lease::{Backoff, LEASE_MS_MAX, Lease, shortened};
use crate::row::{Columns, to_json};
use crate::transaction::{Tx, View};
use crate::value::Row;
use ringfence_core::ids::ProjectId;
use ringfence_core::time::Timestamp;
use serde_json::Value;
use std::str::FromStr;

/// LIMIT: jobs of one project that are not finished.
pub const JOBS_OPEN_MAX: usize = 1_000;
/// LIMIT: octets of what a job is about.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: jobs one listing returns.
pub const JOBS_LISTED_MAX: usize = 500;
/// LIMIT: jobs that one claim buries as dead letters before it gives one out.
pub const BURIED_MAX: usize = 100;
const TABLE: &str = "jobs";

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// For its moment.
    Waiting,
    /// A worker has it.
    Held,
    /// Finished well.
    Done,
    /// Given up after the last attempt: shown to the operator.
    Dead,
}

impl JobState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Held, Self::Done, Self::Dead];

    /// The word, as in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for JobState {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or("not a state of a job")
    }
}

/// A job to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// The same id is the same job: writing it again changes nothing.
    pub id: String,
    /// Whose.
    pub project: ProjectId,
    /// What kind of work; workers claim by kind.
    pub kind: String,
    /// What it is about.
    pub payload: Value,
    /// When it is to be done.
    pub due: Timestamp,
    /// How often it is tried, at least once.
    pub attempts_max: u32,
    /// When it was written.
    pub created: Timestamp,
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Whose.
    pub project: ProjectId,
    /// What kind of work.
    pub kind: String,
    /// What it is about.
    pub payload: Value,
    /// Where it stands.
    pub state: JobState,
    /// When it may be claimed: its moment, or the end of the lease.
    pub next: Timestamp,
    /// How often it was claimed.
    pub attempts: u32,
    /// How often it may be.
    pub attempts_max: u32,
    /// Who has it.
    pub worker: Option<String>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was written.
    pub created: Timestamp,
    /// When it was done or given up.
    pub finished: Option<Timestamp>,
}

fn job(row: &Row<'_>) -> Result<Job, StoreError> {
    let c = Columns::of(TABLE, row);
    Ok(Job {
        id: c.value("id")?,
        project: c.parsed("project")?,
        kind: c.value("kind")?,
        payload: c.json("payload")?,
        state: c.parsed("state")?,
        next: c.time("next_ms")?,
        attempts: c.count("attempts")?,
        attempts_max: c.count("attempts_max")?,
        worker: c.value("worker")?,
        last_error: c.value("last_error")?,
        created: c.time("created_ms")?,
        finished: c.time_optional("finished_ms")?,
    })
}

/// Writes a job; false, and no change, if one of this id exists in whatever state.
pub fn add(tx: &Tx<'_>, new: &NewJob) -> Result<bool, StoreError> {
    let open = tx.number(
        "SELECT count(*) AS n FROM jobs WHERE project = ?1 AND state IN ('waiting', 'held')",
        [new.project.as_str()],
    )?;
    if open >= JOBS_OPEN_MAX as u64 {
        return Err(StoreError::Limit {
            what: "unfinished jobs of one project",
            limit: JOBS_OPEN_MAX,
        });
    }
    let payload = to_json(TABLE, &new.payload)?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(StoreError::Limit {
            what: "octets of a job",
            limit: PAYLOAD_BYTES_MAX,
        });
    }
    let added = tx.execute(
        "INSERT INTO jobs (id, project, kind, payload, state, next_ms, attempts_max, created_ms)
         VALUES (?1, ?2, ?3, ?4, 'waiting', ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
        (
            &new.id,
            new.project.as_str(),
            &new.kind,
            payload,
            new.due.0,
            new.attempts_max,
            new.created.0,
        ),
    )?;
    Ok(added == 1)
}

/// Claims the job of a kind, in whatever project, that has waited longest: its moment has come, or
/// the lease of its last worker is over. One whose last attempt ended that way becomes a dead
/// letter instead. None when there is nothing to do.
///
/// Two workers never claim the same job: writes are serial on either engine.
pub fn claim_in_any_project(
    tx: &Tx<'_>,
    kind: &str,
    worker: &str,
    now: Timestamp,
    lease_ms: i64,
) -> Result<Option<(Job, Lease)>, StoreError> {
    for _ in 0..BURIED_MAX {
        let due = tx.first(
            "SELECT * FROM jobs
             WHERE kind = ?1 AND state IN ('waiting', 'held') AND next_ms <= ?2
             ORDER BY next_ms, id LIMIT 1",
            (kind, now.0),
            job,
        )?;
        let Some(mut found) = due else {
            return Ok(None);
        };
        if found.attempts >= found.attempts_max {
            let error = "the worker did not come back from the last attempt";
            tx.execute(
                "UPDATE jobs SET state = 'dead', token = 0, last_error = ?2, finished_ms = ?3
                 WHERE id = ?1",
                (&found.id, error, now.0),
            )?;
            continue;
        }
        let lease = Lease::next(tx, &found.id)?;
        found.state = JobState::Held;
        found.attempts += 1;
        found.worker = Some(worker.to_owned());
        found.next = now.plus_ms(lease_ms.clamp(0, LEASE_MS_MAX));
        tx.execute(
            "UPDATE jobs SET state = 'held', attempts = attempts + 1, token = ?2, worker = ?3,
                             next_ms = ?4
             WHERE id = ?1",
            (&found.id, lease.column(), worker, found.next.0),
        )?;
        return Ok(Some((found, lease)));
    }
    Ok(None)
}

/// Prolongs a lease to `lease_ms` from now.
pub fn heartbeat(
    tx: &Tx<'_>,
    lease: &Lease,
    now: Timestamp,
    lease_ms: i64,
) -> Result<(), StoreError> {
    let changed = tx.execute(
        "UPDATE jobs SET next_ms = ?3 WHERE id = ?1 AND token = ?2 AND state = 'held'",
        (
            &lease.id,
            lease.column(),
            now.plus_ms(lease_ms.clamp(0, LEASE_MS_MAX)).0,
        ),
    )?;
    lease.held("job", changed)
}

/// Ends a job well.
pub fn complete(tx: &Tx<'_>, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
    let changed = tx.execute(
        "UPDATE jobs SET state = 'done', token = 0, last_error = NULL, finished_ms = ?3
         WHERE id = ?1 AND token = ?2 AND state = 'held'",
        (&lease.id, lease.column(), now.0),
    )?;
    lease.held("job", changed)
}

/// Notes that an attempt failed: the job waits for its next one, or is a dead letter if this was
/// the last. Where it stands now.
pub fn fail(
    tx: &Tx<'_>,
    lease: &Lease,
    now: Timestamp,
    error: &str,
    backoff: Backoff,
) -> Result<JobState, StoreError> {
    let held = tx.first(
        "SELECT * FROM jobs WHERE id = ?1 AND token = ?2 AND state = 'held'",
        (&lease.id, lease.column()),
        job,
    )?;
    lease.held("job", usize::from(held.is_some()))?;
    let attempts = held.map_or((0, 0), |j| (j.attempts, j.attempts_max));
    let (state, next, finished) = if attempts.0 >= attempts.1 {
        (JobState::Dead, now, Some(now.0))
    } else {
        let next = now.plus_ms(backoff.after(attempts.0));
        (JobState::Waiting, next, None)
    };
    let changed = tx.execute(
        "UPDATE jobs SET state = ?3, token = 0, worker = NULL, next_ms = ?4, last_error = ?5,
                         finished_ms = ?6
         WHERE id = ?1 AND token = ?2 AND state = 'held'",
        (
            &lease.id,
            lease.column(),
            state.as_str(),
            next.0,
            shortened(error),
            finished,
        ),
    )?;
    lease.held("job", changed)?;
    Ok(state)
}

/// Lets a dead letter be tried again, with all its attempts.
pub fn revive(
    tx: &Tx<'_>,
    project: &ProjectId,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed = tx.execute(
        "UPDATE jobs SET state = 'waiting', attempts = 0, worker = NULL, next_ms = ?3,
                         finished_ms = NULL
         WHERE project = ?1 AND id = ?2 AND state = 'dead'",
        (project.as_str(), id, now.0),
    )?;
    if changed == 0 {
        return Err(StoreError::Missing {
            what: "dead job",
            id: id.to_owned(),
        });
    }
    Ok(())
}

/// Forgets jobs of all projects that were done before a moment; their ids may then be used again.
/// Dead letters stay. How many.
pub fn forget_done_before(tx: &Tx<'_>, moment: Timestamp) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM jobs WHERE state = 'done' AND finished_ms < ?1",
        [moment.0],
    )
}

/// One job of a project.
pub fn find(view: &View<'_>, project: &ProjectId, id: &str) -> Result<Option<Job>, StoreError> {
    view.first(
        "SELECT * FROM jobs WHERE project = ?1 AND id = ?2",
        (project.as_str(), id),
        job,
    )
}

/// The jobs of a project in one state, the oldest first, at most [`JOBS_LISTED_MAX`].
pub fn list(view: &View<'_>, project: &ProjectId, state: JobState) -> Result<Vec<Job>, StoreError> {
    view.all(
        "SELECT * FROM jobs WHERE project = ?1 AND state = ?2 ORDER BY created_ms, id LIMIT ?3",
        (
            project.as_str(),
            state.as_str(),
            i64::try_from(JOBS_LISTED_MAX).unwrap_or(i64::MAX),
        ),
        job,
    )
}
