//! What attacks aim at: canaries of the host, on a stage that no packet can leave.
//!
//! Everything here belongs to the suite: files below one folder, a victim process, listeners in its
//! own network namespace, a key, shared memory, a line in the kernel's log. The secret is told to no
//! attack program; one that prints it has read it.
//! INVARIANT: the network of the stage has no interface but loopback.

use super::Facts;
use crate::error::{SandboxError, doing};
use ringfence_sys::attack::stage;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Memory of a sandbox under attack, in mebibytes.
pub(super) const MEMORY_MIB: usize = 48;
/// Processes and threads of a sandbox under attack.
pub(super) const PROCESSES: u32 = 24;
/// Scratch space of a sandbox under attack, in mebibytes.
pub(super) const TMP_MIB: usize = 4;
/// Files that scratch space holds.
pub(super) const FILES: u32 = 65_536;

/// Further addresses of the stage: a cloud's metadata service, and a neighbour.
const ADDRESSES: [(u8, Ipv4Addr); 2] = [
    (1, Ipv4Addr::new(169, 254, 169, 254)),
    (2, Ipv4Addr::new(10, 99, 0, 1)),
];
const STREAMS: [&str; 5] = [
    "0.0.0.0:8080",
    "[::1]:8080",
    "169.254.169.254:80",
    "10.99.0.1:443",
    "10.99.0.1:53",
];
const DATAGRAMS: [&str; 3] = ["10.99.0.1:53", "127.0.0.53:53", "10.99.0.1:443"];
/// LIMIT: octets read from one connection; a token is shorter.
const TOKEN_BYTES_MAX: usize = 64;

/// The stage of one run of the suite.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    /// What no attack program is told.
    pub secret: String,
    /// What one sends when it reaches something.
    token: String,
    key: Option<i64>,
    memory: Option<i32>,
    victim: Child,
    streams: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
    unix: Vec<UnixListener>,
    host_name: String,
}

/// The content of a canary before anybody touches it.
fn canary(secret: &str) -> String {
    format!("canary {secret}\n")
}

impl Stage {
    /// Sets the stage below an empty folder that everybody may enter. The process must have one
    /// thread; it is on the stage from here on.
    pub(super) fn set(folder: &Path, secret: String, token: String) -> Result<Self, SandboxError> {
        stage::enter().map_err(doing("moving to a stage of its own"))?;
        Self::furnish(folder, secret, token).map_err(doing("setting the stage"))
    }

