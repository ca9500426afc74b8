//! The way out of hosted sandboxes, as the configuration has it.

use crate::app::App;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::SandboxId;
use ringfence_core::ports::Sandbox;
use ringfence_net::guard::Guard;
use ringfence_net::reach::Dialer;
use ringfence_net::resolver::{Resolver, servers_of};
use ringfence_sandbox::egress::{Egress, EgressConfig, EgressParts};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Where the host names its name servers. Read once; the role may read nothing else of /etc.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What connects for all sandboxes, and the way out of each.
pub struct WayOut {
    dialer: Arc<Dialer>,
    open: Mutex<Vec<Weak<Egress>>>,
}

impl WayOut {
    /// As the configuration has it. A list of hosts without a name server to ask is an error.
    pub fn of(config: &EgressConfig) -> Result<Self, Explained> {
        let mut servers = config.resolvers.clone();
        if servers.is_empty() && config.is_open() {
            servers = servers_of(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
        }
        if servers.is_empty() && config.is_open() {
            return Err(Explained::new(
                ErrorCode("config/no-resolver"),
                format!("hosts are listed under [egress], and {RESOLV_CONF} names no name server"),
                "name one: [egress] resolvers = [\"192.0.2.1:53\"]",
            ));
        }
        let guard = Guard::new(config.networks.clone());
        Ok(Self {
            dialer: Arc::new(Dialer::new(Resolver::new(servers), guard)),
            open: Mutex::default(),
        })
    }

    /// The way out of one sandbox.
    pub fn of_sandbox(&self, app: &App, sandbox: &dyn Sandbox) -> Arc<Egress> {
        let parts = EgressParts {
            project: sandbox.project().clone(),
            sandbox: sandbox.id().clone(),
            dialer: Arc::clone(&self.dialer),
            leaves: Arc::clone(&app.leaves),
            events: Arc::clone(&app.events),
            clock: Arc::clone(&app.clock),
        };
        let egress = Egress::new(app.config.egress.clone(), parts);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&egress));
        egress
    }

    /// The way out of a sandbox that lives.
    pub fn find(&self, sandbox: &SandboxId) -> Option<Arc<Egress>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut living = open.iter().filter_map(Weak::upgrade);
        living.find(|egress| egress.sandbox() == sandbox)
    }
}
