//! What leaves a sandbox, traced in a network where the Internet is the test's own.
//!
//! The test starts itself again in a network namespace of its own, where a public server, a cloud's
//! metadata service, a private server and a name server are addresses of its loopback. Nothing can
//! leave that namespace, whatever fails. Each attack runs in a sandbox behind the way out, and once
//! more with the control off: without a sandbox, or behind a way out that checks nothing. What
//! counts is the octets that arrive.

mod attacks;
mod internet;

use crate::support::{print_of, privileged, spec};
use attacks::{ATTACKS, Attack, Off, PRELUDE};
use internet::Internet;
use ringfence_core::digest::Digest;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::event::Occurrence;
use ringfence_core::leaf::Leaf;
use ringfence_core::ports::{BoxFuture, Clock, EventSink, LeafSink, LeafSlot, Receipt};
use ringfence_core::time::Timestamp;
use ringfence_net::guard::Guard;
use ringfence_net::reach::Dialer;
use ringfence_net::resolver::Resolver;
use ringfence_sandbox::egress::{self, Egress, EgressConfig, EgressParts};
use ringfence_sandbox::zygote::{Started, Zygote};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Says to the test that it runs in the namespace that was made for it.
const INSIDE: &str = "RINGFENCE_TEST_OWN_NETWORK";

/// Runs one test of this binary in a network namespace of its own, and shows what it printed.
/// Returns whether this is that run.
fn in_own_network(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = Command::new("/usr/bin/unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// Log, events and clock of a way out.
#[derive(Default)]
struct Records {
    leaves: Mutex<Vec<String>>,
    events: Mutex<Vec<Occurrence>>,
    more: Condvar,
}

impl LeafSink for Records {
    fn append(&self, leaf: Leaf) -> BoxFuture<'_, Result<Receipt, Explained>> {
        self.leaves.lock().unwrap().push(leaf.object);
        let leaf_hash = Digest([0; 32]);
        Box::pin(async move {
            Ok(Receipt {
                index: 0,
                leaf_hash,
                promise: String::new(),
            })
        })
    }

    fn offer(&self) -> Result<Box<dyn LeafSlot>, Explained> {
        Err(Explained::new(ErrorCode("record/io"), "unused", "unused"))
    }
}

impl EventSink for Records {
    fn emit(&self, occurrence: Occurrence) {
        self.events.lock().unwrap().push(occurrence);
        self.more.notify_all();
    }
}

impl Clock for Records {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }
}

/// A sandbox with its way out served.
struct Hosted {
    live: Started,
    records: Arc<Records>,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// Whether the way out checks anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walls {
    Stand,
    Off,
}

impl Hosted {
    fn start(zygote: &Zygote, runtime: &Runtime, walls: Walls) -> Self {
        let config = EgressConfig {
            hosts: ["good.example", "*.good.example"]
                .map(|h| h.parse().unwrap())
                .to_vec(),
            transparent: true,
            ..EgressConfig::default()
        };
        let mut wanted = spec();
        wanted.doors = egress::doors(&config);
        let mut live = zygote.start(&wanted).unwrap();
        let guard = match walls {
            Walls::Stand => Guard::default(),
            Walls::Off => Guard::danger_off(),
        };
        let records = Arc::new(Records::default());
        let parts = EgressParts {
            project: wanted.project.clone(),
            sandbox: wanted.id.clone(),
            dialer: Arc::new(Dialer::new(Resolver::new([internet::names()]), guard)),
            leaves: Arc::clone(&records) as _,
            events: Arc::clone(&records) as _,
            clock: Arc::clone(&records) as _,
        };
        let egress = match walls {
            Walls::Stand => Egress::new(config, parts),
            Walls::Off => Egress::danger_unchecked(config, parts),
        };
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (door, socket) in std::mem::take(&mut live.doors) {
            let serving = Arc::clone(&egress).serve(door, socket, stopped.clone());
            tasks.spawn_on(async move { serving.await.unwrap() }, runtime.handle());
        }
        Self {
            live,
            records,
            _stop: stop,
            _tasks: tasks,
        }
    }

    fn run(&mut self, script: &str) -> String {
        print_of(&mut self.live, script)
    }

    fn codes(&self) -> Vec<String> {
        codes(&self.records.events.lock().unwrap())
    }

    /// The codes after the first so many, waiting for one if one is expected: a client may hear of
    /// its end a moment before the event is there.
    fn codes_after(&self, seen: usize, expected: bool) -> Vec<String> {
        let events = self.records.events.lock().unwrap();
        let missing = |events: &mut Vec<Occurrence>| expected && codes(events).len() == seen;
        let limit = Duration::from_secs(5);
        let waited = self.records.more.wait_timeout_while(events, limit, missing);
        let mut new = codes(&waited.unwrap().0).split_off(seen);
        new.dedup();
        new
    }
}

