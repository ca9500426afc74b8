//! One command, its end, its limits.

use crate::support::{job, privileged, python, run, sh, texts};
use ringfence_core::error::Explain;
use ringfence_core::isolation::{Ended, Wall};
use ringfence_sandbox::oneshot::{self, OneShot, Streams};

#[test]
fn true_runs_and_every_wall_stands() {
    if !privileged() {
        return;
    }
    let report = run(&job(&["true"]));
    assert_eq!(report.ended, Ended::Exited(0));
    assert_eq!(report.attestation.walls.len(), Wall::ALL.len());
    let missing: Vec<_> = report.attestation.missing().collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(report.attestation.start_us > 0);
    assert!(report.stats.memory_peak_bytes > 0 && report.stats.cpu_us > 0);
}

#[test]
fn codes_and_signals_are_passed_on_exactly() {
    if !privileged() {
        return;
    }
    assert_eq!(sh("exit 0").0, Ended::Exited(0));
    assert_eq!(sh("exit 37").0, Ended::Exited(37));
    assert_eq!(sh("kill -TERM $$").0, Ended::Signaled(15));
    assert_eq!(sh("kill -KILL $$").0, Ended::Signaled(9));
}

#[test]
fn input_and_both_outputs_pass_whole() {
    if !privileged() {
        return;
    }
    let mut job = job(&["sh", "-c", "cat; echo to-errors >&2"]);
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    job.streams = Streams::Capture {
        stdin: input.clone(),
    };
    let report = run(&job);
    assert_eq!(report.ended, Ended::Exited(0));
    assert!(report.stdout.bytes == input);
    assert_eq!(report.stderr.bytes, b"to-errors\n");
}

#[test]
fn a_missing_command_and_a_missing_directory_are_told_apart() {
    if !privileged() {
        return;
    }
    let code = |job: OneShot| oneshot::run(&job).map(|r| r.ended).map_err(|e| e.code().0);
    assert_eq!(
        code(job(&["no-such-program"])),
        Err("run/command-not-found")
    );
    assert_eq!(
        code(job(&["/etc/passwd"])),
        Err("run/command-not-executable")
    );
    let mut elsewhere = job(&["true"]);
    elsewhere.exec.workdir = "/no/such/place".into();
    assert_eq!(code(elsewhere), Err("run/command-not-executable"));
    assert_eq!(code(job(&[])), Err("run/bad-spec"));
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    if !privileged() {
        return;
    }
    let mut job = job(&["/usr/bin/env"]);
    job.exec.env = vec![
        ("ONE".to_owned(), "1".to_owned()),
        ("TWO".to_owned(), "a b".to_owned()),
    ];
    let (ended, out, _) = texts(run(&job));
    assert_eq!(
        (ended, out.as_str()),
        (Ended::Exited(0), "ONE=1\nTWO=a b\n")
    );
}

#[test]
fn a_fork_bomb_stays_within_its_limit() {
    if !privileged() {
        return;
    }
    let mut job = job(&["sh", "-c", "f() { f | f & f; }; f"]);
    job.spec.processes = 40;
    job.exec.wall_ms = Some(1_000);
    let report = run(&job);
    assert!(report.stats.fork_denials > 0, "{report:?}");
    // The host forks as before.
    assert!(
        std::process::Command::new("/bin/true")
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_memory_bomb_is_killed_inside_only() {
    if !privileged() {
        return;
    }
    let bomb = "b = bytearray(200 * 1024 * 1024); print(len(b))";
    // With room it does no harm: the control.
    assert_eq!(python(bomb).0, Ended::Exited(0));
    let mut small = job(&["python3", "-c", bomb]);
    small.spec.memory_bytes = 64 * 1024 * 1024;
    let report = run(&small);
    assert_eq!(report.ended, Ended::OutOfMemory);
    assert!(report.stats.oom_kills > 0);
    assert!(report.stats.memory_peak_bytes <= 64 * 1024 * 1024);
}

#[test]
fn memory_in_tmp_counts_against_the_limit_too() {
    if !privileged() {
        return;
    }
    let fill = "dd if=/dev/zero of=/tmp/f bs=1M count=200 2>&1";
    let (ended, out, _) = sh(fill);
    assert_ne!(ended, Ended::Exited(0));
    assert!(out.contains("No space left"), "{out}");
}

#[test]
fn the_timeout_kills_a_tree_that_left_its_session() {
    if !privileged() {
        return;
    }
    // A double fork with setsid leaves process group, session and parent behind.
    let script = "setsid sh -c 'setsid sleep 1000 & setsid sleep 1001 &' & sleep 1002";
    let mut job = job(&["sh", "-c", script]);
    job.exec.wall_ms = Some(300);
    let report = run(&job);
    assert_eq!(report.ended, Ended::TimedOut);
    // When the end is reported only the init is left.
    assert_eq!(report.stats.processes, 1, "{report:?}");
}

#[test]
fn a_program_that_ends_takes_its_leftovers_along() {
    if !privileged() {
        return;
    }
    let report = run(&job(&[
        "sh",
        "-c",
        "setsid sleep 1000 >/dev/null 2>&1 & exit 3",
    ]));
    assert_eq!(report.ended, Ended::Exited(3));
    assert_eq!(report.stats.processes, 1);
}

#[test]
fn compilers_and_interpreters_run() {
    if !privileged() {
        return;
    }
    let source = "#include <stdio.h>\nint main(void){puts(\"built\");return 0;}";
    let script = format!("cat > a.c <<'E'\n{source}\nE\ngcc -o a a.c && ./a");
    let (ended, out, errors) = sh(&script);
    assert_eq!(
        (ended, out.as_str()),
        (Ended::Exited(0), "built\n"),
        "{errors}"
    );
    let script = "import threading, subprocess, tempfile, socket, multiprocessing\n\
        t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n\
        print(subprocess.check_output(['echo', 'child'], text=True), end='')\n\
        print(multiprocessing.Pool(2).map(abs, [-1, -2]))";
    let (ended, out, errors) = python(script);
    assert_eq!(
        (ended, out.as_str()),
        (Ended::Exited(0), "thread\nchild\n[1, 2]\n"),
        "{errors}"
    );
}

#[test]
fn too_long_arguments_are_refused_before_they_are_sent() {
    if !privileged() {
        return;
    }
    let long = "x".repeat(70_000);
    let refused = oneshot::run(&job(&["echo", &long]))
        .map(|r| r.ended)
        .map_err(|e| e.code().0);
    assert_eq!(refused, Err("run/exec-too-large"));
}
