//! The one thread that writes, whatever the engine.
//!
//! It takes the first waiting job and those right behind it, runs each in a savepoint of one
//! transaction, commits once, and only then answers. A job that fails is rolled back alone.
//! INVARIANT: no job is answered with success before the commit that holds it.

use crate::error::StoreError;
use crate::transaction::{Engine, Tx};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// LIMIT: write jobs that wait; a caller beyond waits until there is room.
pub(crate) const QUEUE_JOBS_MAX: usize = 256;
/// LIMIT: jobs that share one commit; bounds how long the first of them waits.
pub(crate) const GROUP_JOBS_MAX: usize = 64;

/// How an engine holds a write transaction open.
pub(crate) trait Pen: Send + 'static {
    /// Begins a transaction in which nobody else writes.
    fn begin(&mut self) -> Result<(), StoreError>;
    /// The connection with the transaction.
    fn engine(&self) -> Result<Engine<'_>, StoreError>;
    /// Runs statements that return nothing.
    fn run(&self, sql: &'static str) -> Result<(), StoreError>;
    /// An error if the engine ended the transaction by itself.
    fn check(&self) -> Result<(), StoreError>;
    /// Makes it durable. An error means that nothing was kept, but for [`StoreError::Unsure`].
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Ends it after an error; nothing of it is kept.
    fn abandon(&mut self);
}

/// One unit of work on its way to the writer.
trait Job: Send {
    /// Does the work; whether its savepoint is to be kept.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// Tells the caller, once it is known whether the transaction holds.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A job made of a closure and the place its result goes to.
struct Work<F, T, E> {
    task: Option<F>,
    result: Option<Result<T, E>>,
    reply: SyncSender<Result<T, E>>,
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
        if let (Some(Ok(_)), Some(failure)) = (&self.result, tx.failure()) {
            self.result = Some(Err(failure.into()));
        }
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

/// The way to the writer. Dropping it ends the thread after the last job that waits.
pub(crate) struct Queue {
    /// `None` only while dropping.
    jobs: Mutex<Option<SyncSender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Starts the thread.
    pub(crate) fn start(mut pen: impl Pen) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(QUEUE_JOBS_MAX);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || serve(&mut pen, &waiting))?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Runs `work` on the writer's thread and returns after it is durable.
    pub(crate) fn write<T, E>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = sync_channel(1);
        let job: Box<dyn Job> = Box::new(Work {
            task: Some(work),
            result: None,
            reply,
        });
        let jobs = self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        jobs.ok_or(StoreError::Stopped)?
            .send(job)
            .map_err(|_| StoreError::Stopped)?;
        answer.recv().map_err(|_| StoreError::Stopped)?
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // The writer catches what its jobs throw; if it ended otherwise there is nobody left
            // to tell.
            drop(writer.join());
        }
    }
}

/// Runs until every sender is gone.
fn serve(pen: &mut impl Pen, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        while group.len() < GROUP_JOBS_MAX {
            match jobs.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        let outcome = commit(pen, &mut group);
        if outcome.is_err() {
            pen.abandon();
        }
        for job in group {
            job.answer(outcome.clone());
        }
    }
}

fn commit(pen: &mut impl Pen, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    pen.begin()?;
    for job in group {
        pen.run("SAVEPOINT job")?;
        let keep = job.run(&Tx::new(pen.engine()?));
        pen.check()?;
        pen.run(if keep {
            "RELEASE job"
        } else {
            "ROLLBACK TO job; RELEASE job"
        })?;
    }
    pen.commit()
}