fn codes(events: &[Occurrence]) -> Vec<String> {
    let codes = events.iter().filter_map(|o| o.detail.get("code")?.as_str());
    codes.map(str::to_owned).collect()
}

/// Runs the same Python in the namespace of the test, without any sandbox.
fn outside(script: &str) {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
}

fn script(attack: &Attack, marker: &str) -> String {
    format!("{PRELUDE}\nMARK = '{marker}'\n{}", attack.script)
}

#[test]
fn the_trace() {
    if !privileged() || !in_own_network("egress::the_trace") {
        return;
    }
    let internet = Internet::start(&[25, 80, 443]);
    let runtime = Runtime::new().unwrap();
    let zygote = Zygote::launch(crate::support::options()).unwrap();
    let mut walled = Hosted::start(&zygote, &runtime, Walls::Stand);
    let mut events = Vec::new();
    for (n, attack) in ATTACKS.iter().enumerate() {
        let before = walled.codes().len();
        let said = walled.run(&script(attack, &format!("exfil{n}w")));
        assert_eq!(said, "done", "{}", attack.name);
        events.push(walled.codes_after(before, !attack.events.is_empty()));
    }
    // A request that is allowed, after all others: when it has arrived, they would have.
    let allowed = format!("{PRELUDE}\nrequest('http://good.example/last-of-all')\nprint('done')");
    assert_eq!(walled.run(&allowed), "done");
    assert!(internet.wait_for("last-of-all") > 0);

    let mut open = Hosted::start(&zygote, &runtime, Walls::Off);
    println!("{:<44} {:>6} {:>9}  event", "attack", "walls", "walls off");
    let mut failed = Vec::new();
    for (n, (attack, codes)) in ATTACKS.iter().zip(&events).enumerate() {
        let marker = format!("exfil{n}c");
        match attack.off {
            Off::Sandbox => outside(&script(attack, &marker)),
            Off::Checks => assert_eq!(open.run(&script(attack, &marker)), "done"),
        }
        let (with, without) = (
            internet.arrived(&format!("exfil{n}w")),
            internet.wait_for(&marker),
        );
        let event = if codes.is_empty() {
            "silent".to_owned()
        } else {
            codes.join(" ")
        };
        println!("{:<44} {with:>6} {without:>9}  {event}", attack.name);
        if with > 0 || without == 0 || codes != attack.events {
            failed.push(attack.name);
        }
    }
    walled.live.kill_and_wait().unwrap();
    open.live.kill_and_wait().unwrap();
    assert_eq!(failed, Vec::<&str>::new());
}

/// Programs as they are: curl and Python's urllib, with the proxy and knowing none, over HTTP and
/// TLS with a certificate of the host.
#[test]
fn real_clients_reach_an_allowed_host_and_no_other() {
    if !privileged() || !in_own_network("egress::real_clients_reach_an_allowed_host_and_no_other") {
        return;
    }
    let _internet = Internet::start(&[80]);
    let tls = internet::TlsServer::start();
    let runtime = Runtime::new().unwrap();
    let zygote = Zygote::launch(crate::support::options()).unwrap();
    let mut hosted = Hosted::start(&zygote, &runtime, Walls::Stand);
    let mut shell = |command: &str| {
        let script = format!(
            "import subprocess\nr = subprocess.run({command:?}, shell=True, capture_output=True, \
             text=True)\nprint(r.returncode, r.stdout.strip())"
        );
        hosted.run(&script)
    };
    let proxy = "-x http://127.0.0.1:8083";
    for manner in [proxy, ""] {
        let curl = |url: &str| format!("curl -sk -m 10 {manner} {url}");
        assert_eq!(shell(&curl("http://good.example/")), "0 ok", "{manner}");
        assert_eq!(
            shell(&curl("https://good.example/")),
            "0 secret ok",
            "{manner}"
        );
        assert_ne!(
            shell(&curl("https://evil.example/")).chars().next(),
            Some('0'),
            "{manner}"
        );
        // The right address for the wrong name, and the other way round.
        let named = "--resolve evil.example:443:198.18.0.1 https://evil.example/";
        assert_ne!(shell(&curl(named)).chars().next(), Some('0'), "{manner}");
    }
    let python = "import ssl, urllib.request as u\n\
        c = ssl._create_unverified_context()\n\
        print(u.urlopen('http://good.example/').read(), end=' ')\n\
        print(u.urlopen('https://good.example/', context=c).read(), end=' ')";
    assert_eq!(hosted.run(python), "b'ok' b'secret ok'");
    let with_proxy = format!(
        "import os\nfor n in ('http_proxy', 'https_proxy'): os.environ[n] = 'http://127.0.0.1:8083'\n{python}"
    );
    assert_eq!(hosted.run(&with_proxy), "b'ok' b'secret ok'");
    let mut used = hosted.records.leaves.lock().unwrap().clone();
    used.sort();
    assert_eq!(used, ["good.example:443", "good.example:80"]);
    drop(tls);
    hosted.live.kill_and_wait().unwrap();
}
