//! An isolation without walls: it keeps what it was asked, serves doors on loopback, and lets an
//! inspector say whatever a test wants it to say.

use ringfence_admit::ScanReport;
use ringfence_core::error::{ErrorCode, Explained};
use ringfence_core::ids::{ProjectId, SandboxId};
use ringfence_core::isolation::{
    Attestation, Door, Ended, ExecRequest, ProcessEvidence, Program, SandboxStats, Spec, Wall,
    WallState,
};
use ringfence_core::ports::{Adopted, AdoptedExec, BoxFuture, Isolation, Running, Sandbox};
use ringfence_server::admission::ScanRequest;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

type Alteration = Box<dyn Fn(&mut ScanReport) + Send + Sync>;

/// What an inspector worker does.
pub(crate) enum Inspection {
    /// Scans the mounted folder for real.
    Real,
    /// Scans for real; the test changes what is reported.
    Altered(Alteration),
    /// Says these octets and ends like this.
    Says(Vec<u8>, Vec<u8>, Ended),
    /// Ends without reading its request.
    Deaf,
    /// Cannot be started.
    Absent,
}

pub(crate) struct Fence {
    pub(crate) inspection: Arc<Mutex<Inspection>>,
    pub(crate) cells: Mutex<Vec<Arc<Cell>>>,
    /// What every sandbox says of its walls.
    pub(crate) evidence: Mutex<String>,
    /// Whether the next assistant's sandbox cannot be started.
    pub(crate) broken: Mutex<bool>,
}

pub(crate) struct Cell {
    pub(crate) spec: Spec,
    pub(crate) execs: Mutex<Vec<ExecRequest>>,
    attestation: Attestation,
    listeners: Vec<(Door, TcpListener)>,
    doors: Mutex<Vec<(Door, OwnedFd)>>,
    closed: watch::Sender<bool>,
    pub(crate) frozen: watch::Sender<bool>,
    /// How often freezing and thawing fails before it works.
    pub(crate) stubborn: Mutex<u32>,
    inspection: Arc<Mutex<Inspection>>,
}

impl Fence {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inspection: Arc::new(Mutex::new(Inspection::Real)),
            cells: Mutex::default(),
            evidence: Mutex::new("tried".to_owned()),
            broken: Mutex::new(false),
        })
    }

    pub(crate) fn inspect_with(&self, inspection: Inspection) {
        *self.inspection.lock().unwrap() = inspection;
    }

    /// Sandboxes whose id begins like this.
    pub(crate) fn named(&self, prefix: &str) -> Vec<Arc<Cell>> {
        let cells = self.cells.lock().unwrap();
        let named = |c: &&Arc<Cell>| c.spec.id.as_str().starts_with(prefix);
        cells.iter().filter(named).cloned().collect()
    }

    /// Sandboxes that were not closed.
    pub(crate) fn open(&self) -> Vec<Arc<Cell>> {
        let cells = self.cells.lock().unwrap();
        cells.iter().filter(|c| !c.is_closed()).cloned().collect()
    }

    /// Puts a sandbox there as if an earlier server had started it.
    pub(crate) fn leave_behind(&self, id: &str, project: &str) -> Arc<Cell> {
        let mut spec = Spec::new(id.parse().unwrap(), project.parse().unwrap());
        if id.starts_with("app-") {
            spec.doors = vec![Door::stream("gateway", 8081), Door::stream("exec", 8082)];
        }
        let cell = Arc::new(self.cell(spec));
        self.cells.lock().unwrap().push(Arc::clone(&cell));
        cell
    }

    fn cell(&self, spec: Spec) -> Cell {
        let evidence = self.evidence.lock().unwrap().clone();
        let state = |wall: &Wall| WallState {
            wall: *wall,
            stands: *wall != Wall::Landlock,
            evidence: evidence.clone(),
            remedy: (*wall == Wall::Landlock).then(|| evidence.clone()),
        };
        let listeners: Vec<_> = spec
            .doors
            .iter()
            .map(|door| (door.clone(), TcpListener::bind("127.0.0.1:0").unwrap()))
            .collect();
        Cell {
            attestation: Attestation {
                walls: Wall::ALL.iter().map(state).collect(),
                start_us: 1,
            },
            doors: Mutex::new(handed(&listeners)),
            listeners,
            spec,
            execs: Mutex::default(),
            closed: watch::Sender::new(false),
            frozen: watch::Sender::new(false),
            stubborn: Mutex::new(0),
            inspection: Arc::clone(&self.inspection),
        }
    }
}

