//! Attacks as a Python program, generated from the same steps.
//!
//! The program needs nothing but the standard library of the system's `python3`. It refuses to run
//! where it is in no sandbox, as the native one does.

use super::native::{FIRST_NAMESPACES, INSIDE};
use super::{Arg, Attack, Facts, MADE, REFUSED, Step, fill};
use std::fmt::Write as _;

/// Where the system's Python is looked for.
pub(super) const INTERPRETER: &str = "/usr/bin/python3";

const PRELUDE: &str = r#"
import ctypes, errno, os, resource, socket, struct, sys, threading, time
L = ctypes.CDLL(None, use_errno=True)
L.syscall.restype = ctypes.c_long
L.shmat.restype = ctypes.c_void_p
kept, r = [], 0
def c(number, *arguments):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = L.syscall(ctypes.c_long(number), *words)
    if result < 0: raise OSError(ctypes.get_errno(), "")
    return result
def b(octets): return ctypes.create_string_buffer(octets, len(octets) + 4096)
def say(octets):
    sys.stdout.flush(); sys.stdout.buffer.write(octets); sys.stdout.buffer.flush()
def rest():
    while True: time.sleep(3600)
def reach(family, kind, address, token):
    s = socket.socket(family, kind); kept.append(s)
    s.connect(address); s.send(token)
def stat(pid, place):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[place - 2])
def fill(file, mebibytes):
    kept.append(file)
    for _ in range(mebibytes): file.write(b"x" * (1 << 20))
    file.flush()
"#;

const AFTER: &str = r#"
try:
    attack()
    say(b"\nMADE\n")
except MemoryError: say(b"\nREFUSED ENOMEM\n")
except RuntimeError: say(b"\nREFUSED EAGAIN\n")
except OSError as e: say(f"\nREFUSED {errno.errorcode.get(e.errno, e.errno)}\n".encode())
rest()
"#;

/// The program of an attack; `None` where Python has no way to make a step, or a fact is missing.
pub(super) fn program(attack: &Attack, facts: &Facts) -> Option<String> {
    let mut text = PRELUDE.to_owned();
    let [(user, first_user), (pid, first_pid)] = FIRST_NAMESPACES;
    writeln!(
        text,
        "if not os.path.exists({INSIDE:?}) and os.readlink('/proc/self/ns/{user}') == {first_user:?} \
         and os.readlink('/proc/self/ns/{pid}') == {first_pid:?}: sys.exit(3)\n\
         def attack():\n    global r"
    )
    .ok()?;
    for each in attack.steps {
        for line in step(each, facts)?.lines() {
            writeln!(text, "    {line}").ok()?;
        }
    }
    text.push_str(&AFTER.replace("MADE", MADE).replace("REFUSED", REFUSED));
    Some(text)
}

/// Whether Python has a way to make this step.
pub(super) fn can(step: &Step) -> bool {
    !matches!(step, Step::Int80 | Step::X32)
}

/// A program that says that what it is after is not on this host.
pub(super) fn absent() -> String {
    format!("print('\\n{REFUSED} ENODEV', flush=True)\nimport time\ntime.sleep(3600)")
}

/// Octets as Python writes them, so that none of them can end the literal.
fn literal(octets: &[u8]) -> String {
    let mut text = String::from("\"");
    for octet in octets {
        text.push_str("\\x");
        text.extend(
            [octet >> 4, octet & 15].map(|n| char::from_digit(n.into(), 16).unwrap_or('0')),
        );
    }
    text.push('"');
    text
}

/// A text as Python writes it.
fn quoted(text: &str) -> String {
    literal(text.as_bytes())
}

fn step(step: &Step, facts: &Facts) -> Option<String> {
    let text = |text: &str| fill(text, facts).map(|t| quoted(&t));
    let fact = |name: &str| facts.get(name).cloned();
    Some(match *step {
        Step::Call(which, arguments) => call(which.number(), arguments, facts)?,
        Step::Show(path) => format!("say(open({}, 'rb').read())", text(path)?),
        Step::Put(path, what) => format!(
            "f = os.open({}, os.O_WRONLY); kept.append(f); os.write(f, b{})",
            text(path)?,
            quoted(what)
        ),
        Step::Create(path) => format!("open({}, 'w').close()", text(path)?),
        Step::Open(path, flags) => format!("r = os.open({}, {flags})", text(path)?),
        Step::Tcp(address) => reach("SOCK_STREAM", address, facts)?,
        Step::Udp(address) => reach("SOCK_DGRAM", address, facts)?,
        Step::Unix(name) => {
            let name = fill(name, facts)?;
            let address = name
                .strip_prefix('@')
                .map_or_else(|| quoted(&name), |n| quoted(&format!("\0{n}")));
            let token = text("{token}")?;
            format!("reach(socket.AF_UNIX, socket.SOCK_STREAM, {address}, b{token})")
        }
        Step::VictimMemory => format!(
            "v = {}; begin, end = stat(v, 49), stat(v, 50)\n\
             n = max(1, min(end - begin, 4096)); m = b(b'')\n\
             here, there = struct.pack('PN', ctypes.addressof(m), n), struct.pack('PN', begin, n)\n\
             c(310, v, here, 1, there, 1, 0); say(m.raw)",
            fact("victim")?
        ),
        Step::SharedMemory => format!(
            "a = L.shmat({}, None, 0o10000)\n\
             if a == ctypes.c_void_p(-1).value: raise OSError(ctypes.get_errno(), '')\n\
             say(ctypes.string_at(a, 256))",
            fact("memory")?
        ),
        Step::Leaked(path) => format!(
            "last = errno.ENODEV\nfor d in range(3, 64):\n    \
             try: say(os.read(os.open({}.lstrip('/'), 0, dir_fd=d), 4096)); return\n    \
             except PermissionError as e: last = e.errno\n    \
             except OSError: pass\nraise OSError(last, '')",
            text(path)?
        ),
        Step::Handle(path) => format!(
            "h = b(struct.pack('I', 128)); c(303, -100, b{0}, h, b(b''), 0)\nr = c(304, -100, h, 0)",
            quoted(path)
        ),
        Step::CloneUser { third: false } => {
            "if c(56, 0x10000011, 0, 0, 0, 0) == 0: rest()".to_owned()
        }
        Step::CloneUser { third: true } => {
            "if c(435, b(struct.pack('8Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0)), 64) == 0: rest()"
                .to_owned()
        }
        Step::Int80 | Step::X32 => return None,
        ref other => appetite(other),
    })
}

