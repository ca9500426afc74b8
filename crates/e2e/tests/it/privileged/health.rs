//! An assistant that lives and does not answer.

use ringfence_e2e::{Host, wait};

/// Answers until it is asked to hang; a fresh one answers again.
const HANGING: &str = r#"
import http.server, time, uuid

BORN = uuid.uuid4().hex.encode()
HANGS = False


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global HANGS
        HANGS |= self.path == "/hang"
        while HANGS and self.path == "/health":
            time.sleep(1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(BORN)))
        self.end_headers()
        self.wfile.write(BORN)


http.server.ThreadingHTTPServer(("127.0.0.1", 8090), Handler).serve_forever()
"#;

fn host(health: &str) -> Host {
    let host = Host::prepare(health);
    std::fs::write(host.project().join("assistant.py"), HANGING).unwrap();
    host.started()
}

#[test]
fn an_assistant_that_hangs_is_started_again_and_one_that_is_not_asked_hangs_on() {
    let asked = host("[health]\npath = \"/health\"\ninterval_s = 1\nfailures_max = 1");
    let born = |host: &Host, path: &str| {
        let caller = host.caller();
        let ask = || caller.get(&format!("/apps/helpdesk/{path}"));
        wait::settled("an answer", 20, ask, |r| r.status != 502).body
    };
    let first = born(&asked, "hang");
    // The control: the default looks every 30 s, and a connection is enough for it.
    let alone = host("");
    let same = born(&alone, "hang");
    let started_again = || (born(&asked, "") != first).then_some(());
    wait::until("a fresh assistant", 30, started_again);
    assert_eq!(born(&alone, ""), same, "nobody asked, nobody was killed");
}
