//! Tasks that somebody waits for.
//!
//! A task that nobody awaits outlives what it works on and hides its panic. Everything the server
//! runs in the background is added to one [`TaskGroup`], which is told to stop and then awaited.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// LIMIT: milliseconds that tasks get to end after they were told to.
pub const STOP_MS_MAX: u64 = 8_000;

/// A set of tasks with one stop signal.
pub struct TaskGroup {
    tasks: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self {
            tasks: Mutex::default(),
            stop: watch::Sender::new(false),
        }
    }
}

impl TaskGroup {
    /// Starts a task of the group.
    pub fn add(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(task);
    }

    /// Becomes true when the group is told to stop.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Tells every task to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when the group was told to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping();
        // The sender lives as long as `self`, so an error cannot come before the value.
        let _gone = stopping.wait_for(|stop| *stop).await.is_err();
    }

    /// Tells every task to stop and waits; what is left after [`STOP_MS_MAX`] is aborted. Returns
    /// the number of tasks that had to be aborted.
    pub async fn end(&self) -> usize {
        self.stop();
        let mut tasks = {
            let mut held = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held)
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_millis(STOP_MS_MAX), all)
            .await
            .is_ok()
        {
            return 0;
        }
        let left = tasks.len();
        tasks.shutdown().await;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn tasks_that_listen_end_by_themselves() {
        let group = Arc::new(TaskGroup::default());
        let ended = Arc::new(AtomicBool::new(false));
        let (listener, flag) = (Arc::clone(&group), Arc::clone(&ended));
        group.add(async move {
            listener.stopped().await;
            flag.store(true, Ordering::SeqCst);
        });
        assert_eq!(group.end().await, 0);
        assert!(ended.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_listen_is_aborted_after_the_limit() {
        let group = TaskGroup::default();
        group.add(std::future::pending());
        assert_eq!(group.end().await, 1);
    }
}
