//! Against the real kernel, in a group of this test's own.

use super::*;

const PARENT: &str = "ringfence-test-sys";

fn group(name: &str) -> Group {
    let hierarchy = Hierarchy::of_this_process().unwrap();
    Group::create(
        &hierarchy,
        PARENT,
        &format!("{name}-{}", std::process::id()),
    )
}

fn privileged() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let allowed = std::env::var_os("RINGFENCE_TEST_NO_PRIVILEGED").is_some();
    assert!(
        allowed,
        "this test needs root; RINGFENCE_TEST_NO_PRIVILEGED=1 skips it"
    );
    println!("SKIPPED: needs root");
    false
}

#[test]
fn limits_read_back_and_the_group_leaves_no_trace() {
    if !privileged() {
        return;
    }
    let group = group("limits");
    let limits = Limits {
        memory_bytes: 64 << 20,
        processes: 7,
        cpu_millis: Some(250),
    };
    group.limit(limits).unwrap();
    let (_, memory) = group.limit_evidence(Controller::Memory).unwrap();
    assert_eq!(memory, (64 << 20).to_string());
    let (_, processes) = group.limit_evidence(Controller::Processes).unwrap();
    assert_eq!(processes, "7");
    let place = group.path(Controller::Memory).unwrap().to_path_buf();
    assert!(place.exists());
    group.remove().unwrap();
    assert!(!place.exists());
    group.remove().unwrap();
    Group::create(&Hierarchy::of_this_process().unwrap(), PARENT, "").remove_empty();
}

#[test]
fn a_frozen_process_stops_and_goes_on() {
    if !privileged() {
        return;
    }
    let group = group("freeze");
    let mut child = std::process::Command::new("/bin/cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().cast_signed();
    group.attach(pid).unwrap();
    assert!(group.holds(pid));
    assert_eq!(group.processes(), [pid]);
    group.freeze(true).unwrap();
    group.freeze(false).unwrap();
    assert!(group.counters().processes >= 1);
    child.kill().unwrap();
    child.wait().unwrap();
    group.remove().unwrap();
    Group::create(&Hierarchy::of_this_process().unwrap(), PARENT, "").remove_empty();
}
