//! Attacks as a native program: this binary, started inside as `role attack NAME FACTS`.
//!
//! It makes the steps in order, says how far it came, and waits to be killed, so that the host can
//! look at what it holds.
//! INVARIANT: outside of a sandbox nothing is attacked, see [`main`].

use super::effect::stat;
use super::{Arg, Facts, MADE, REFUSED, Step, fill, list};
use ringfence_sys::attack::{self, Syscall, Value};
use ringfence_sys::attempt::errno_name;
use ringfence_sys::{ns, process, spawn};
use rustix::process::{Resource, Rlimit};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

/// What is not ours to attack.
const NOT_INSIDE: i32 = 3;
/// Neither a name of an attack nor facts.
const NOT_UNDERSTOOD: i32 = 2;
/// LIMIT: inherited descriptors that are tried.
const LEAKED_MAX: i64 = 64;
const MEBIBYTE: usize = 1 << 20;

/// The namespaces that Linux starts with have fixed numbers (`include/linux/proc_ns.h`).
pub(super) const FIRST_NAMESPACES: [(&str, &str); 2] =
    [("user", "user:[4026531837]"), ("pid", "pid:[4026531836]")];
/// What only the private root of a sandbox has.
pub(super) const INSIDE: &str = "/.fenced";

/// Runs one attack. Refuses, with a code of its own, where it is in no sandbox: in the first user
/// and the first pid namespace and without a sandbox's root. Every weakened sandbox keeps one of the
/// three.
pub fn main(arguments: &[String]) -> i32 {
    if !inside() {
        return NOT_INSIDE;
    }
    let [name, facts] = arguments else {
        return NOT_UNDERSTOOD;
    };
    let attack = list::all().find(|attack| attack.name == name);
    let (Some(attack), Ok(facts)) = (attack, serde_json::from_str::<Facts>(facts)) else {
        return NOT_UNDERSTOOD;
    };
    let mut attacker = Attacker {
        facts,
        previous: 0,
        kept: Vec::new(),
    };
    for step in attack.steps {
        if let Err(error) = attacker.make(step) {
            say(format!("\n{REFUSED} {} at {}\n", errno_name(&error), step.name()).as_bytes());
            rest();
        }
        if matches!(step, Step::Daemon) {
            return 0;
        }
    }
    say(format!("\n{MADE}\n").as_bytes());
    rest()
}

fn inside() -> bool {
    Path::new(INSIDE).exists()
        || FIRST_NAMESPACES
            .iter()
            .any(|(kind, first)| ns::identity("self", kind).is_ok_and(|own| own != *first))
}

/// Until the sandbox ends.
fn rest() -> ! {
    loop {
        std::thread::park();
    }
}

fn say(bytes: &[u8]) {
    // Whoever listens may be gone; then nobody misses it.
    drop(
        io::stdout()
            .write_all(bytes)
            .and_then(|()| io::stdout().flush()),
    );
}

fn missing() -> io::Error {
    // What the host did not name is not there.
    io::Error::from(rustix::io::Errno::NODEV)
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Self::Call(which, _) => which.name(),
            Self::Show(_) | Self::Leaked(_) => "read",
            Self::Put(..) | Self::Fill(..) => "write",
            Self::Create(_) | Self::Open(..) | Self::Files(..) | Self::Descriptors(_) => "open",
            Self::Tcp(_) | Self::Udp(_) | Self::Unix(_) => "connect",
            Self::VictimMemory => "process_vm_readv",
            Self::SharedMemory => "shmat",
            Self::Handle(_) => "open_by_handle_at",
            Self::CloneUser { third: true } => "clone3",
            Self::CloneUser { third: false } | Self::Forks(_) | Self::Threads(_) | Self::Daemon => {
                "clone"
            }
            Self::Int80 => "int 0x80",
            Self::X32 => "x32",
            Self::Memory(_) | Self::MemoryFile(_) => "memory",
            Self::Lock => "mlock",
            Self::Spin(_) => "clock_gettime",
        }
    }
}

struct Attacker {
    facts: Facts,
    previous: i64,
    kept: Vec<OwnedFd>,
}

impl Attacker {
    fn text(&self, text: &str) -> io::Result<String> {
        fill(text, &self.facts).ok_or_else(missing)
    }

