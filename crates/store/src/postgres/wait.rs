//! Waits for a future on the calling thread, whatever that thread is: callers of the store block,
//! and some do so on a thread of a runtime, where that runtime's own `block_on` would panic.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The answer of `future`, or none after `limit_ms`. What the future waits for must be driven by
/// another thread.
pub(super) fn wait<T>(future: impl Future<Output = T>, limit_ms: u64) -> Option<T> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let end = Instant::now() + Duration::from_millis(limit_ms);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return Some(answer);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_another_thread_and_no_longer_than_the_limit() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(7));
        assert_eq!(wait(receiver, 60_000), Some(Ok(7)));
        other.join().unwrap().unwrap();
        assert_eq!(wait(std::future::pending::<()>(), 1), None);
    }
}
