//! Roles that die: what lives on, what comes back, and that nothing acknowledged is lost.

use super::log::verify_copy;
use ringfence_e2e::caller::Caller;
use ringfence_e2e::process::{self, Process};
use ringfence_e2e::{Host, python, wait, workspace};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The supervisor ends everything when a role dies more often than this in [`WINDOW`].
const DEATHS_MAX: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
/// The load must not trip the breaker: it is not what is tested here.
pub(super) const PATIENT: &str = "[watch]\nrequests_per_second_max = 6000\ndenials_max = 60000\n\
    [gateway.limits]\ndoor_requests_per_minute = 60000";
/// Port of the gateway's door inside the sandbox.
const DOOR: &str = "8081";

/// A host with limits that a load does not meet. `[gateway]` is already there, so the limits go
/// below it.
fn patient_host() -> Host {
    Host::up(PATIENT)
}

/// Sends prompts and makes keys from a few threads until it is dropped.
struct Load {
    shared: Arc<Shared>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    resting: AtomicBool,
    answered: AtomicU64,
    /// Keys that may still be made in this round.
    keys_left: AtomicU64,
    made: Mutex<Vec<String>>,
}

/// LIMIT: keys of the load in one round; a project may have a thousand in all.
const KEYS_A_ROUND: u64 = 15;

impl Load {
    fn start(host: &Host, caller: &Caller) -> Self {
        let shared = Arc::new(Shared::default());
        let work = |turn: Box<dyn Fn(&Shared) + Send>| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    if shared.resting.load(Ordering::Relaxed) {
                        std::thread::park_timeout(Duration::from_millis(20));
                    } else {
                        turn(&shared);
                    }
                }
            })
        };
        let chat = |caller: Caller| {
            work(Box::new(move |shared: &Shared| {
                if caller.chat("What does the assistant do?").status == 200 {
                    shared.answered.fetch_add(1, Ordering::Relaxed);
                }
            }))
        };
        let state = host.state();
        let keys = work(Box::new(move |shared: &Shared| {
            if shared.keys_left.load(Ordering::Relaxed) == 0 {
                std::thread::park_timeout(Duration::from_millis(20));
            } else if let Some(id) = make_key(&state) {
                shared.made.lock().unwrap().push(id);
                shared.keys_left.fetch_sub(1, Ordering::Relaxed);
            }
        }));
        let threads = vec![chat(caller.clone()), chat(caller.clone()), keys];
        Self { shared, threads }
    }

    fn rest(&self) {
        self.shared.resting.store(true, Ordering::Relaxed);
    }

    fn go_on(&self) {
        self.shared.keys_left.store(KEYS_A_ROUND, Ordering::Relaxed);
        self.shared.resting.store(false, Ordering::Relaxed);
    }

    fn keys(&self) -> Vec<String> {
        self.shared.made.lock().unwrap().clone()
    }

    fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "a thread of the load panicked"
            );
        }
    }
}

