//! A virtual machine that boots in seconds under software emulation: a kernel of Debian, and an
//! archive with nothing but this program, ringfence, a shell and the libraries they need.
//!
//! The program finds itself to be the first process, makes the cells that the kernel's command line
//! names, and prints a line for each on the serial console.

use crate::Result;
use crate::cells::{CELLS, Cell};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// LIMIT: seconds for one boot with all of its cells, under emulation on a busy machine.
const BOOT_SECONDS_MAX: &str = "600";
/// What a line of the guest begins with.
const MARK: &str = "ringfence-cell";
/// Where ringfence is in the guest.
const BINARY: &str = "/usr/bin/ringfence";
/// What the cells use besides.
const TOOLS: [&str; 11] = [
    "sh", "mount", "umount", "unshare", "setpriv", "awk", "mkdir", "true", "cat", "env", "sleep",
];

/// Boots, makes these cells, and returns what the guest said of each.
pub(crate) fn boot(
    parameters: &str,
    cells: &[&Cell],
    binary: &str,
    kernel: Option<&Path>,
) -> std::result::Result<BTreeMap<String, Result>, String> {
    let kernel = kernel.map(Path::to_path_buf).or_else(installed).ok_or(
        "no kernel for the virtual machine\nhelp: apt-get download the package that \
         linux-image-cloud-amd64 depends on, dpkg-deb -x it, pass --kernel boot/vmlinuz-*",
    )?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let image = folder.path().join("image");
    pack(&image, binary).map_err(|e| format!("packing the image: {e}"))?;
    let names: Vec<&str> = cells.iter().map(|c| c.name).collect();
    let line = format!(
        "console=ttyS0 quiet panic=-1 rdinit=/init {parameters} cells={}",
        names.join(",")
    );
    let output = Command::new("timeout")
        .args([
            BOOT_SECONDS_MAX,
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-cpu",
            "max",
        ])
        .args([
            "-m",
            "1500",
            "-nographic",
            "-no-reboot",
            "-nic",
            "none",
            "-kernel",
        ])
        .arg(&kernel)
        .arg("-initrd")
        .arg(&image)
        .args(["-append", &line])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("qemu-system-x86_64: {e}\nhelp: apt-get install qemu-system-x86"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let results: BTreeMap<String, Result> = said.lines().filter_map(understand).collect();
    if results.is_empty() {
        let last: Vec<&str> = said.lines().rev().take(40).collect();
        return Err(format!("the machine said nothing: {last:?}"));
    }
    Ok(results)
}

fn understand(line: &str) -> Option<(String, Result)> {
    let rest = line.get(line.find(MARK)? + MARK.len()..)?.trim();
    let mut words = rest.splitn(3, ' ');
    let (name, word, text) = (
        words.next()?,
        words.next()?,
        words.next().unwrap_or_default(),
    );
    let text = text.trim().to_owned();
    Some((
        name.to_owned(),
        if word == "right" { Ok(text) } else { Err(text) },
    ))
}

/// Debian's cloud kernel, if it is installed.
fn installed() -> Option<PathBuf> {
    let entries = fs::read_dir("/boot").ok()?;
    entries.flatten().map(|e| e.path()).find(|path| {
        let name = path.to_string_lossy();
        name.contains("vmlinuz") && name.contains("cloud")
    })
}

/// An archive in the format of cpio(5), "new ASCII", that the kernel unpacks into its first root.
struct Archive<W: Write> {
    out: W,
    number: u32,
}

impl<W: Write> Archive<W> {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.number += 1;
        let name = name.trim_start_matches('/');
        let fields = [
            self.number,
            mode,
            0,
            0,
            1,
            0,
            u32::try_from(content.len()).map_err(io::Error::other)?,
            0,
            0,
            0,
            0,
            u32::try_from(name.len() + 1).map_err(io::Error::other)?,
            0,
        ];
        let mut head = String::from("070701");
        for field in fields {
            write!(head, "{field:08x}").map_err(io::Error::other)?;
        }
        head.push_str(name);
        head.push('\0');
        self.out.write_all(head.as_bytes())?;
        self.pad(head.len())?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..(4 - length % 4) % 4])
    }
}

fn pack(image: &Path, binary: &str) -> io::Result<()> {
    let mut archive = Archive {
        out: io::BufWriter::new(fs::File::create(image)?),
        number: 0,
    };
    let own = std::env::current_exe()?;
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::from([
        ("/init".to_owned(), own.clone()),
        (BINARY.to_owned(), binary.into()),
    ]);
    for tool in TOOLS {
        let there = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(|d| Path::new(d).join(tool));
        let found = there.iter().find(|p| p.exists());
        let found = found.ok_or_else(|| io::Error::other(format!("{tool} is missing")))?;
        files.insert(format!("/usr/bin/{tool}"), found.clone());
    }
    let programs: Vec<PathBuf> = files.values().cloned().collect();
    for library in libraries(&programs)? {
        // The guest has the merged /usr of Debian.
        let inside = format!("/usr{}", library.trim_start_matches("/usr"));
        files.insert(inside, library.into());
    }
    let mut made = BTreeSet::new();
    for directory in ["/dev", "/proc", "/sys", "/tmp", "/run", "/etc", "/root"] {
        made.insert(directory.to_owned());
        archive.entry(directory, 0o040_755, b"")?;
    }
    for (name, path) in files {
        for parent in Path::new(&name)
            .ancestors()
            .skip(1)
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            let parent = parent.to_string_lossy().into_owned();
            if parent != "/" && made.insert(parent.clone()) {
                archive.entry(&parent, 0o040_755, b"")?;
            }
        }
        archive.entry(&name, 0o100_755, &fs::read(path)?)?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        let target = if link == "sbin" {
            "usr/bin".to_owned()
        } else {
            format!("usr/{link}")
        };
        archive.entry(link, 0o120_777, target.as_bytes())?;
    }
    archive.entry("TRAILER!!!", 0, b"")?;
    archive.out.flush()
}

