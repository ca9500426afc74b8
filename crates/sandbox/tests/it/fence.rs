//! Attacks from inside. Each also runs outside, where it must succeed, or it proves nothing.

use crate::support::{Scratch, exec, job, mount, privileged, python, run, sh, spec, texts};
use ringfence_core::error::Explain;
use ringfence_core::isolation::{Access, Ended};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Runs the same Python on the host, as root, without any wall.
fn outside(script: &str) -> String {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn inside(script: &str) -> String {
    let (ended, out, errors) = python(script);
    assert_eq!(ended, Ended::Exited(0), "{errors}");
    out.trim().to_owned()
}

/// Prints what a raw system call answers: `ok` or the name of the error.
fn system_call(number: i64, arguments: &str) -> String {
    format!(
        "import ctypes, errno\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         r = libc.syscall({number}, {arguments})\n\
         print('ok' if r >= 0 else errno.errorcode[ctypes.get_errno()])"
    )
}

#[test]
fn the_hosts_loopback_and_the_internet_are_out_of_reach() {
    if !privileged() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = |address: &str, port: u16| {
        format!(
            "import socket, errno\ns = socket.socket()\ns.settimeout(5)\n\
             r = s.connect_ex(('{address}', {port}))\nprint('ok' if r == 0 else errno.errorcode[r])"
        )
    };
    assert_eq!(outside(&connect("127.0.0.1", port)), "ok");
    assert_eq!(inside(&connect("127.0.0.1", port)), "ECONNREFUSED");
    assert_eq!(inside(&connect("1.1.1.1", 53)), "ENETUNREACH");
    assert_eq!(inside(&connect("169.254.169.254", 80)), "ENETUNREACH");
}

#[test]
fn an_abstract_socket_of_the_host_is_out_of_reach() {
    if !privileged() {
        return;
    }
    let name = crate::support::unique("ringfence-abstract");
    let script = |name: &str| {
        format!(
            "import socket, errno\ns = socket.socket(socket.AF_UNIX)\n\
             r = s.connect_ex('\\0{name}')\nprint('ok' if r == 0 else errno.errorcode[r])"
        )
    };
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    assert_eq!(outside(&script(&name)), "ok");
    assert_eq!(inside(&script(&name)), "ECONNREFUSED");
}

#[test]
fn a_file_of_the_host_is_readable_only_where_it_is_mounted() {
    if !privileged() {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.0.join("private");
    std::fs::write(&file, "host only").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = file.to_str().unwrap();
    let (ended, out, _) = sh(&format!("cat {path}"));
    assert_eq!((ended, out.as_str()), (Ended::Exited(1), ""));
    // With the mount it can be read, although it is private to root: the control, and the id map.
    let mut mounted = job(&["cat", "/project/private"]);
    mounted
        .spec
        .mounts
        .push(mount(&scratch.0, "/project", Access::ReadOnly));
    let (ended, out, errors) = texts(run(&mounted));
    assert_eq!(
        (ended, out.as_str()),
        (Ended::Exited(0), "host only"),
        "{errors}"
    );
}

#[test]
fn a_read_only_mount_cannot_be_written_and_a_writable_one_can() {
    if !privileged() {
        return;
    }
    for (access, code, there) in [(Access::ReadOnly, 2, false), (Access::ReadWrite, 0, true)] {
        let scratch = Scratch::new();
        let mut job = job(&["sh", "-c", "echo x > /project/new"]);
        job.spec.mounts.push(mount(&scratch.0, "/project", access));
        let (ended, _, errors) = texts(run(&job));
        assert_eq!(ended, Ended::Exited(code), "{errors}");
        assert_eq!(scratch.0.join("new").exists(), there);
    }
}

#[test]
fn no_set_user_id_file_can_be_left_for_the_host() {
    if !privileged() {
        return;
    }
    let scratch = Scratch::new();
    let attack = |directory: &str| {
        format!(
            "import os\nr = []\n\
             fd = os.open('{directory}/a', os.O_CREAT | os.O_WRONLY, 0o755); os.close(fd)\n\
             def t(f):\n try:\n  f(); r.append('ok')\n except OSError as e: r.append(str(e.errno))\n\
             t(lambda: os.chmod('{directory}/a', 0o4755))\n\
             t(lambda: os.chmod('{directory}/a', 0o2755))\n\
             t(lambda: os.open('{directory}/b', os.O_CREAT | os.O_WRONLY, 0o4755))\n\
             t(lambda: os.chmod('{directory}/a', 0o700))\nprint(*r)"
        )
    };
    let mut job = job(&["python3", "-c", &attack("/project")]);
    job.spec
        .mounts
        .push(mount(&scratch.0, "/project", Access::ReadWrite));
    let (_, out, errors) = texts(run(&job));
    assert_eq!(out.trim(), "1 1 1 ok", "{errors}");
    let control = Scratch::new();
    assert_eq!(outside(&attack(control.0.to_str().unwrap())), "ok ok ok ok");
}

/// What a kernel without SCTP answers.
#[cfg(target_arch = "x86_64")]
const SCTP: &str = "ESOCKTNOSUPPORT";

/// Name, number, arguments, the answer inside and the answer outside. Numbers as on x86-64; another
/// architecture gets its own table when it is built for.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CALLS: &[(&str, i64, &str, &str, &str)] = &[
        ("unshare", 272, "0x04000000", "EPERM", "ok"),
        ("ptrace(TRACEME)", 101, "0, 0, 0, 0", "EPERM", "ok"),
        ("keyctl(GET_KEYRING_ID)", 250, "0, -3, 1", "EPERM", "ok"),
        ("clone3", 435, "0, 0", "ENOSYS", "EINVAL"),
        ("openat2", 437, "-100, b'/', 0, 0", "ENOSYS", "EINVAL"),
        ("bpf", 321, "0, 0, 0", "EPERM", "EINVAL"),
        ("perf_event_open", 298, "0, 0, 0, 0, 0", "EPERM", "EFAULT"),
        ("chroot", 161, "b'/'", "EPERM", "ok"),
        ("setns", 308, "0, 0", "EPERM", "EINVAL"),
        ("umount2", 166, "b'/no/such', 0", "EPERM", "ENOENT"),
        ("mount", 165, "0, b'/no/such', 0, 0, 0", "EPERM", "ENOENT"),
        ("personality(ADDR_NO_RANDOMIZE)", 135, "0x40000", "EPERM", "ok"),
        ("socket(AF_NETLINK)", 41, "16, 3, 0", "EAFNOSUPPORT", "ok"),
        ("socket(AF_PACKET)", 41, "17, 3, 0", "EAFNOSUPPORT", "ok"),
        ("socket(raw ICMP)", 41, "2, 3, 1", "EPERM", "ok"),
        ("ioctl(TIOCSTI)", 16, "0, 0x5412, 0", "EPERM", "ENOTTY"),
        ("ioctl(TIOCSTI) with a high bit", 16, "0, ctypes.c_ulong(0x100005412), 0", "EPERM", "ENOTTY"),
        ("socket(IPv4, SOCK_SEQPACKET)", 41, "2, 5, 0", "EPERM", SCTP),
        ("socket(IPv6, SOCK_SEQPACKET, flags)", 41, "10, 5 | 0o2004000, 0", "EPERM", SCTP),
        ("socket(Unix, SOCK_SEQPACKET)", 41, "1, 5, 0", "ok", "ok"),
        ("sched_setscheduler(parent)", 144, "__import__('os').getppid(), 0, b'\\0' * 8", "EPERM", "ok"),
        ("sched_setparam(parent)", 142, "__import__('os').getppid(), b'\\0' * 8", "EPERM", "ok"),
        ("sched_setattr(parent)", 314, "__import__('os').getppid(), b'\\0' * 48, 0", "EPERM", "ok"),
        ("sched_setaffinity(parent, none)", 203, "__import__('os').getppid(), 8, b'\\0' * 8", "EPERM", "EINVAL"),
        ("prlimit64(parent)", 302, "__import__('os').getppid(), 7, 0, 0", "EPERM", "ok"),
        ("setpriority(parent)", 141, "0, __import__('os').getppid(), 0", "EPERM", "ok"),
        ("setpriority(user without processes)", 141, "2, 64998, 0", "EPERM", "ESRCH"),
        ("sched_setscheduler(self)", 144, "0, 0, b'\\0' * 8", "ok", "ok"),
        ("sched_setparam(self)", 142, "0, b'\\0' * 8", "ok", "ok"),
        ("sched_setattr(self)", 314, "0, b'\\0' * 48, 0", "ok", "ok"),
        ("prlimit64(self)", 302, "0, 7, 0, 0", "ok", "ok"),
        ("setpriority(self)", 141, "0, 0, 5", "ok", "ok"),
        ("process_vm_readv", 310, "1, 0, 0, 0, 0, 0", "EPERM", "ok"),
];

#[test]
#[cfg(target_arch = "x86_64")]
fn dangerous_system_calls_are_refused() {
    if !privileged() {
        return;
    }
    for (name, number, arguments, walled, free) in CALLS {
        let script = system_call(*number, arguments);
        assert_eq!(inside(&script), *walled, "{name} inside");
        // On a host with SCTP the attack gets further than on one without: a socket.
        let there = outside(&script);
        assert!(
            there == *free || (*free == SCTP && there == "ok"),
            "{name} outside: {there}"
        );
    }
    let ring = system_call(425, "1, 0");
    assert_eq!(inside(&ring), "ENOSYS");
}

#[test]
fn programs_may_still_schedule_and_limit_themselves() {
    if !privileged() {
        return;
    }
    let (ended, out, errors) = sh(
        "nice -n 5 true && prlimit --nofile=64:64 true && ulimit -n 128 && chrt --other 0 true \
         && echo done",
    );
    assert_eq!(
        (ended, out.as_str()),
        (Ended::Exited(0), "done\n"),
        "{errors}"
    );
    let own = "import os, resource, subprocess\n\
               os.sched_setaffinity(0, os.sched_getaffinity(0))\n\
               os.nice(3)\n\
               resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n\
               subprocess.run(['true'], check=True)\n\
               print(resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(0))";
    assert_eq!(inside(own), "(100, 100) 3");
}

/// A clone with a namespace flag, the other way to become all-powerful again.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_clone_into_a_new_user_namespace_is_refused() {
    if !privileged() {
        return;
    }
    let script = "import ctypes, errno, os\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        r = libc.syscall(56, 0x10000011, 0, 0, 0, 0)\n\
        if r == 0: os._exit(0)\n\
        print('ok' if r > 0 else errno.errorcode[ctypes.get_errno()])";
    assert_eq!(inside(script), "EPERM");
    assert_eq!(outside(script), "ok");
}

