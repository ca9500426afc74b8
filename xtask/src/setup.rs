//! Installs what the tests need on Debian and Ubuntu. Asks first, unless told `--yes`.

use crate::Outcome;
use crate::cargo::{root, visibly};
use crate::doctor::{NEEDS, venv, works};
use std::io::Write as _;
use std::process::Command;

/// Installs what is missing.
pub(crate) fn run(flags: &[&str]) -> Outcome {
    let yes = flags.contains(&"--yes");
    let missing: Vec<_> = NEEDS.iter().filter(|n| !(n.found)()).collect();
    if missing.is_empty() {
        println!("nothing to install");
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().filter_map(|n| n.package).collect();
    let python = missing.iter().any(|n| n.package.is_none());
    for need in &missing {
        println!("will install: {} ({})", need.name, need.purpose);
    }
    if !yes && !confirmed()? {
        return Err("nothing was installed".to_owned());
    }
    if !packages.is_empty() {
        install(&packages)?;
    }
    if python {
        environment()?;
    }
    Ok(())
}

fn confirmed() -> Result<bool, String> {
    print!("go on? [y/N] ");
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|e| e.to_string())?;
    Ok(line.trim().eq_ignore_ascii_case("y"))
}

fn install(packages: &[&str]) -> Outcome {
    if !works("apt-get", &["--version"]) {
        return Err(format!(
            "this is not Debian or Ubuntu; install these by your own means: {}",
            packages.join(" ")
        ));
    }
    let apt = || {
        let sudo = !works("test", &["-w", "/var/lib/dpkg"]);
        let mut command = Command::new(if sudo { "sudo" } else { "apt-get" });
        if sudo {
            command.arg("apt-get");
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    visibly(apt().arg("update"))?;
    visibly(
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )
}

/// The Python environment: versions are pinned in `crates/e2e/requirements.txt`.
fn environment() -> Outcome {
    let folder = venv();
    visibly(
        Command::new("/usr/bin/python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    visibly(
        Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(root().join("crates/e2e/requirements.txt")),
    )?;
    std::fs::write(folder.join(".complete"), "").map_err(|e| e.to_string())
}
