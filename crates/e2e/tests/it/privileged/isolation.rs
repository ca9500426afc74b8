//! What one request leaves behind for the next, with one sandbox for all and with one for each.

use ringfence_e2e::caller::Caller;
use ringfence_e2e::{Host, wait};
use serde_json::Value;
use std::collections::BTreeSet;

/// An assistant that leaves a canary in every place it can write, and looks for them.
const CANARIES: &str = r#"
import http.server, json, os, socket, subprocess, sys, uuid

BORN = uuid.uuid4().hex
MEMORY = []
FILES = {"tmp": "/tmp/canary", "var-tmp": "/var/tmp/canary2", "dev-shm": "/dev/shm/canary"}
CHILD = (
    "import socket, time\n"
    "s = socket.create_server(('127.0.0.1', 9999))\n"
    "print('there', flush=True)\n"
    "time.sleep(1000)"
)


def leave():
    MEMORY.append("canary")
    os.environ["CANARY"] = "1"
    for path in FILES.values():
        with open(path, "w") as file:
            file.write("canary")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, start_new_session=True
    )
    child.stdout.readline()
    return look()


def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                yield file.read()
        except OSError:
            pass


def look():
    found = {name: os.path.exists(path) for name, path in FILES.items()}
    found["memory"] = bool(MEMORY)
    found["environment"] = "CANARY" in os.environ
    found["process"] = any(b"create_server" in line for line in processes())
    with socket.socket() as probe:
        found["port"] = probe.connect_ex(("127.0.0.1", 9999)) == 0
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = leave() if self.path == "/leave" else look()
        body = json.dumps({"born": BORN, "found": found}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", 8090), Handler).serve_forever()
"#;

/// LIMIT: requests after the one that left the canaries.
const LOOKS: usize = 4;

fn host(isolation: &str) -> Host {
    let host = Host::prepare("");
    let project = host.project();
    std::fs::write(project.join("assistant.py"), CANARIES).unwrap();
    let path = project.join("ringfence.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let port = "port = 8090\n";
    assert!(text.contains(port));
    let text = text.replace(port, &format!("{port}isolation = \"{isolation}\"\n"));
    std::fs::write(&path, text).unwrap();
    host.started()
}

fn ask(caller: &Caller, path: &str) -> Value {
    let path = format!("/apps/helpdesk/{path}");
    let ask = || caller.get(&path);
    let reply = wait::settled("an answer of the assistant", 20, ask, |r| r.status != 502);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Leaves canaries with one request; what each place shows to those after it, and who answered.
fn leave_and_look(isolation: &str) -> (Vec<Value>, BTreeSet<String>, Host) {
    let host = host(isolation);
    let caller = host.caller();
    let left = ask(&caller, "leave");
    let places = left["found"].as_object().unwrap();
    assert!(
        places.values().all(|there| *there == true),
        "a canary was not left: {left}"
    );
    let mut born = BTreeSet::from([left["born"].as_str().unwrap().to_owned()]);
    let mut looks = Vec::new();
    for _ in 0..LOOKS {
        let looked = ask(&caller, "look");
        born.insert(looked["born"].as_str().unwrap().to_owned());
        looks.push(looked["found"].clone());
    }
    (looks, born, host)
}

#[test]
fn what_one_request_leaves_is_absent_in_the_next_and_found_where_they_share_a_sandbox() {
    let (shared, one, _host) = leave_and_look("workload");
    let (apart, many, host) = leave_and_look("request");
    println!("{:<14}{:>10}{:>10}", "canary", "workload", "request");
    let found = |looks: &[Value], place: &str| looks.iter().filter(|l| l[place] == true).count();
    for place in shared[0].as_object().unwrap().keys() {
        let (with, without) = (found(&shared, place), found(&apart, place));
        println!("{place:<14}{with:>8}/{LOOKS}{without:>8}/{LOOKS}");
        assert_eq!((with, without), (LOOKS, 0), "{place}");
    }
    assert_eq!((one.len(), many.len()), (1, LOOKS + 1), "who answered");
    // Each instance that answered is gone, and its end is in the log.
    let ended = || {
        let leaves = host.leaves();
        let ended = leaves
            .iter()
            .filter(|l| l["action"] == "sandbox.stop" && l["detail"]["purpose"] == "request");
        (ended.count() > LOOKS).then_some(())
    };
    wait::until("the end of every instance that answered", 20, ended);
}