fn handed(listeners: &[(Door, TcpListener)]) -> Vec<(Door, OwnedFd)> {
    let clone = |(door, l): &(Door, TcpListener)| (door.clone(), l.try_clone().unwrap().into());
    listeners.iter().map(clone).collect()
}

impl Isolation for Fence {
    fn start(&self, spec: Spec) -> BoxFuture<'_, Result<Arc<dyn Sandbox>, Explained>> {
        Box::pin(async move {
            if spec.id.as_str().starts_with("app-") && *self.broken.lock().unwrap() {
                return Err(gone("the walls do not stand"));
            }
            let cell = Arc::new(self.cell(spec));
            self.cells.lock().unwrap().push(Arc::clone(&cell));
            Ok(cell as Arc<dyn Sandbox>)
        })
    }

    fn adopt(&self) -> BoxFuture<'_, Result<Vec<Adopted>, Explained>> {
        Box::pin(async move {
            let left = self.open().into_iter().map(|cell| {
                *cell.doors.lock().unwrap() = handed(&cell.listeners);
                Adopted {
                    spec: cell.spec.clone(),
                    execs: cell.outlived(),
                    sandbox: cell,
                }
            });
            Ok(left.collect())
        })
    }
}

fn gone(what: &str) -> Explained {
    Explained::new(ErrorCode("run/gone"), what, "start another")
}

impl Cell {
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Where a door can be reached by the test, which plays the program inside.
    pub(crate) fn door(&self, name: &str) -> SocketAddr {
        let door = self.listeners.iter().find(|(d, _)| d.name == name);
        door.unwrap().1.local_addr().unwrap()
    }

    /// The hosted program, if it was started: it goes on, and its output goes to who asks now.
    fn outlived(&self) -> Vec<AdoptedExec> {
        if self.execs.lock().unwrap().is_empty() {
            return Vec::new();
        }
        let (stdout, mut output) = std::io::pipe().unwrap();
        let (stderr, complaint) = std::io::pipe().unwrap();
        output.write_all(b"the assistant goes on\n").unwrap();
        let mut closed = self.closed.subscribe();
        vec![AdoptedExec {
            exec_id: 1,
            stdout: stdout.into(),
            stderr: stderr.into(),
            ended: Box::pin(async move {
                let _open = (output, complaint);
                let _gone = closed.wait_for(|c| *c).await.is_err();
                Ended::Signaled(9)
            }),
        }]
    }

    fn folder(&self) -> &Path {
        &self.spec.mounts.first().unwrap().source
    }

