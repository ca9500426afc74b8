//! Compose files that hand a container the host.
//!
//! A line-oriented reader for a handful of keys of a service: `privileged`, `network_mode`, `pid`,
//! `user`, `cap_add`, `volumes`, `ports`. It is not a YAML parser: a service written in flow style
//! (`{…}`) or merged from an anchor (`<<: *x`) is a counted skip, never taken for clean.

use crate::dockerfile::is_root;
use crate::file::{FileInspector, FileView, Inspection};
use crate::rule::{Observation, Rule};
use crate::source::{Language, Line, at, folded, lines};
use ringfence_core::severity::Severity;

const REFERENCES: &[&str] = &[
    "https://docs.docker.com/reference/compose-file/services/",
    "https://cwe.mitre.org/data/definitions/250.html",
];

/// `privileged: true`, the Docker socket, `cap_add: ALL`.
pub static RULE_PRIVILEGED: Rule = Rule {
    id: "admit/compose-privileged",
    title: "This service holds the host",
    severity: Severity::High,
    cvss: Some(("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 88)),
    impact: "Whoever takes over the program in this container is root on the host: one command \
        starts a container with the host's file system.",
    fix: "Remove privileged, the Docker socket and the added capabilities; grant the one device \
        or capability that the program needs.",
    mitigation: "Keep the service stopped, or run it on a machine that holds nothing else.",
    references: REFERENCES,
    tags: &["CWE-250", "LLM06"],
};

/// `network_mode: host`, `pid: host`.
pub static RULE_NAMESPACE: Rule = Rule {
    id: "admit/compose-host-namespace",
    title: "This service shares a namespace of the host",
    severity: Severity::High,
    cvss: None,
    impact: "The container reaches every service that listens only on the host's loopback, or \
        sees and signals the host's processes.",
    fix: "Remove network_mode: host and pid: host; publish the ports that are needed on 127.0.0.1.",
    mitigation: "Bind the host's own services to addresses that the container cannot reach.",
    references: REFERENCES,
    tags: &["CWE-653", "LLM06"],
};

/// `user: root`.
pub static RULE_USER: Rule = Rule {
    id: "admit/compose-root",
    title: "This service runs as root",
    severity: Severity::High,
    cvss: Some(("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 78)),
    impact: "A flaw in the program gives its attacker root in the container.",
    fix: "Name an unprivileged user: user: \"10001:10001\".",
    mitigation: "Add cap_drop: [ALL] and security_opt: [no-new-privileges:true].",
    references: REFERENCES,
    tags: &["CWE-250"],
};

/// A port map without an address.
pub static RULE_PORTS: Rule = Rule {
    id: "admit/compose-port-all-interfaces",
    title: "A published port without an address listens on every interface of the host",
    severity: Severity::Medium,
    cvss: None,
    impact: "The service can be reached from every network the host is on; Docker's own firewall \
        rules go before those of the host.",
    fix: "Publish on loopback: \"127.0.0.1:8080:8080\", and put the gateway in front.",
    mitigation: "Block the port at the network's edge.",
    references: REFERENCES,
    tags: &["CWE-668", "CWE-1327"],
};

/// Finds services that hold the host.
#[derive(Debug)]
pub struct Compose;

impl FileInspector for Compose {
    fn id(&self) -> &'static str {
        "compose"
    }

    fn description(&self) -> &'static str {
        "reports compose services that are privileged, run as root, share the host's namespaces \
         or socket, or publish ports on every interface"
    }

    fn wants(&self, file: &FileView<'_>) -> bool {
        is_compose(file)
    }

    fn inspect(&self, file: &FileView<'_>) -> Inspection {
        let Some(text) = file.text() else {
            let mut inspection = Inspection::default();
            inspection.skip(file.path, "not-text", file.bytes.len() as u64);
            return inspection;
        };
        let mut reader = Reader {
            file: *file,
            out: Inspection::understood(file.bytes.len()),
            path: Vec::new(),
        };
        let all = lines(text, Language::Yaml);
        for (index, line) in all.iter().enumerate() {
            reader.line(&all, index, line);
            if reader.out.full() {
                break;
            }
        }
        reader.out
    }
}

/// Whether a file is a compose file, by name.
pub(crate) fn is_compose(file: &FileView<'_>) -> bool {
    let name = file.name().to_ascii_lowercase();
    matches!(file.extension().as_str(), "yml" | "yaml")
        && (name.starts_with("docker-compose") || name.starts_with("compose"))
}

struct Reader<'a> {
    file: FileView<'a>,
    out: Inspection,
    /// Open keys with their indentation.
    path: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn line(&mut self, all: &[Line<'_>], index: usize, line: &Line<'_>) {
        let code = line.code.trim_end();
        let body = code.trim_start();
        if body.is_empty() || body == "---" {
            return;
        }
        let indent = code.len() - body.len();
        let (item, content) = match body.strip_prefix('-') {
            Some(rest) => (true, rest.trim()),
            None => (false, body),
        };
        // A list item may stand at the indentation of its key.
        self.path
            .retain(|(at, _)| *at < indent || (item && *at == indent));
        let pair = content
            .split_once(':')
            .filter(|(k, v)| !k.contains(['"', '\'', ' ']) && (v.is_empty() || v.starts_with(' ')));
        let (key, value) = match pair {
            Some((key, value)) => (key.trim(), value.trim()),
            None => ("", content),
        };
        let in_service = self.path.first().is_some_and(|(_, k)| k == "services");
        if in_service && (value.starts_with('{') || value.contains('*') && key == "<<") {
            self.out
                .skip(self.file.path, "yaml-not-understood", code.len() as u64);
        }
        if in_service && self.path.len() >= 2 {
            let parent = self.path.get(2).map(|(_, k)| k.clone()).unwrap_or_default();
            let key_here = if self.path.len() == 2 { key } else { "" };
            self.judge(all, index, (&parent, key_here, key), plain(value));
        }
        if !item && !key.is_empty() {
            self.path.push((indent, plain(key).to_owned()));
        }
    }

    /// `parent` is the service's key that encloses a list item, `key` the service's own key.
    fn judge(
        &mut self,
        all: &[Line<'_>],
        index: usize,
        (parent, key, inner): (&str, &str, &str),
        value: &str,
    ) {
        let host = value.eq_ignore_ascii_case("host");
        match (parent, key) {
            ("", "privileged") if truth(value) => self.see(&RULE_PRIVILEGED, all, index),
            ("", "network_mode" | "pid" | "ipc") if host => self.see(&RULE_NAMESPACE, all, index),
            ("", "user") if is_root(value) => self.see(&RULE_USER, all, index),
            ("", "ports" | "volumes" | "cap_add") if value.starts_with('[') => {
                for part in value.trim_matches(['[', ']']).split(',') {
                    self.item(key, plain(part.trim()), all, index);
                }
            }
            ("ports", _) if inner == "published" => {
                if !neighbour(all, index, "host_ip:") {
                    self.see(&RULE_PORTS, all, index);
                }
            }
            ("ports", _)
                if matches!(inner, "target" | "protocol" | "mode" | "host_ip" | "name") => {}
            (list, _) => self.item(list, value, all, index),
        }
    }

    fn item(&mut self, list: &str, value: &str, all: &[Line<'_>], index: usize) {
        match list {
            "volumes" if value.contains("docker.sock") || value.contains("containerd.sock") => {
                self.see(&RULE_PRIVILEGED, all, index);
            }
            "cap_add" if owns_the_host(value) => {
                self.see(&RULE_PRIVILEGED, all, index);
            }
            "ports"
                if value.starts_with(|c: char| c.is_ascii_digit() || c == '$')
                    && !has_address(value) =>
            {
                self.see(&RULE_PORTS, all, index);
            }
            _ => {}
        }
    }

    fn see(&mut self, rule: &'static Rule, all: &[Line<'_>], index: usize) {
        let Some(line) = all.get(index) else { return };
        let text = folded(line.code);
        let service = self.path.get(1).map(|(_, k)| k.clone());
        let subject = at(self.file.path, line.number, text.clone(), service);
        self.out.observe(Observation::new(rule, subject, &text));
    }
}

/// LIMIT: lines before and after a port in which its address is looked for. An item has five keys;
/// one with more lines is reported, because its address was not found.
const NEIGHBOURS_MAX: usize = 64;

/// Whether a key stands beside a line: same list item, by indentation.
fn neighbour(all: &[Line<'_>], index: usize, key: &str) -> bool {
    let width = |l: &Line<'_>| {
        l.code.len()
            - l.code
                .trim_start()
                .trim_start_matches('-')
                .trim_start()
                .len()
    };
    let Some(here) = all.get(index).map(width) else {
        return false;
    };
    let bare = |l: &Line<'_>| {
        l.code
            .trim()
            .trim_start_matches('-')
            .trim()
            .starts_with(key)
    };
    let begins = |l: &Line<'_>| l.code.trim_start().starts_with('-');
    let from = index.saturating_sub(NEIGHBOURS_MAX);
    let first = all
        .get(from..=index)
        .unwrap_or_default()
        .iter()
        .rposition(|l| begins(l) && width(l) == here)
        .map_or(index, |n| from + n);
    all.get(first..)
        .unwrap_or_default()
        .iter()
        .take(NEIGHBOURS_MAX * 2)
        .enumerate()
        .take_while(|(n, l)| *n == 0 || (width(l) == here && !begins(l)))
        .any(|(_, l)| bare(l))
}

fn plain(value: &str) -> &str {
    value.trim().trim_matches(['"', '\''])
}

fn truth(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "yes" | "on")
}

/// Capabilities with which a program in a container reaches the host (capabilities(7)). Docker
/// reads them in any case and with or without the prefix.
fn owns_the_host(value: &str) -> bool {
    let upper = value.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    matches!(
        name,
        "ALL" | "BPF" | "DAC_READ_SEARCH" | "SYS_ADMIN" | "SYS_MODULE" | "SYS_PTRACE" | "SYS_RAWIO"
    )
}

/// `IP:HOST:CONTAINER` has an address; `HOST:CONTAINER` and `CONTAINER` have none. A variable
/// counts as one part, whatever its default holds.
fn has_address(ports: &str) -> bool {
    let mut parts = 1;
    let mut depth = 0_usize;
    for c in ports.split('/').next().unwrap_or(ports).chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => parts += 1,
            _ => {}
        }
    }
    parts >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Vec<(&'static str, Option<u32>)>, Vec<String>) {
        crate::cases::seen_in(&Compose, "docker-compose.yml", text)
    }

    #[test]
    fn every_key_is_found_in_its_service() {
        let text = "\
services:
  web:
    image: x
    privileged: true
    network_mode: \"host\"
    user: \"0:0\"
    cap_add:
      - SYS_ADMIN
    volumes:
    - /var/run/docker.sock:/var/run/docker.sock
    ports:
      - \"8080:80\"
      - 127.0.0.1:9000:9000
";
        let (found, skips) = check(text);
        assert_eq!(
            found,
            [
                ("admit/compose-privileged", Some(4)),
                ("admit/compose-host-namespace", Some(5)),
                ("admit/compose-root", Some(6)),
                ("admit/compose-privileged", Some(8)),
                ("admit/compose-privileged", Some(10)),
                ("admit/compose-port-all-interfaces", Some(12)),
            ]
        );
        assert!(skips.is_empty());
    }

    #[test]
    fn the_same_words_elsewhere_are_not_keys() {
        let text = "\
x-note:
  privileged: true
services:
  web: # privileged: true
    environment:
      - privileged=true
    labels:
      privileged: \"true\"
    privileged: false
    user: app
    ports: [\"127.0.0.1:1:1\"]
";
        assert_eq!(check(text).0, []);
    }

    #[test]
    fn flow_lists_and_the_long_form_of_ports_are_read() {
        assert_eq!(
            check("services:\n  a:\n    ports: ['80:80', '127.0.0.1:1:1']\n")
                .0
                .len(),
            1
        );
        let long = "services:\n  a:\n    ports:\n      - target: 80\n        published: 80\n";
        assert_eq!(
            check(long).0,
            [("admit/compose-port-all-interfaces", Some(5))]
        );
        assert_eq!(check(&format!("{long}        host_ip: 127.0.0.1\n")).0, []);
    }

    #[test]
    fn what_is_not_understood_is_a_skip() {
        assert_eq!(
            check("services:\n  a: {privileged: true}\n").1,
            ["yaml-not-understood"]
        );
        assert_eq!(
            check("services:\n  a:\n    <<: *base\n").1,
            ["yaml-not-understood"]
        );
    }

    #[test]
    fn capabilities_are_read_as_docker_reads_them() {
        for name in [
            "ALL",
            "all",
            "sys_admin",
            "CAP_SYS_MODULE",
            "cap_sys_ptrace",
        ] {
            assert!(owns_the_host(name), "{name}");
        }
        for name in ["NET_BIND_SERVICE", "CHOWN", "", "ALLY"] {
            assert!(!owns_the_host(name), "{name}");
        }
        let (found, _) = check("services:\n  a:\n    cap_add:\n      - sys_admin\n");
        assert_eq!(found, [("admit/compose-privileged", Some(4))]);
    }

    #[test]
    fn ports_in_variables_are_ports() {
        for port in [
            "${PORT}:80",
            "${PORT:-8080}:8080",
            "$PORT:80",
            "80:${P:-80}",
        ] {
            let text = format!("services:\n  a:\n    ports:\n      - \"{port}\"\n");
            assert_eq!(check(&text).0.len(), 1, "{port}");
        }
        for port in ["127.0.0.1:${PORT:-80}:80", "${ADDRESS:-127.0.0.1}:80:80"] {
            let text = format!("services:\n  a:\n    ports:\n      - \"{port}\"\n");
            assert_eq!(check(&text).0, [], "{port}");
        }
    }

    #[test]
    fn an_address_is_looked_for_up_to_the_limit_and_no_further() {
        let text = |lines: usize| {
            format!(
                "services:\n  a:\n    ports:\n      - host_ip: 127.0.0.1\n{}        published: 80\n",
                "        mode: host\n".repeat(lines)
            )
        };
        assert_eq!(check(&text(NEIGHBOURS_MAX - 1)).0, []);
        assert_eq!(check(&text(NEIGHBOURS_MAX)).0.len(), 1);
        // An item of many ports is not read from its start for each of them.
        let long = text(1) + &"        published: 80\n".repeat(20_000);
        assert_eq!(check(&long).1, ["too-many-findings"]);
    }
}
