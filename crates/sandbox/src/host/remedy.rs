//! What to do about a wall that does not stand, for this very host.
//!
//! A remedy names the command for the distribution that `/etc/os-release` names, and the setting that
//! is wrong where the host shows which one it is. It changes nothing.
//! INVARIANT: every wall and every step that failed has a remedy.

use ringfence_core::isolation::Wall;
use std::fs;
use std::path::PathBuf;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EAGAIN: i32 = 11;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;

/// What to do about a wall that does not stand.
pub(crate) fn remedy(wall: Wall) -> String {
    Host::this().remedy(wall)
}

/// What to do when building a sandbox failed in this step.
pub(crate) fn setup_remedy(step: &str, errno: Option<i32>) -> String {
    Host::this().setup_remedy(step, errno)
}

/// A family of distributions whose commands are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Debian,
    Fedora,
    Arch,
    Suse,
    Other,
}

impl Family {
    /// How kernel parameters are set for good.
    fn parameters(self, change: &str) -> String {
        match self {
            Self::Debian => format!(
                "{change} in GRUB_CMDLINE_LINUX of /etc/default/grub, then update-grub and reboot"
            ),
            Self::Fedora => {
                format!(
                    "{change}: grubby --update-kernel=ALL --args=… or --remove-args=…, then reboot"
                )
            }
            Self::Arch => format!(
                "{change} in GRUB_CMDLINE_LINUX of /etc/default/grub, then \
                 grub-mkconfig -o /boot/grub/grub.cfg and reboot"
            ),
            Self::Suse => format!(
                "{change} in GRUB_CMDLINE_LINUX_DEFAULT of /etc/default/grub, then \
                 grub2-mkconfig -o /boot/grub2/grub.cfg and reboot"
            ),
            Self::Other => {
                format!("{change} on the kernel command line of the boot loader, then reboot")
            }
        }
    }
}

/// A host, seen through its files; tests give it others.
struct Host {
    root: PathBuf,
}

impl Host {
    fn this() -> Self {
        Self { root: "/".into() }
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    fn setting(&self, name: &str) -> Option<String> {
        let text = self.read(&format!("proc/sys/{}", name.replace('.', "/")))?;
        Some(text.trim().to_owned())
    }

    fn family(&self) -> Family {
        let text = self.read("etc/os-release").unwrap_or_default();
        let words: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("ID=").or_else(|| l.strip_prefix("ID_LIKE=")))
            .flat_map(|l| l.trim_matches('"').split(' '))
            .collect();
        let is = |names: &[&str]| names.iter().any(|n| words.contains(n));
        if is(&["debian", "ubuntu"]) {
            Family::Debian
        } else if is(&["fedora", "rhel", "centos"]) {
            Family::Fedora
        } else if is(&["arch"]) {
            Family::Arch
        } else if is(&["suse", "opensuse"]) {
            Family::Suse
        } else {
            Family::Other
        }
    }

    fn remedy(&self, wall: Wall) -> String {
        match wall {
            Wall::UserNamespace => self.user_namespaces(),
            Wall::MountNamespace
            | Wall::PidNamespace
            | Wall::NetNamespace
            | Wall::IpcNamespace
            | Wall::UtsNamespace
            | Wall::CgroupNamespace => {
                "use a kernel with all namespaces (CONFIG_NAMESPACES=y and CONFIG_*_NS=y; those of \
                 Debian, Ubuntu and Fedora have them)"
                    .to_owned()
            }
            Wall::Seccomp => SECCOMP.to_owned(),
            Wall::Landlock => self.landlock(),
            Wall::MemoryLimit => self.controller("memory"),
            Wall::ProcessLimit => self.controller("pids"),
            Wall::CpuLimit => self.controller("cpu"),
            Wall::NoPrivileges => "report this: dropping privileges must always work".to_owned(),
        }
    }