    fn number(&self, name: &str) -> io::Result<i64> {
        self.facts
            .get(name)
            .and_then(|n| n.parse().ok())
            .ok_or_else(missing)
    }

    fn make(&mut self, step: &Step) -> io::Result<()> {
        match *step {
            Step::Call(which, arguments) => self.call(which, arguments),
            Step::Open(path, flags) => {
                let path = Value::Input(self.text(path)?.into_bytes());
                let arguments = [Value::Number(-100), path, Value::Number(flags.into())];
                self.previous = attack::call(Syscall::Openat, &arguments)?.0;
                Ok(())
            }
            Step::Show(path) => {
                say(&fs::read(self.text(path)?)?);
                Ok(())
            }
            Step::Put(path, text) => {
                let mut file = OpenOptions::new().write(true).open(self.text(path)?)?;
                file.write_all(text.as_bytes())
            }
            Step::Create(path) => File::create(self.text(path)?).map(drop),
            Step::Tcp(_) | Step::Udp(_) | Step::Unix(_) => self.reach(step),
            Step::Forks(_) | Step::Threads(_) | Step::Daemon | Step::CloneUser { .. } => {
                breed(step)
            }
            Step::Memory(_) | Step::MemoryFile(_) | Step::Fill(..) | Step::Files(..) => {
                self.devour(step)
            }
            Step::Descriptors(count) => self.hoard(count),
            Step::Spin(ms) => {
                spin(ms);
                Ok(())
            }
            Step::Lock => attack::lock_a_mebibyte(),
            Step::Int80 => attack::through_int_80().map(drop),
            Step::X32 => attack::through_x32().map(drop),
            Step::VictimMemory | Step::SharedMemory | Step::Leaked(_) | Step::Handle(_) => {
                self.peek(step)
            }
        }
    }