    fn run(&self, request: ExecRequest) -> Result<Running, Explained> {
        let program = request.program.clone();
        self.execs.lock().unwrap().push(request);
        let (mut input, stdin) = std::io::pipe().unwrap();
        let (stdout, mut output) = std::io::pipe().unwrap();
        let (stderr, mut complaint) = std::io::pipe().unwrap();
        let ended: BoxFuture<'static, Ended> = match program {
            Program::Command(_) => {
                let mut closed = self.closed.subscribe();
                output.write_all(b"the assistant listens\n").unwrap();
                Box::pin(async move {
                    // Both pipes stay open as long as the program lives.
                    let _open = (output, complaint, input);
                    let _gone = closed.wait_for(|c| *c).await.is_err();
                    Ended::Signaled(9)
                })
            }
            Program::Ringfence(_) => {
                if matches!(*self.inspection.lock().unwrap(), Inspection::Absent) {
                    return Err(gone("no such program"));
                }
                let (done, end) = oneshot::channel();
                let (inspection, folder) = (Arc::clone(&self.inspection), self.folder().to_owned());
                std::thread::spawn(move || {
                    let mut request = Vec::new();
                    if !matches!(*inspection.lock().unwrap(), Inspection::Deaf) {
                        input.read_to_end(&mut request).unwrap();
                    }
                    drop(input);
                    let (said, complained, ended) =
                        say(&inspection.lock().unwrap(), &folder, &request);
                    output.write_all(&said).unwrap();
                    complaint.write_all(&complained).unwrap();
                    drop((output, complaint));
                    done.send(ended).unwrap();
                });
                Box::pin(async move { end.await.unwrap_or(Ended::Lost) })
            }
        };
        Ok(Running {
            exec_id: 1,
            stdin: stdin.into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
            ended,
        })
    }
}

fn say(inspection: &Inspection, folder: &Path, request: &[u8]) -> (Vec<u8>, Vec<u8>, Ended) {
    let scan = || {
        let request: ScanRequest = serde_json::from_slice(request).unwrap();
        ringfence_admit::scan(folder, &request.options(), &mut |_| {}).unwrap()
    };
    let report = match inspection {
        Inspection::Real => scan(),
        Inspection::Altered(change) => {
            let mut report = scan();
            change(&mut report);
            report
        }
        Inspection::Says(out, err, ended) => return (out.clone(), err.clone(), *ended),
        Inspection::Deaf | Inspection::Absent => return (Vec::new(), Vec::new(), Ended::Exited(0)),
    };
    (
        serde_json::to_vec(&report).unwrap(),
        Vec::new(),
        Ended::Exited(0),
    )
}

/// One answer of the hosted program, on a connection that only it and the caller see.
fn app_connection() -> OwnedFd {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    std::thread::spawn(move || {
        let mut head = Vec::new();
        let mut octet = [0];
        while !head.ends_with(b"\r\n\r\n") && far.read(&mut octet).unwrap() == 1 {
            head.push(octet[0]);
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        far.write_all(answer.as_bytes()).unwrap();
    });
    near.into()
}

impl Sandbox for Cell {
    fn id(&self) -> &SandboxId {
        &self.spec.id
    }
    fn project(&self) -> &ProjectId {
        &self.spec.project
    }
    fn attestation(&self) -> &Attestation {
        &self.attestation
    }
    fn take_doors(&self) -> Vec<(Door, OwnedFd)> {
        std::mem::take(&mut *self.doors.lock().unwrap())
    }
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Running, Explained>> {
        Box::pin(async move { self.run(request) })
    }
    fn connect(&self, _port: u16) -> BoxFuture<'_, Result<OwnedFd, Explained>> {
        Box::pin(async { Ok(app_connection()) })
    }
    fn signal(&self, _exec_id: u64, _signal: i32) -> BoxFuture<'_, Result<(), Explained>> {
        Box::pin(async { Ok(()) })
    }
    fn freeze(&self, frozen: bool) -> BoxFuture<'_, Result<(), Explained>> {
        Box::pin(async move {
            let mut left = self.stubborn.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Err(gone("the group did not answer"));
            }
            self.frozen.send_replace(frozen);
            Ok(())
        })
    }
    fn evidence(&self) -> BoxFuture<'_, Result<Vec<ProcessEvidence>, Explained>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn stats(&self) -> BoxFuture<'_, Result<SandboxStats, Explained>> {
        Box::pin(async {
            if self.is_closed() {
                return Err(gone("it was closed"));
            }
            Ok(SandboxStats {
                memory_bytes: 7,
                processes: 2,
                ..SandboxStats::default()
            })
        })
    }
    fn close(&self) -> BoxFuture<'_, Result<(), Explained>> {
        Box::pin(async {
            self.closed.send_replace(true);
            Ok(())
        })
    }
}