    /// The settings that forbid user namespaces, the one that does first.
    fn user_namespaces(&self) -> String {
        let allow = |setting: &str, value: &str| {
            format!(
                "allow user namespaces: sysctl -w {setting}={value} (for good: a line in \
                 /etc/sysctl.d/90-ringfence.conf)"
            )
        };
        let is = |setting: &str, value: &str| self.setting(setting).as_deref() == Some(value);
        if is("user.max_user_namespaces", "0") {
            return allow("user.max_user_namespaces", "15000");
        }
        if is("kernel.unprivileged_userns_clone", "0") {
            return allow("kernel.unprivileged_userns_clone", "1");
        }
        if is("kernel.apparmor_restrict_unprivileged_userns", "1") {
            return format!(
                "{}, or run ringfence as root",
                allow("kernel.apparmor_restrict_unprivileged_userns", "0")
            );
        }
        USER_NAMESPACES.to_owned()
    }

    /// Either the kernel has Landlock and does not start it, or it has none.
    fn landlock(&self) -> String {
        let line = self.read("proc/cmdline").unwrap_or_default();
        let chosen = line
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("lsm="))
            .next_back();
        let modules = self.read("sys/kernel/security/lsm").unwrap_or_default();
        let list = match (chosen, modules.trim()) {
            (Some(list), _) if list.split(',').any(|m| m == "landlock") => {
                return "use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK=y: lsm= names \
                        landlock and this kernel does not have it"
                    .to_owned();
            }
            (Some(list), _) => list,
            (None, "") => "lockdown,yama,integrity,apparmor,bpf",
            (None, list) => list.strip_prefix("capability,").unwrap_or(list),
        };
        let change = self
            .family()
            .parameters(&format!("set lsm=landlock,{list}"));
        format!("use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK=y; {change}")
    }

    /// A controller that the kernel was told to leave out, or one that nobody handed to us.
    fn controller(&self, name: &str) -> String {
        let table = self.read("proc/cgroups").unwrap_or_default();
        let off = table.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.first() == Some(&name) && words.last() == Some(&"0")
        });
        let line = self.read("proc/cmdline").unwrap_or_default();
        let told = line
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("cgroup_disable="))
            .any(|list| list.split(',').any(|c| c == name));
        if told {
            return self
                .family()
                .parameters(&format!("remove {name} from cgroup_disable={name}"));
        }
        if off {
            return self.family().parameters(&format!(
                "the kernel has the {name} controller off: add cgroup_enable={name}"
            ));
        }
        ROOT_OR_DELEGATE.to_owned()
    }

    fn setup_remedy(&self, step: &str, errno: Option<i32>) -> String {
        let text = match (step, errno) {
            ("clone into namespaces", Some(ENOSPC)) => {
                "raise the limits: sysctl -w user.max_user_namespaces=15000 \
                 user.max_net_namespaces=15000"
            }
            ("clone into namespaces", Some(ENOSYS)) => {
                "use Linux 5.13 or later; in a container, a seccomp profile that knows clone3: \
                 Docker 20.10.10 or later, or --security-opt seccomp=unconfined"
            }
            (_, Some(EAGAIN)) => {
                "allow more processes: pids.max of the control group this runs in (systemd: \
                 TasksMax=; Docker: --pids-limit), ulimit -u, or sysctl -w kernel.pid_max=4194304"
            }
            ("clone into namespaces", _) => return self.user_namespaces(),
            ("mount /proc", Some(EPERM)) => {
                "the host hides parts of its own /proc, as containers do: Docker: --security-opt \
                 systempaths=unconfined; Kubernetes: procMount: Unmasked; or run on the host itself"
            }
            ("enter the new root", Some(EINVAL)) => {
                "this host runs from its first RAM file system, which no process can leave: let its \
                 init switch_root to another file system, a tmpfs will do"
            }
            ("map user ids", _) => {
                "run as root, or as a user whose id can be mapped (newer than 3.19)"
            }
            ("install the system call filter", _) => SECCOMP,
            ("slot", _) => "end some sandboxes first",
            (step, Some(ENOENT)) if step.starts_with("mount ") => {
                "check that the path to mount exists"
            }
            (_, Some(ENOSYS)) => "use Linux 5.13 or later: a system call is missing",
            (step, _) if step.starts_with("bind door") => "choose another port for the door",
            _ => "run ringfence doctor, which tries every wall by itself",
        };
        text.to_owned()
    }
}

