//! A `PostgreSQL` server of one's own: made for one test, reached over a Unix socket in a scratch
//! folder, with a password, with fsync on, and gone at the end, also when the test is killed.
//!
//! It is the real server of the Debian package `postgresql-15`. Without it every call fails with a
//! sentence that says so: a test that needs it cannot pass by leaving it out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// The superuser of the server.
pub const USER: &str = "ringfence";
/// Its password.
pub const PASSWORD: &str = "correct horse:battery/staple";
/// The oldest major release that is used.
const MAJOR_MIN: u32 = 15;
/// LIMIT: attempts to start after a kill: the old processes may still hold its memory.
const STARTS_MAX: u32 = 100;
/// What the server says when it can be asked.
const READY: &str = "database system is ready to accept connections";

/// The programs of the newest installed release.
pub fn programs() -> Result<PathBuf, String> {
    let found = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|major| *major >= MAJOR_MIN)
        .max()
        .map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")))
        .filter(|bin| bin.join("postgres").exists());
    found.ok_or_else(|| {
        "PostgreSQL 15 or newer is not installed: apt-get install postgresql-15".to_owned()
    })
}

/// A running server.
#[derive(Debug)]
pub struct Private {
    dir: tempfile::TempDir,
    bin: PathBuf,
    databases: AtomicU32,
    running: Option<Running>,
}

/// Its main process, and the thread that started it: the kernel ends the process when that thread
/// ends, so that thread lives exactly as long.
#[derive(Debug)]
struct Running {
    pid: u32,
    keeper: JoinHandle<()>,
}

impl Private {
    /// Makes and starts one. As root it runs as the user `postgres`, because `PostgreSQL` refuses
    /// root.
    pub fn start() -> Result<Self, String> {
        let bin = programs()?;
        let dir = tempfile::Builder::new()
            .prefix("rf-pg-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        let mut server = Self {
            dir,
            bin,
            databases: AtomicU32::new(0),
            running: None,
        };
        let password = server.dir.path().join("password");
        let mut file = std::fs::File::create(&password).map_err(|e| e.to_string())?;
        writeln!(file, "{PASSWORD}").map_err(|e| e.to_string())?;
        if let Some((uid, gid)) = postgres_user()? {
            for path in [server.dir.path(), &password] {
                std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(|e| e.to_string())?;
            }
        }
        let mut initdb = server.command("initdb")?;
        initdb
            .args(["--encoding=UTF8", "--no-locale", "--auth=scram-sha-256"])
            .args(["--no-sync", "--no-instructions", "--username", USER])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(server.data());
        finished(&mut initdb)?;
        server.restart()?;
        Ok(server)
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The Unix socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    /// The folder of that socket, as `psql -h` wants it.
    pub fn socket_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a fresh, empty database; its name.
    pub fn database(&self) -> Result<String, String> {
        let name = format!("db{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// Runs SQL as the superuser, by `psql`; the answer without frames.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            USER,
            "-d",
            database,
            "-c",
            sql,
        ])
        .arg("-h")
        .arg(self.dir.path())
        .env("PGPASSWORD", PASSWORD);
        finished(&mut psql)
    }

    /// Ends it with SIGKILL, its main process and all that it started: as a loss of power would,
    /// but for what the kernel still writes.
    pub fn kill(&mut self) -> Result<(), String> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let mut kill = Command::new("kill");
        kill.args(["-9", &running.pid.to_string()]);
        kill.args(children(running.pid).iter().map(u32::to_string));
        // One that ended in the meantime is no failure; the main process is waited for.
        drop(kill.output());
        running.keeper.join().map_err(|_| "its keeper ended".into())
    }

    /// Starts it again after [`Private::kill`].
    pub fn restart(&mut self) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            match self.once() {
                Ok(running) => {
                    self.running = Some(running);
                    return Ok(());
                }
                Err(error) => last = error,
            }
            if !last.contains("shared memory block") {
                break;
            }
        }
        Err(last)
    }

    fn once(&self) -> Result<Running, String> {
        let mut command = self.command("postgres")?;
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.dir.path())
            .args(["-c", "listen_addresses="])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env("LC_MESSAGES", "C");
        let (tell, told) = channel();
        let keeper = std::thread::Builder::new()
            .name("private-postgres".to_owned())
            .spawn(move || keep(command, &tell))
            .map_err(|e| e.to_string())?;
        let pid = started(&told)?;
        Ok(Running { pid, keeper })
    }

    /// A program of the server, as a user it accepts, that ends with the thread that started it.
    fn command(&self, program: &str) -> Result<Command, String> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some((uid, gid)) = postgres_user()? {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
            command.arg("--clear-groups");
        }
        command.arg(self.bin.join(program));
        command.current_dir(self.dir.path());
        Ok(command)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // Immediate shutdown; the folder goes away right after.
            let pid = running.pid.to_string();
            drop(Command::new("kill").args(["-QUIT", &pid]).output());
            drop(running.keeper.join());
        }
    }
}

/// What the keeper of a server reports.
enum News {
    Started(u32),
    Line(String),
}

/// Starts the server, passes on what it says until it is ready, and waits for its end.
fn keep(mut command: Command, tell: &Sender<News>) {
    let child: Result<Child, _> = command.spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            drop(tell.send(News::Line(format!("{command:?}: {error}"))));
            return;
        }
    };
    drop(tell.send(News::Started(child.id())));
    if let Some(said) = child.stderr.take() {
        // Read to the end: a full pipe would stop the server. Who started it no longer listens
        // once it is ready.
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            drop(tell.send(News::Line(line)));
        }
    }
    drop(child.wait());
}

/// The process id, once the server says it is ready.
fn started(told: &Receiver<News>) -> Result<u32, String> {
    let (mut pid, mut said) = (0, Vec::new());
    while let Ok(news) = told.recv() {
        match news {
            News::Started(id) => pid = id,
            News::Line(line) if line.contains(READY) => return Ok(pid),
            News::Line(line) => said.push(line),
        }
    }
    Err(format!("PostgreSQL did not start: {}", said.join("\n")))
}

/// The user that runs it, when this process is root.
fn postgres_user() -> Result<Option<(u32, u32)>, String> {
    let id = |arguments: &[&str]| -> Result<u32, String> {
        let text = finished(Command::new("id").args(arguments))?;
        text.parse().map_err(|_| format!("id said {text}"))
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    let pair = (id(&["-u", "postgres"])?, id(&["-g", "postgres"])?);
    Ok(Some(pair))
}

/// The processes that a process started and that still run.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Runs a program to its end; what it printed, or why it failed.
fn finished(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