/// Makes a key; its id if that was acknowledged.
fn make_key(state: &std::path::Path) -> Option<String> {
    let output = Command::new(ringfence_e2e::binary())
        .arg("--state")
        .arg(state)
        .args(["--json", "key", "create", "--name", "load"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| made["id"].as_str().unwrap().to_owned())
}

/// Kills server and recorder in turn, under load, and looks at everything after each.
pub(super) fn crash_rounds(rounds: usize) {
    let host = patient_host();
    let caller = host.caller();
    let load = Load::start(&host, &caller);
    let mut seen: Vec<Value> = Vec::new();
    let mut deaths: BTreeMap<&str, VecDeque<Instant>> = BTreeMap::new();
    for round in 0..rounds {
        let name = if round % 2 == 0 { "server" } else { "recorder" };
        let times = deaths.entry(name).or_default();
        load.rest();
        wait::until("a place in the supervisor's window", 70, || {
            times.retain(|t| t.elapsed() < WINDOW);
            (times.len() < DEATHS_MAX).then_some(())
        });
        load.go_on();
        let (answered, keys) = (load.answered(), load.keys().len());
        let busy = || (load.answered() > answered && load.keys().len() > keys).then_some(());
        wait::until("a load", 20, busy);
        one_crash(&host, &caller, name);
        // Noted after the supervisor noted it, so that its window is over when this one is.
        times.push_back(Instant::now());
        // What was acknowledged before the look must be in it.
        let keys = load.keys();
        seen = compare(&seen, host.leaves(), &keys);
        verify_copy(&host);
    }
    let recovered = seen
        .iter()
        .filter(|l| l["action"] == "service.recover")
        .count();
    assert_eq!(
        recovered,
        rounds.div_ceil(2),
        "a recovery of the server without a leaf"
    );
}

fn one_crash(host: &Host, caller: &Caller, name: &str) {
    let assistant = host.assistant().expect("an assistant");
    let before = host.role(name).expect("the role");
    process::signal(before.pid, "KILL");
    let after = wait::until("the role comes back", 20, || {
        host.role(name).filter(|p| *p != before)
    });
    assert_ne!(after.pid, before.pid);
    let what = format!("an answer after the {name} was killed");
    wait::settled(
        &what,
        20,
        || caller.chat("What is this?"),
        |r| r.status == 200,
    );
    wait::until("a key after a crash", 20, || make_key(&host.state()));
    assert_eq!(
        host.assistant(),
        Some(assistant),
        "the assistant did not live on"
    );
}

/// Every leaf seen before stands where it stood, and every acknowledged key has its leaf.
fn compare(before: &[Value], now: Vec<Value>, keys: &[String]) -> Vec<Value> {
    assert!(
        now.len() >= before.len(),
        "{} leaves of {} are left",
        now.len(),
        before.len()
    );
    for (index, leaf) in before.iter().enumerate() {
        assert_eq!(&now[index], leaf, "leaf {index} changed");
    }
    let created = now.iter().filter(|l| l["action"] == "key.create");
    let created: BTreeSet<&str> = created.filter_map(|l| l["object"].as_str()).collect();
    for key in keys {
        let object = format!("key:{key}");
        assert!(
            created.contains(object.as_str()),
            "{object} was acknowledged and has no leaf"
        );
    }
    now
}

/// Asks the gateway's door from inside a sandbox and keeps every change of the answer.
struct DoorWatch {
    child: Child,
    seen: Arc<Mutex<Vec<String>>>,
}

impl DoorWatch {
    fn start(assistant: &Process) -> Self {
        let mut child = Command::new("nsenter")
            .args(["--net", "--target", &assistant.pid.to_string()])
            .arg(python())
            .arg(workspace().join("crates/e2e/scripts/door_watch.py"))
            .arg(DOOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (
            BufReader::new(child.stdout.take().unwrap()).lines(),
            Arc::clone(&seen),
        );
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|l| kept.lock().unwrap().push(l));
        });
        Self { child, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for DoorWatch {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.child.kill().is_ok() {
            let _status = self.child.wait();
        }
    }
}

#[test]
fn while_the_server_is_gone_doors_answer_503_and_then_the_sandbox_is_adopted() {
    let host = patient_host();
    let watch = DoorWatch::start(&host.assistant().expect("an assistant"));
    let look = || watch.seen();
    wait::settled("the door answers", 10, look, |s| {
        s.last().is_some_and(|l| l == "200")
    });
    one_crash(&host, &host.caller(), "server");
    let seen = wait::settled("the door answers again", 20, look, |s| {
        s.len() > 1 && s.last().is_some_and(|l| l == "200")
    });
    assert!(
        seen.contains(&"503 run/server-restarting".to_owned()),
        "{seen:?}"
    );
    let sandboxes = host.json(&["ps"]);
    assert_eq!(sandboxes.as_array().map(Vec::len), Some(1), "{sandboxes}");
}

#[test]
fn supervisor_killed_means_every_sandbox_process_is_gone() {
    let host = Host::up("");
    let supervisor = host.supervisor().expect("a supervisor");
    let below = process::descendants(supervisor.pid);
    for words in [
        &["role", "server"][..],
        &["role", "recorder"],
        &["python3", "assistant.py"],
    ] {
        assert!(
            below.iter().any(|p| p.says(words)),
            "no {words:?} in {below:?}"
        );
    }
    let size = host.leaves().len();
    process::signal(supervisor.pid, "KILL");
    let left = || {
        below
            .iter()
            .filter(|p| p.runs())
            .cloned()
            .collect::<Vec<Process>>()
    };
    wait::settled("everything is gone", 10, left, Vec::is_empty);
    // What was recorded is still there, and the same state can be started again.
    let project = host.project();
    host.run(&["up", "-d", project.to_str().unwrap()]).ok();
    assert!(host.leaves().len() > size);
    host.run(&["log", "verify"]).ok();
}

#[test]
fn a_recorder_that_keeps_dying_ends_the_service_and_says_so() {
    let host = Host::up("");
    let supervisor = host.supervisor().expect("a supervisor");
    for death in 0..=DEATHS_MAX {
        let recorder = wait::until("a recorder", 20, || host.role("recorder"));
        process::signal(recorder.pid, "KILL");
        if death < DEATHS_MAX {
            wait::until("another", 20, || {
                host.role("recorder").filter(|p| *p != recorder)
            });
        }
    }
    wait::until("the supervisor gives up", 20, || {
        (!supervisor.runs()).then_some(())
    });
    let said = std::fs::read_to_string(host.state().join("up.log")).unwrap();
    assert!(said.contains("error[run/role-keeps-dying]"), "{said}");
    assert!(said.contains("the recorder role died"), "{said}");
    assert_eq!(host.processes(), [], "something was left running");
}

#[test]
fn a_zygote_that_dies_takes_the_service_with_it_and_says_so() {
    let host = Host::up("");
    let supervisor = host.supervisor().expect("a supervisor");
    let below = process::descendants(supervisor.pid);
    let parent = |p: &&Process| p.says(&["role", "zygote"]);
    let zygote = below
        .iter()
        .filter(parent)
        .min_by_key(|p| p.start)
        .expect("a zygote");
    process::signal(zygote.pid, "KILL");
    wait::until("the supervisor ends", 20, || {
        (!supervisor.runs()).then_some(())
    });
    let left = || {
        below
            .iter()
            .filter(|p| p.runs())
            .cloned()
            .collect::<Vec<Process>>()
    };
    wait::settled("everything is gone", 10, left, Vec::is_empty);
    let said = std::fs::read_to_string(host.state().join("up.log")).unwrap();
    assert!(
        said.contains("error[run/zygote-lost]") && said.contains("help: "),
        "{said}"
    );
    let project = host.project();
    host.run(&["up", "-d", project.to_str().unwrap()]).ok();
}
