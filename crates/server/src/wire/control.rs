//! What WATCH and RESPOND can do to what runs, as the port [`Control`].

use crate::app::App;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::event::Target;
use ringfence_core::ports::{BoxFuture, Control, ControlAction, Intervention};
use std::sync::Arc;

/// The running service.
pub struct Hands(pub Arc<App>);

impl Control for Hands {
    fn apply(&self, action: ControlAction) -> BoxFuture<'_, Result<(), Explained>> {
        Box::pin(async move {
            match (&action.intervention, &action.target) {
                (Intervention::Freeze, Target::Sandbox(_)) => self.freeze(&action, true).await,
                (Intervention::Thaw, Target::Sandbox(_)) => self.freeze(&action, false).await,
                (Intervention::CloseEgress, Target::Sandbox(_)) => self.close_egress(&action, true),
                (Intervention::OpenEgress, Target::Sandbox(_)) => self.close_egress(&action, false),
                (Intervention::Freeze, Target::Key(_)) => {
                    self.0.watch.breakers().freeze(&action.target);
                    Ok(())
                }
                (Intervention::Throttle, Target::Key(_) | Target::Sandbox(_)) => {
                    self.0.watch.breakers().throttle(&action.target);
                    Ok(())
                }
                (Intervention::Thaw, Target::Key(_)) => {
                    self.0.watch.breakers().thaw(&action.target);
                    Ok(())
                }
                (Intervention::RevokeKey, Target::Key(id)) => {
                    crate::service::keys::revoke(&self.0, "service", id.clone()).await
                }
                _ => Err(refused(&action)),
            }
        })
    }
}

impl Hands {
    async fn freeze(&self, action: &ControlAction, frozen: bool) -> Result<(), Explained> {
        let Target::Sandbox(id) = &action.target else {
            return Err(refused(action));
        };
        match self.0.sandbox().filter(|s| s.id() == id) {
            Some(sandbox) => sandbox.freeze(frozen).await,
            None => Err(refused(action)),
        }
    }
}

impl Hands {
    fn close_egress(&self, action: &ControlAction, closed: bool) -> Result<(), Explained> {
        let Target::Sandbox(id) = &action.target else {
            return Err(refused(action));
        };
        let egress = self.0.way_out.find(id).ok_or_else(|| refused(action))?;
        egress.close(closed);
        Ok(())
    }
}

fn refused(action: &ControlAction) -> Explained {
    Explained::new(
        ErrorCode("run/control-refused"),
        format!(
            "{:?} cannot be done to {:?}",
            action.intervention, action.target
        ),
        "nothing was changed; the target may be gone",
    )
}