/// The libraries of these programs as ldd(1) names them, the loader among them.
fn libraries(programs: &[PathBuf]) -> io::Result<BTreeSet<String>> {
    let output = Command::new("ldd").args(programs).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter(|line| !line.ends_with(':'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect())
}

/// The life of the first process of a virtual machine.
pub(crate) fn guest() -> ExitCode {
    if let Err(error) = furnish() {
        println!("{MARK} none wrong the machine could not be furnished: {error}");
    }
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let names = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("cells="))
        .unwrap_or_default();
    for name in names.split(',') {
        let Some(cell) = CELLS.iter().find(|cell| cell.name == name) else {
            continue;
        };
        let (word, text) = match cell.try_with(BINARY) {
            Ok(text) => ("right", text),
            Err(text) => ("wrong", text),
        };
        println!("\n{MARK} {name} {word} {}", text.replace(['\n', '\r'], " "));
        // Settings of the whole machine that a cell may have changed.
        for (file, value) in [
            ("user/max_user_namespaces", "15000"),
            ("kernel/unprivileged_userns_clone", "1"),
        ] {
            drop(fs::write(Path::new("/proc/sys").join(file), value));
        }
        remount();
    }
    drop(io::stdout().flush());
    match rustix::system::reboot(rustix::system::RebootCommand::PowerOff) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Leaves the first RAM file system, from which no pivot is possible, as `switch_root` does.
fn leave_ram() -> io::Result<()> {
    fs::create_dir("/new")?;
    mount("none", "/new", "tmpfs", MountFlags::empty(), None)?;
    for entry in fs::read_dir("/")? {
        let path = entry?.path();
        if path != Path::new("/new") {
            copy(
                &path,
                &Path::new("/new").join(path.strip_prefix("/").unwrap_or(&path)),
            )?;
        }
    }
    std::env::set_current_dir("/new")?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    std::env::set_current_dir("/")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        return std::os::unix::fs::symlink(fs::read_link(from)?, to);
    }
    if kind.is_file() {
        return fs::copy(from, to).map(drop);
    }
    if !kind.is_dir() {
        // The one device that the kernel brings comes again with devtmpfs.
        return Ok(());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// LIMIT: descriptors of a process in the guest, as systemd would allow; the kernel's own limit is no
/// higher than that of a sandbox, which then could not be seen to hold.
const OPEN_FILES: u64 = 1 << 19;

fn furnish() -> io::Result<()> {
    let limit = Rlimit {
        current: Some(1024),
        maximum: Some(OPEN_FILES),
    };
    setrlimit(Resource::Nofile, limit)?;
    let none = MountFlags::empty();
    mount("none", "/proc", "proc", none, None)?;
    let stays = fs::read_to_string("/proc/cmdline")?.contains("stays=ram");
    if !stays {
        rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::empty())?;
        leave_ram()?;
        mount("none", "/proc", "proc", none, None)?;
    }
    mount("none", "/sys", "sysfs", none, None)?;
    mount("none", "/dev", "devtmpfs", none, None)?;
    fs::create_dir_all("/dev/shm")?;
    fs::create_dir_all("/dev/pts")?;
    mount("none", "/dev/pts", "devpts", none, Some(c"ptmxmode=0666"))?;
    mount("none", "/tmp", "tmpfs", none, None)?;
    mount("none", "/sys/fs/cgroup", "cgroup2", none, None)?;
    let line = fs::read_to_string("/proc/cmdline")?;
    if !line.contains("cgroup_no_v1") {
        // Controllers in use by version 2 could not be mounted as version 1.
        return Ok(());
    }
    fs::write(
        "/sys/fs/cgroup/cgroup.subtree_control",
        "+cpu +memory +pids",
    )
    .or_else(|_| {
        ["+cpu", "+memory", "+pids"]
            .iter()
            .filter(|c| {
                fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
                    .is_ok_and(|t| t.contains(c.trim_start_matches('+')))
            })
            .try_for_each(|c| fs::write("/sys/fs/cgroup/cgroup.subtree_control", c))
    })
}

/// A read-only mark belongs to the file system, not to the namespace of the cell that set it.
fn remount() {
    let none = MountFlags::empty();
    let _done = rustix::mount::mount_remount("/sys/fs/cgroup", none, "").is_ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_one_that_cpio_understands() {
        let mut archive = Archive {
            out: Vec::new(),
            number: 0,
        };
        archive.entry("/a", 0o100_644, b"x").unwrap();
        // Header 110, name 2, padded to four; content 1, padded to four.
        assert_eq!(archive.out.len(), 112 + 4);
        assert!(archive.out.starts_with(b"070701"));
    }

    #[test]
    fn only_marked_lines_are_results() {
        assert_eq!(
            understand("\u{1b}[0mringfence-cell a right every wall stands\r"),
            Some(("a".to_owned(), Ok("every wall stands".to_owned())))
        );
        assert_eq!(
            understand("ringfence-cell a wrong x"),
            Some(("a".to_owned(), Err("x".to_owned())))
        );
        assert_eq!(understand("Kernel panic"), None);
    }
}