#[test]
fn the_init_shows_nothing_of_itself() {
    if !privileged() {
        return;
    }
    let (_, out, _) = sh("cat /proc/1/environ 2>/dev/null; ls /proc/1/fd 2>/dev/null; echo done");
    assert_eq!(out, "done\n");
    let (_, out, _) = sh("ls /proc | grep -c '^1$'");
    assert_eq!(out, "0\n");
}

#[test]
fn what_proc_tells_of_the_host_is_masked() {
    if !privileged() {
        return;
    }
    let (_, out, _) = sh(
        "for f in kcore keys kallsyms timer_list; do wc -c < /proc/$f; done 2>/dev/null | sort -u; \
         echo x > /proc/sys/kernel/hostname; echo x > /proc/sysrq-trigger; ls /sys; true",
    );
    assert_eq!(out, "0\n");
}

#[test]
fn only_standard_streams_are_open_and_nothing_is_writable_but_scratch() {
    if !privileged() {
        return;
    }
    let (_, out, _) = sh("ls /proc/self/fd");
    // ls itself opens the directory as 3.
    assert_eq!(out, "0\n1\n2\n3\n");
    let script = "for d in / /usr /etc /dev /run /var /proc; do touch $d/x 2>/dev/null && echo $d; \
                  done; touch /tmp/x /dev/shm/x && echo fine";
    assert_eq!(sh(script).1, "fine\n");
}