/// Steps that use something up.
fn appetite(step: &Step) -> String {
    match *step {
        Step::Forks(count) => format!("for _ in range({count}):\n    if os.fork() == 0: rest()"),
        Step::Threads(count) => format!(
            "threading.stack_size(65536)\nfor _ in range({count}): \
             threading.Thread(target=rest, daemon=True).start()"
        ),
        Step::Memory(mebibytes) => format!("kept.append(b'x' * ({mebibytes} << 20))"),
        Step::MemoryFile(mebibytes) => {
            format!("fill(os.fdopen(os.memfd_create('attack'), 'wb'), {mebibytes})")
        }
        Step::Fill(path, mebibytes) => format!("fill(open({}, 'wb'), {mebibytes})", quoted(path)),
        Step::Files(directory, count) => format!(
            "os.mkdir({0})\nfor i in range({count}): open(f\"{directory}/{{i}}\", 'w').close()",
            quoted(directory)
        ),
        Step::Descriptors(count) => format!(
            "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
             resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n\
             for _ in range({count}): kept.append(os.open('/dev/null', 0))"
        ),
        Step::Lock => "m = ctypes.create_string_buffer(1 << 20); kept.append(m)\n\
             if L.mlock(m, 1 << 20): raise OSError(ctypes.get_errno(), '')"
            .to_owned(),
        Step::Spin(ms) => format!("while time.process_time() * 1000 < {ms} + 50: pass"),
        _ => {
            "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: rest()\n    os._exit(0)\n\
             os._exit(0)"
                .to_owned()
        }
    }
}

fn reach(kind: &str, address: &str, facts: &Facts) -> Option<String> {
    let token = quoted(&fill("{token}", facts)?);
    let (host, port) = address.rsplit_once(':')?;
    let (family, host) = match host.strip_prefix('[') {
        Some(six) => ("AF_INET6", six.trim_end_matches(']')),
        None => ("AF_INET", host),
    };
    Some(format!(
        "reach(socket.{family}, socket.{kind}, ({host:?}, {port}), b{token})"
    ))
}

fn call(number: i64, arguments: &[Arg], facts: &Facts) -> Option<String> {
    let mut prints = "";
    let mut words = vec![number.to_string()];
    for argument in arguments {
        words.push(match *argument {
            Arg::N(number) => number.to_string(),
            Arg::S(text) => format!("b{}", quoted(&fill(text, facts)?)),
            Arg::B(octets) => {
                format!("b(b{})", literal(octets))
            }
            Arg::Out(length) => {
                prints = "\nsay(o.raw[:max(r, 0)])";
                format!("(o := ctypes.create_string_buffer({length}))")
            }
            Arg::Prev => "r".to_owned(),
            Arg::Fact(name) => facts.get(name)?.clone(),
            Arg::Parent => "os.getppid()".to_owned(),
        });
    }
    Some(format!("r = c({}){prints}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::list;
    use std::process::Command;

    fn facts() -> Facts {
        let names = [
            "readable",
            "private",
            "socket",
            "abstract",
            "token",
            "out",
            "project",
            "cgroup",
            "release-agent",
        ];
        let numbers = ["victim", "key", "memory"];
        let texts = names
            .iter()
            .map(|n| ((*n).to_owned(), format!("/{n}'\"\\")));
        texts
            .chain(numbers.iter().map(|n| ((*n).to_owned(), "1".to_owned())))
            .collect()
    }

    #[test]
    fn every_attack_but_those_of_other_gates_is_python_that_compiles() {
        let facts = facts();
        let mut all = Vec::new();
        for attack in list::all() {
            match program(attack, &facts) {
                Some(text) => all.push(text),
                None => assert!(["int-80", "x32"].contains(&attack.name), "{}", attack.name),
            }
        }
        let texts = serde_json::to_string(&all).unwrap();
        let check = "import json, sys\nfor t in json.load(sys.stdin): compile(t, 'attack', 'exec')";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("programs");
        std::fs::write(&path, texts).unwrap();
        let output = Command::new(INTERPRETER)
            .args(["-c", check])
            .stdin(std::fs::File::open(path).unwrap())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn outside_of_a_sandbox_the_program_ends_before_its_attack() {
        let attack = list::all().find(|a| a.name == "kill-host").unwrap();
        let text = program(attack, &facts()).unwrap();
        let first = ringfence_sys::ns::identity("self", "pid").unwrap() == FIRST_NAMESPACES[1].1;
        // In a container the namespaces are not the first; there is nothing to show then.
        if first {
            let status = Command::new(INTERPRETER)
                .args(["-c", &text])
                .status()
                .unwrap();
            assert_eq!(status.code(), Some(3));
        }
    }
}
