//! What the source seems to need: hosts it names, programs it starts.
//!
//! A thin reading by line, for comparison with what the project declares. It is evidence, not a
//! boundary: the fence enforces what is declared, whatever is concluded here. Tools, files and
//! devices are not concluded yet.

use ringfence_core::capability::{CapabilityManifest, Origin};
use ringfence_inspect::FileView;
use std::collections::BTreeSet;

/// LIMIT: hosts and programs kept of one project.
pub const NAMES_MAX: usize = 1_000;

const SOURCE: &[&str] = &[
    "py", "js", "mjs", "cjs", "ts", "tsx", "jsx", "sh", "toml", "yaml", "yml",
];
/// Calls whose first literal is a program.
const STARTS: &[&str] = &[
    "subprocess.run(",
    "subprocess.Popen(",
    "subprocess.call(",
    "subprocess.check_output(",
    "subprocess.check_call(",
    "os.system(",
    "os.popen(",
    "execSync(",
    "spawnSync(",
    "spawn(",
    "execFile(",
    "execFileSync(",
    "create_subprocess_exec(",
];

/// Gathers capabilities file by file.
#[derive(Debug, Default)]
pub struct Gathered {
    hosts: BTreeSet<String>,
    exec: BTreeSet<String>,
}

impl Gathered {
    /// Reads one file, if it is source or configuration.
    pub fn file(&mut self, file: &FileView<'_>) {
        if !SOURCE.contains(&file.extension().as_str()) {
            return;
        }
        let Some(text) = file.text() else { return };
        for line in text.lines() {
            let code = line.trim_start();
            if code.starts_with('#') || code.starts_with("//") {
                continue;
            }
            for (_, rest) in split_at_each(code, "://") {
                if let Some(host) = host(rest)
                    && self.hosts.len() < NAMES_MAX
                {
                    self.hosts.insert(host);
                }
            }
            for start in STARTS {
                for (_, rest) in split_at_each(code, start) {
                    if let Some(program) = program(rest)
                        && self.exec.len() < NAMES_MAX
                    {
                        self.exec.insert(program);
                    }
                }
            }
        }
    }

    /// What was gathered.
    pub fn manifest(self) -> CapabilityManifest {
        CapabilityManifest {
            files: Vec::new(),
            hosts: self.hosts.into_iter().collect(),
            tools: Vec::new(),
            exec: self.exec.into_iter().collect(),
            devices: Vec::new(),
            origin: Origin::Inferred,
        }
    }
}

fn split_at_each<'t>(text: &'t str, mark: &'t str) -> impl Iterator<Item = (&'t str, &'t str)> {
    text.match_indices(mark)
        .filter_map(move |(at, found)| Some((text.get(..at)?, text.get(at + found.len()..)?)))
}

/// The host of what follows `://`, unless it is this machine or a template.
fn host(rest: &str) -> Option<String> {
    let authority: String = rest
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '@' | '_'))
        .collect();
    let next = rest.chars().nth(authority.chars().count());
    let host = authority
        .rsplit('@')
        .next()?
        .split(':')
        .next()?
        .trim_end_matches('.');
    let local = host == "localhost" || host.starts_with("127.") || host == "0.0.0.0";
    let named = host.contains('.') && !host.starts_with('.');
    (named && !local && !matches!(next, Some('{' | '$' | '%' | '<')))
        .then(|| host.to_ascii_lowercase())
}

/// The program of a literal: the first word of the first quoted text.
fn program(rest: &str) -> Option<String> {
    let open = rest.trim_start_matches([' ', '[', '(', 'f']);
    let quote = open
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\'' | '`'))?;
    let inside = open.get(1..)?.split(quote).next()?;
    let word = inside.split_whitespace().next()?;
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/+".contains(c));
    plain.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(path: &str, text: &str) -> CapabilityManifest {
        let mut all = Gathered::default();
        all.file(&FileView {
            path,
            bytes: text.as_bytes(),
        });
        all.manifest()
    }

    #[test]
    fn hosts_come_from_addresses_in_code() {
        let text = "a = 'https://user:pw@API.example.org:443/v1'\n# http://comment.example\n\
                    b = 'http://127.0.0.1:1/' + 'http://localhost/'\nc = f'https://{host}/'";
        assert_eq!(gathered("a.py", text).hosts, ["api.example.org"]);
        assert!(gathered("a.md", text).hosts.is_empty());
    }

    #[test]
    fn programs_come_from_literals_of_calls_that_start_them() {
        let text =
            "subprocess.run([\"git\", \"log\"])\nos.system('ls -l')\nsubprocess.run(command)";
        assert_eq!(gathered("a.py", text).exec, ["git", "ls"]);
    }

    #[test]
    fn names_stop_at_the_limit() {
        let many: Vec<String> = (0..=NAMES_MAX)
            .map(|n| format!("u = 'http://h{n}.example/'"))
            .collect();
        assert_eq!(gathered("a.py", &many.join("\n")).hosts.len(), NAMES_MAX);
    }
}