const ROOT_OR_DELEGATE: &str = "run ringfence as root; without root, on a systemd host: \
    systemd-run --user --scope -p Delegate=yes ringfence …; in a container: add --cgroupns=host \
    and a writable /sys/fs/cgroup";
const SECCOMP: &str =
    "use a kernel with CONFIG_SECCOMP_FILTER=y (Debian, Ubuntu, Fedora, Arch, SUSE: yes)";
const USER_NAMESPACES: &str = "allow user namespaces: Debian and Fedora: sysctl -w \
    user.max_user_namespaces=15000; older Debian: sysctl -w kernel.unprivileged_userns_clone=1; \
    Ubuntu 23.10 or later: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or run as \
    root); Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined";

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The remedies of a host with these files.
    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path: &Path = &folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = folder.path().to_path_buf();
        (folder, Host { root })
    }

    #[test]
    fn every_wall_has_a_remedy() {
        for wall in Wall::ALL {
            assert!(!remedy(wall).is_empty(), "{wall:?}");
        }
    }

    #[test]
    fn the_setting_that_is_wrong_is_the_one_that_is_named() {
        let settings = [
            (
                "user/max_user_namespaces",
                "0\n",
                "user.max_user_namespaces=15000",
            ),
            (
                "kernel/unprivileged_userns_clone",
                "0\n",
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                "kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
        ];
        for (file, value, wanted) in settings {
            let (_folder, host) = host(&[(&format!("proc/sys/{file}"), value)]);
            let text = host.setup_remedy("clone into namespaces", Some(EPERM));
            assert!(text.contains(wanted), "{text}");
            assert_eq!(text.matches("sysctl").count(), 2, "{text}");
        }
        let (_folder, host) = host(&[]);
        let text = host.remedy(Wall::UserNamespace);
        assert!(text.contains("Ubuntu") && text.contains("Docker"), "{text}");
    }

    #[test]
    fn kernel_parameters_are_set_as_the_distribution_does() {
        let families = [
            ("ID=ubuntu\nID_LIKE=debian\n", "update-grub"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "grubby"),
            ("ID=arch\n", "grub-mkconfig -o /boot/grub/grub.cfg"),
            (
                "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n",
                "grub2-mkconfig",
            ),
            ("ID=alpine\n", "boot loader"),
        ];
        for (release, wanted) in families {
            let (_folder, host) = host(&[
                ("etc/os-release", release),
                ("proc/cmdline", "quiet lsm=yama,apparmor\n"),
            ]);
            let text = host.remedy(Wall::Landlock);
            assert!(
                text.contains(wanted) && text.contains("lsm=landlock,yama,apparmor"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_controller_that_is_off_is_told_from_one_that_was_not_handed_over() {
        let table =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\npids\t0\t1\t1\n";
        let (_one, off) = host(&[("proc/cgroups", table)]);
        assert!(
            off.remedy(Wall::MemoryLimit)
                .contains("cgroup_enable=memory")
        );
        assert!(off.remedy(Wall::ProcessLimit).contains("Delegate=yes"));
        let (_two, told) = host(&[
            ("proc/cgroups", table),
            ("proc/cmdline", "quiet cgroup_disable=memory,pids"),
        ]);
        assert!(
            told.remedy(Wall::MemoryLimit)
                .contains("cgroup_disable=memory")
        );
    }

    #[test]
    fn a_failed_step_is_told_by_its_error() {
        let (_folder, host) = host(&[]);
        let of = |step, errno| host.setup_remedy(step, Some(errno));
        assert!(of("attack the walls", EAGAIN).contains("pids.max"));
        assert!(of("clone into namespaces", ENOSYS).contains("clone3"));
        assert!(of("mount /proc", EPERM).contains("systempaths=unconfined"));
        assert!(of("enter the new root", EINVAL).contains("switch_root"));
        assert!(of("mount /srv", ENOENT).contains("path to mount"));
        assert!(
            host.setup_remedy("install the system call filter", None)
                .contains("SECCOMP_FILTER")
        );
    }
}