    fn furnish(folder: &Path, secret: String, token: String) -> io::Result<Self> {
        for (alias, address) in ADDRESSES {
            stage::add_address(alias, address)?;
        }
        let folder = folder.to_path_buf();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        for (name, mode) in [("readable", 0o644), ("private", 0o600)] {
            let path = folder.join(name);
            fs::write(&path, canary(&secret))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        for name in ["out", "project"] {
            fs::create_dir(folder.join(name))?;
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o777))?;
        }
        let listen = |address: &&str| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true).map(|()| listener)
        };
        let receive = |address: &&str| {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true).map(|()| socket)
        };
        let path = folder.join("socket");
        let unix = vec![
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&token)?)?,
            UnixListener::bind(&path)?,
        ];
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        unix.iter()
            .try_for_each(|listener| listener.set_nonblocking(true))?;
        // A kernel without keyrings, IPC or a log that can be written has nothing to attack there.
        let name = CString::new("ringfence-canary")?;
        let key = stage::keep_key(&name, secret.as_bytes()).ok();
        let memory = stage::share_memory(secret.as_bytes()).ok();
        drop(fs::write(
            "/dev/kmsg",
            format!("<7>ringfence attack suite, a canary: {secret}\n"),
        ));
        Ok(Self {
            victim: victim(&folder, &secret)?,
            streams: STREAMS.iter().map(listen).collect::<io::Result<_>>()?,
            datagrams: DATAGRAMS.iter().map(receive).collect::<io::Result<_>>()?,
            host_name: stage::host_name(),
            folder,
            secret,
            token,
            key,
            memory,
            unix,
        })
    }

    /// A path below the folder of the stage.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The victim's process number.
    pub(super) fn victim(&self) -> u32 {
        self.victim.id()
    }

    /// What an attack is told; `mounted`: whether it has the private root with the mounts.
    pub(super) fn facts(&self, mounted: bool) -> Facts {
        let host = |name: &str| self.path(name).display().to_string();
        let mount = |name: &str| {
            if mounted {
                format!("/{name}")
            } else {
                host(name)
            }
        };
        let mut facts: Vec<(&str, String)> = vec![
            ("readable", host("readable")),
            ("private", host("private")),
            ("socket", host("socket")),
            ("abstract", self.token.clone()),
            ("token", self.token.clone()),
            ("out", mount("out")),
            ("project", mount("project")),
            ("victim", self.victim().to_string()),
        ];
        facts.extend(self.key.map(|key| ("key", key.to_string())));
        facts.extend(self.memory.map(|id| ("memory", id.to_string())));
        let groups = [
            "/sys/fs/cgroup/pids/cgroup.procs",
            "/sys/fs/cgroup/cgroup.procs",
        ];
        let exists = |path: &&&str| Path::new(path).exists();
        facts.extend(
            groups
                .iter()
                .find(exists)
                .map(|p| ("cgroup", (*p).to_owned())),
        );
        let agent = "/sys/fs/cgroup/memory/release_agent";
        facts.extend(
            Path::new(agent)
                .exists()
                .then(|| ("release-agent", agent.to_owned())),
        );
        facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    /// As it was at first, after an attack that may have succeeded.
    pub(super) fn restore(&mut self) -> io::Result<()> {
        fs::write(self.path("readable"), canary(&self.secret))?;
        for name in ["out", "project"] {
            for entry in fs::read_dir(self.path(name))? {
                fs::remove_file(entry?.path())?;
            }
        }
        if stage::host_name() != self.host_name {
            fs::write("/proc/sys/kernel/hostname", &self.host_name)?;
        }
        self.arrived();
        if !self.victim_lives() {
            self.victim.wait()?;
            self.victim = victim(&self.folder, &self.secret)?;
        }
        Ok(())
    }

    /// Whether the readable canary is not as it was.
    pub(super) fn changed(&self) -> bool {
        fs::read_to_string(self.path("readable")).map_or(true, |t| t != canary(&self.secret))
    }

    /// Whether the stage has another host name than at first.
    pub(super) fn renamed(&self) -> bool {
        stage::host_name() != self.host_name
    }

    /// Whether the victim runs.
    pub(super) fn victim_lives(&mut self) -> bool {
        matches!(self.victim.try_wait(), Ok(None))
    }

    /// Whether the token arrived anywhere since the last call.
    pub(super) fn arrived(&self) -> bool {
        let mut came = false;
        let mut take = |bytes: &[u8]| came |= bytes == self.token.as_bytes();
        for listener in &self.streams {
            while let Ok((stream, _)) = listener.accept() {
                take(&heard(stream));
            }
        }
        for listener in &self.unix {
            while let Ok((stream, _)) = listener.accept() {
                take(&heard(stream));
            }
        }
        for socket in &self.datagrams {
            let mut bytes = [0; TOKEN_BYTES_MAX];
            while let Ok(length) = socket.recv(&mut bytes) {
                take(bytes.get(..length).unwrap_or_default());
            }
        }
        came
    }

    /// A terminal of a person, and the end a program gets.
    pub(super) fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
        stage::terminal()
    }
}

/// What was sent before its sender was seen to be done.
fn heard(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = [0; TOKEN_BYTES_MAX];
    let length = stream.read(&mut bytes).unwrap_or(0);
    bytes.get(..length).unwrap_or_default().to_vec()
}

/// A process of the host's root with the secret in its environment and a private file open.
fn victim(folder: &Path, secret: &str) -> io::Result<Child> {
    Command::new("/bin/sleep")
        .arg("3600")
        .env_clear()
        .env("SECRET", secret)
        .stdin(File::open(folder.join("private"))?)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.victim.kill());
        drop(self.victim.wait());
    }
}