    fn call(&mut self, which: Syscall, arguments: &[Arg]) -> io::Result<()> {
        let values = arguments
            .iter()
            .map(|argument| {
                Ok(match *argument {
                    Arg::N(number) => Value::Number(number),
                    Arg::S(text) => Value::Input(self.text(text)?.into_bytes()),
                    Arg::B(octets) => Value::Input(octets.to_vec()),
                    Arg::Out(length) => Value::Output(length),
                    Arg::Prev => Value::Number(self.previous),
                    Arg::Fact(name) => Value::Number(self.number(name)?),
                    Arg::Parent => Value::Number(parent()),
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let (result, written) = attack::call(which, &values)?;
        let length = usize::try_from(result).unwrap_or(0).min(written.len());
        say(written.get(..length).unwrap_or_default());
        self.previous = result;
        Ok(())
    }

    fn reach(&mut self, step: &Step) -> io::Result<()> {
        let token = self.text("{token}")?;
        match *step {
            Step::Tcp(address) => {
                let mut stream = TcpStream::connect(address)?;
                stream.write_all(token.as_bytes())?;
                self.kept.push(stream.into());
            }
            Step::Udp(address) => {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.send_to(token.as_bytes(), address)?;
            }
            Step::Unix(name) => {
                let name = self.text(name)?;
                let mut stream = match name.strip_prefix('@') {
                    Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?,
                    None => UnixStream::connect(&name)?,
                };
                stream.write_all(token.as_bytes())?;
                self.kept.push(stream.into());
            }
            _ => {}
        }
        Ok(())
    }

    fn peek(&mut self, step: &Step) -> io::Result<()> {
        match *step {
            Step::VictimMemory => {
                let victim = i32::try_from(self.number("victim")?).map_err(io::Error::other)?;
                // Where its environment begins and ends (proc(5), /proc/PID/stat, 50 and 51).
                let place = |n| stat(victim, n).and_then(|t| t.parse().ok());
                let (begin, end): (usize, usize) = place(49).zip(place(50)).ok_or_else(missing)?;
                say(&attack::read_process(
                    victim,
                    begin,
                    end.saturating_sub(begin).clamp(1, 4096),
                )?);
            }
            Step::SharedMemory => {
                let id = i32::try_from(self.number("memory")?).map_err(io::Error::other)?;
                say(&attack::read_shared_memory(id, 256)?);
            }
            Step::Handle(path) => {
                let path = CString::new(path).map_err(io::Error::other)?;
                self.kept.push(attack::reopen_by_handle(&path)?);
            }
            Step::Leaked(path) => {
                let path = self.text(path)?.trim_start_matches('/').to_owned();
                let mut last = missing();
                for directory in 3..LEAKED_MAX {
                    let path = Value::Input(path.clone().into_bytes());
                    let open = [Value::Number(directory), path, Value::Number(0)];
                    match attack::call(Syscall::Openat, &open) {
                        Ok((fd, _)) => {
                            let read = [Arg::N(fd), Arg::Out(4096), Arg::N(4096)];
                            return self.call(Syscall::Read, &read);
                        }
                        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                            last = error;
                        }
                        Err(_) => {}
                    }
                }
                return Err(last);
            }
            _ => {}
        }
        Ok(())
    }

    fn devour(&mut self, step: &Step) -> io::Result<()> {
        match *step {
            Step::Memory(mebibytes) => {
                std::mem::forget(std::hint::black_box(vec![1_u8; mebibytes * MEBIBYTE]));
            }
            Step::MemoryFile(mebibytes) => {
                let file = rustix::fs::memfd_create("attack", rustix::fs::MemfdFlags::CLOEXEC)?;
                self.kept.push(write_mebibytes(file.into(), mebibytes)?);
            }
            Step::Fill(path, mebibytes) => {
                self.kept
                    .push(write_mebibytes(File::create(path)?, mebibytes)?);
            }
            Step::Files(directory, count) => {
                fs::create_dir(directory)?;
                for number in 0..count {
                    File::create(format!("{directory}/{number}"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn hoard(&mut self, count: u32) -> io::Result<()> {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        rustix::process::setrlimit(Resource::Nofile, raised)?;
        for _ in 0..count {
            self.kept.push(File::open("/dev/null")?.into());
        }
        Ok(())
    }
}

fn parent() -> i64 {
    rustix::process::getppid().map_or(0, |pid| i64::from(pid.as_raw_pid()))
}

fn write_mebibytes(mut file: File, mebibytes: usize) -> io::Result<OwnedFd> {
    let chunk = vec![1_u8; MEBIBYTE];
    for _ in 0..mebibytes {
        file.write_all(&chunk)?;
    }
    Ok(file.into())
}

fn breed(step: &Step) -> io::Result<()> {
    match *step {
        Step::Forks(count) => {
            for _ in 0..count {
                if spawn::fork()?.is_none() {
                    rest();
                }
            }
        }
        Step::Threads(count) => {
            for _ in 0..count {
                std::thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn(|| rest())?;
            }
        }
        Step::CloneUser { third } => {
            attack::clone_into_user_namespace(third)?;
        }
        Step::Daemon => slip_away()?,
        _ => {}
    }
    Ok(())
}

/// A child of a child in a session of its own, which no signal to a group reaches.
fn slip_away() -> io::Result<()> {
    if spawn::fork()?.is_some() {
        return Ok(());
    }
    process::new_session()?;
    if spawn::fork()?.is_none() {
        rest();
    }
    spawn::exit_now(0)
}

fn spin(ms: u64) {
    let own = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000
    };
    let begin = own();
    while own() - begin < ms {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_is_refused_where_there_is_no_sandbox() {
        let first = FIRST_NAMESPACES
            .iter()
            .all(|(kind, first)| ns::identity("self", kind).is_ok_and(|own| own == *first));
        if first {
            assert_eq!(main(&["kill-host".to_owned(), "{}".to_owned()]), NOT_INSIDE);
        } else {
            assert!(
                inside(),
                "in a container every process is in a namespace of its own"
            );
        }
    }

    #[test]
    fn a_step_without_its_fact_is_refused_before_anything_is_called() {
        let mut attacker = Attacker {
            facts: Facts::new(),
            previous: 0,
            kept: Vec::new(),
        };
        let kill = Step::Call(Syscall::Kill, &[Arg::Fact("victim"), Arg::N(9)]);
        assert_eq!(
            attacker.make(&kill).unwrap_err().raw_os_error(),
            missing().raw_os_error()
        );
    }
}
