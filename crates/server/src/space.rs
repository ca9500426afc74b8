//! The space that the log has left, said when it gets less: before requests are refused for it.

use crate::app::App;
use ringfence_core::event::{Occurrence, Target};
use ringfence_record::log::Space;
use std::sync::Arc;
use std::time::Duration;

/// Milliseconds between two looks.
const ROUND_MS: u64 = 5_000;
/// The event of a log that has less space than before.
pub const LESS_SPACE: &str = "record.log.space";

/// Looks until the service stops.
pub fn keep_looking(app: &Arc<App>) {
    let looking = Arc::clone(app);
    app.tasks.add(async move {
        let mut known = Space::Ample;
        loop {
            tokio::select! {
                () = looking.tasks.stopped() => return,
                () = tokio::time::sleep(Duration::from_millis(ROUND_MS)) => {}
            }
            // A recorder that does not answer is somebody else's alert.
            if let Ok(state) = looking.recorder.state().await {
                if let Some(text) = alert(known, state.space) {
                    (looking.terminal)(&[text.to_owned()]);
                    let target = Target::Host;
                    let project = looking.project.clone();
                    let event = Occurrence::new(looking.now(), project, target, LESS_SPACE);
                    looking.events.emit(event.denied(None));
                }
                known = state.space;
            }
        }
    });
}

/// What to say when the space changed from one to another.
fn alert(before: Space, now: Space) -> Option<&'static str> {
    match (before, now) {
        (Space::Ample, Space::Low) => Some(
            "alert: the disk of the log is nearly full; free space before requests are refused",
        ),
        (Space::Ample | Space::Low, Space::Reserve) => Some(
            "alert: the disk of the log is full: new requests are refused, decisions are still \
             recorded from the reserve; free space in the state directory",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_space_is_said_once_and_more_is_no_alert() {
        let [ample, low, reserve] = [Space::Ample, Space::Low, Space::Reserve];
        assert!(alert(ample, low).unwrap().contains("nearly full"));
        for before in [ample, low] {
            assert!(alert(before, reserve).unwrap().contains("refused"));
        }
        for (before, now) in [(low, low), (reserve, reserve), (reserve, low), (low, ample)] {
            assert_eq!(alert(before, now), None);
        }
    }
}