#[test]
fn root_inside_is_nobody_outside() {
    if !privileged() {
        return;
    }
    let (_, out, _) = sh("id -u; cat /proc/self/uid_map");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words.first(), Some(&"0"));
    assert!(words[2].parse::<u32>().unwrap() >= 65_200, "{out}");
    let (_, out, _) =
        sh("grep -E 'Cap(Eff|Prm|Bnd|Inh|Amb)' /proc/self/status | cut -f2 | sort -u");
    assert_eq!(out, "0000000000000000\n");
}

#[test]
fn mounts_that_would_cover_the_system_are_refused() {
    if !privileged() {
        return;
    }
    let scratch = Scratch::new();
    let (zygote, started) = crate::support::started(&spec());
    started.kill_and_wait().unwrap();
    let mut bad = spec();
    bad.mounts
        .push(mount(&scratch.0, "/usr/local", Access::ReadOnly));
    assert_eq!(
        zygote.start(&bad).map(drop).map_err(|e| e.code().0),
        Err("run/bad-spec")
    );
    let mut absent = spec();
    absent
        .mounts
        .push(mount(&scratch.0.join("absent"), "/x", Access::ReadOnly));
    assert_eq!(
        zygote.start(&absent).map(drop).map_err(|e| e.code().0),
        Err("run/sandbox-setup")
    );
    std::os::unix::fs::symlink("/etc", scratch.0.join("link")).unwrap();
    let mut link = spec();
    link.mounts
        .push(mount(&scratch.0.join("link"), "/x", Access::ReadOnly));
    assert_eq!(
        zygote.start(&link).map(drop).map_err(|e| e.code().0),
        Err("run/sandbox-setup")
    );
    // And the zygote is none the worse for it.
    let mut fine = zygote.start(&spec()).unwrap();
    fine.init.exec(&exec(&["true"])).unwrap();
    fine.kill_and_wait().unwrap();
}
