//! The one thread that writes.
//!
//! It takes the first waiting job and those right behind it, runs each in a savepoint of one
//! `BEGIN IMMEDIATE` transaction, commits once, and only then answers. A job that fails is rolled
//! back alone. INVARIANT: no job is answered with success before the commit that holds it.

use crate::error::StoreError;
use crate::transaction::Tx;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender};

/// LIMIT: jobs that share one commit; bounds how long the first of them waits.
pub(crate) const GROUP_JOBS_MAX: usize = 64;

/// One unit of work on its way to the writer.
pub(crate) trait Job: Send {
    /// Does the work; whether its savepoint is to be kept.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// Tells the caller, once it is known whether the transaction holds.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job made of a closure and the place its result goes to.
pub(crate) struct Work<F, T, E> {
    pub(crate) task: Option<F>,
    pub(crate) result: Option<Result<T, E>>,
    pub(crate) reply: SyncSender<Result<T, E>>,
}

impl<F, T, E> Job for Work<F, T, E>
where
    F: FnOnce(&Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let Some(task) = self.task.take() else {
            return false;
        };
        // A panic of one job must not end the writer for all others.
        self.result = catch_unwind(AssertUnwindSafe(|| task(tx))).ok();
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (self.result, committed) {
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(lost)) => Err(lost.into()),
            (None, Ok(())) => Err(StoreError::Stopped.into()),
        };
        // A caller that is gone does not need the answer.
        drop(self.reply.send(answer));
    }
}

/// Runs until every sender is gone.
pub(crate) fn run(connection: &Connection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        while group.len() < GROUP_JOBS_MAX {
            match jobs.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        let outcome = commit(connection, &mut group);
        if outcome.is_err() && !connection.is_autocommit() {
            // Every job is told that nothing was kept; if this fails too, the next BEGIN says so.
            drop(connection.execute_batch("ROLLBACK"));
        }
        for job in group {
            job.answer(outcome.clone());
        }
    }
}

fn commit(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for job in group {
        connection.execute_batch("SAVEPOINT job")?;
        let keep = job.run(&Tx::new(connection));
        if connection.is_autocommit() {
            // SQLite ends the whole transaction by itself on a full disk or an I/O error: then no
            // job of this group may be told that it was kept.
            let cause = "a full disk or an I/O error ended the transaction".to_owned();
            return Err(StoreError::Sqlite { cause });
        }
        let end = if keep {
            "RELEASE job"
        } else {
            "ROLLBACK TO job; RELEASE job"
        };
        connection.execute_batch(end)?;
    }
    Ok(connection.execute_batch("COMMIT")?)
}
