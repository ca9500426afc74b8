//! Services that listen on every interface.
//!
//! Looks for `0.0.0.0`, `::`, `INADDR_ANY` and the empty host of Python's socket servers, in code
//! and configuration, not in comments, comparisons or networks (`0.0.0.0/0`). It does not know
//! frameworks that listen everywhere by default when no host is given (`server.listen(8080)`).

use crate::file::{FileInspector, FileView, Inspection};
use crate::rule::{Observation, Rule};
use crate::source::{Language, Line, at, folded, in_tests, lines, symbol};
use ringfence_core::severity::{Confidence, Severity};

const REFERENCES: &[&str] = &[
    "https://cwe.mitre.org/data/definitions/1327.html",
    "https://genai.owasp.org/llm-top-10/",
];

/// A program or its configuration listens everywhere.
pub static RULE_BIND: Rule = Rule {
    id: "admit/bind-all-interfaces",
    title: "This service listens on every network interface",
    severity: Severity::High,
    cvss: Some(("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:L", 73)),
    impact: "Anyone who reaches the machine reaches the service, without the gateway's keys, \
        limits and filters. Tens of thousands of assistants were found open this way.",
    fix: "Listen on 127.0.0.1 and let the gateway be the only way in.",
    mitigation: "Inside the fence the service has no interface but loopback, so it is not \
        reachable; do not start it outside, and block its port on the host.",
    references: REFERENCES,
    tags: &["CWE-1327", "CWE-668", "LLM06"],
};

/// An image listens everywhere inside its container.
pub static RULE_CONTAINER: Rule = Rule {
    id: "admit/bind-container",
    title: "This image listens on every interface of its container",
    severity: Severity::Medium,
    cvss: Some(("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:L", 56)),
    impact: "Every container on the same network reaches the service, and a published port opens \
        it to the host's networks.",
    fix: "Publish the port only on loopback (127.0.0.1:8080:8080) and put the gateway in front.",
    mitigation: "Put the container on a network of its own.",
    references: REFERENCES,
    tags: &["CWE-1327", "CWE-668"],
};

/// Finds services bound to every interface.
#[derive(Debug)]
pub struct Bind;

impl FileInspector for Bind {
    fn id(&self) -> &'static str {
        "bind"
    }

    fn description(&self) -> &'static str {
        "reports services bound to 0.0.0.0 or :: in source, configuration and images"
    }

    fn wants(&self, file: &FileView<'_>) -> bool {
        Language::of(file.name(), &file.extension()).is_some()
    }

    fn inspect(&self, file: &FileView<'_>) -> Inspection {
        let language = Language::of(file.name(), &file.extension());
        let (Some(language), Some(text)) = (language, file.text()) else {
            let mut inspection = Inspection::default();
            inspection.skip(file.path, "not-text", file.bytes.len() as u64);
            return inspection;
        };
        let mut inspection = Inspection::understood(file.bytes.len());
        if !text.contains("0.0.0.0")
            && !text.contains("::")
            && !text.contains("INADDR")
            && !text.contains("((")
        {
            return inspection;
        }
        let all = lines(text, language);
        for (index, line) in all.iter().enumerate() {
            let Some((word, idle)) = open_address(line, language) else {
                continue;
            };
            let container = language == Language::Dockerfile;
            let rule = if container {
                &RULE_CONTAINER
            } else {
                &RULE_BIND
            };
            let subject = at(
                file.path,
                line.number,
                folded(&word),
                symbol(&all, index, language),
            );
            let title = format!("{}: {}", rule.title, folded(&word));
            let seen = Observation::new(rule, subject, &word).titled(title);
            let seen = if idle || in_tests(file.path) {
                seen.rated(Severity::Low)
            } else {
                seen
            };
            inspection.observe(seen.sure(Confidence::Medium));
            if inspection.full() {
                break;
            }
        }
        inspection
    }
}

/// LIMIT: octets before an address that its meaning is read from. A line of a minified program can
/// be megabytes long and hold the address thousands of times.
const BEFORE_BYTES_MAX: usize = 256;
/// LIMIT: octets after an address that its meaning is read from.
const AFTER_BYTES_MAX: usize = 64;
/// Octets before an address in which a word must say that something listens.
const SPOKEN_BYTES: usize = 64;

/// The word that names every interface on a line of code, with what it is given to, and whether
/// the port is 0: programs bind that to ask for a free port, and seldom serve on it.
fn open_address(line: &Line<'_>, language: Language) -> Option<(String, bool)> {
    let code = line.code;
    let start = code.trim_start();
    // A line inside a triple-quoted text is prose in Python; elsewhere it is still a value.
    let prose = matches!(language, Language::Python | Language::Script) && line.quoted;
    if prose || start.starts_with("\"\"\"") || start.starts_with("'''") || printed(start) {
        return None;
    }
    if language == Language::Python && code.contains("((") {
        let squeezed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let empty = ["bind((\"\",", "bind(('',", "Server((\"\",", "Server(('',"];
        if let Some(end) = empty.iter().find_map(|p| Some(squeezed.find(p)? + p.len())) {
            let idle = squeezed
                .get(end..)
                .is_some_and(|rest| rest.starts_with("0)"));
            return Some((folded("empty host in bind"), idle));
        }
    }
    for (at, needle) in occurrences(code) {
        let before = tail(code.get(..at)?, BEFORE_BYTES_MAX);
        let after = head(code.get(at + needle.len()..)?, AFTER_BYTES_MAX);
        if bounded(before, after, needle, language)
            && !compared(before, after)
            && meant(before, after, needle, language)
        {
            let rest = after.trim_start_matches(['"', '\'', '`']).trim_start();
            let port = rest.strip_prefix(',').map(str::trim_start);
            let idle = port.is_some_and(|p| p.starts_with("0)"));
            return Some((word(before, needle), idle));
        }
    }
    None
}

fn tail(text: &str, bytes_max: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}

fn head(text: &str, bytes_max: usize) -> &str {
    let mut to = text.len().min(bytes_max);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    text.get(..to).unwrap_or_default()
}

fn printed(start: &str) -> bool {
    ["print(", "console.log(", "logger.", "log.", "logging."]
        .iter()
        .any(|p| start.starts_with(p))
}

fn occurrences(code: &str) -> Vec<(usize, &'static str)> {
    let mut all: Vec<(usize, &'static str)> = Vec::new();
    for needle in ["0.0.0.0", "INADDR_ANY", "[::]", "::"] {
        all.extend(code.match_indices(needle).map(|(at, _)| (at, needle)));
    }
    all.sort_unstable();
    all
}

/// Whether the text stands alone: not part of a longer number, name, slice or network.
fn bounded(before: &str, after: &str, needle: &str, language: Language) -> bool {
    let left = before.chars().next_back();
    let right = after.chars().next();
    let quote = |c: Option<char>| matches!(c, Some('"' | '\'' | '`'));
    match needle {
        "0.0.0.0" => {
            let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            let longer = right == Some('.') && digit(after.chars().nth(1));
            let part = digit(left) || left == Some('.') || digit(right) || longer;
            !part && right != Some('/')
        }
        "INADDR_ANY" => !right.is_some_and(|c| c.is_alphanumeric() || c == '_'),
        "[::]" => {
            let port =
                right == Some(':') && after.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
            (quote(left) && quote(right)) || port
        }
        _ => {
            let loose = matches!(
                language,
                Language::Shell | Language::Dockerfile | Language::Yaml
            );
            let blank = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || c == '=');
            (quote(left) && quote(right)) || (loose && blank(left) && blank(right))
        }
    }
}

/// Whether an address is one that something listens on, and not a word in a message, a token of
/// a grammar or a separator. `0.0.0.0` in configuration and shell is taken at its word; `::` never
/// is: it is a scope in many languages, so something near must say that it is an address.
fn meant(before: &str, after: &str, needle: &str, language: Language) -> bool {
    const WORDS: [&str; 7] = [
        "host",
        "bind",
        "listen",
        "addr",
        "serve",
        "interface",
        "inet",
    ];
    let near = tail(before, SPOKEN_BYTES).to_ascii_lowercase();
    let spoken = WORDS.iter().any(|w| near.contains(w));
    let program = matches!(language, Language::Python | Language::Script);
    let opened = before.ends_with(['"', '\'', '`']);
    let closed = after.starts_with(['"', '\'', '`', ':']);
    match needle {
        "INADDR_ANY" => true,
        "0.0.0.0" if !program => true,
        "0.0.0.0" => spoken || (opened && closed),
        "[::]" if !program => true,
        _ => spoken,
    }
}

/// An address that is compared, looked for in a list, or replaced is not one to listen on.
fn compared(before: &str, after: &str) -> bool {
    let left = before.trim_end_matches(['"', '\'', '`']).trim_end();
    let right = after.trim_start_matches(['"', '\'', '`']).trim_start();
    let calls = [
        "replace(",
        "startswith(",
        "startsWith(",
        "endswith(",
        "endsWith(",
        "includes(",
        // Types that calculate with addresses.
        "Address(",
        "ip_address(",
    ];
    let listed = left.rfind(" in ").is_some_and(|at| {
        let between = left.get(at + 4..).unwrap_or_default().trim_start();
        between.starts_with(['(', '[', '{']) && !between.contains([')', ']', '}'])
    });
    ["==", "!=", " in", " not in", " is"]
        .iter()
        .any(|o| left.ends_with(o))
        || right.starts_with("==")
        || right.starts_with("!=")
        || calls.iter().any(|c| left.ends_with(c))
        || listed
}

/// The address with the name it is given to: enough to know the place, never the whole line,
/// which may hold a key.
fn word(before: &str, needle: &str) -> String {
    let head = before
        .trim_end_matches(['"', '\'', '`'])
        .trim_end_matches(['=', ':', ' ', '"', '\'']);
    let name: Vec<char> = head
        .chars()
        .rev()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .take(40)
        .collect();
    let name: String = name.into_iter().rev().collect();
    let joined = before.get(head.len()..).unwrap_or_default();
    match name.as_str() {
        "" => needle.to_owned(),
        name => format!("{name}{joined}{needle}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<(Option<u32>, String)> {
        let file = FileView {
            path,
            bytes: text.as_bytes(),
        };
        assert!(Bind.wants(&file), "{path}");
        let seen = Bind.inspect(&file).observations;
        seen.into_iter()
            .map(|o| (o.subject.line(), o.evidence))
            .collect()
    }

    #[test]
    fn open_addresses_are_found_in_every_language() {
        for (path, text) in [
            ("a.py", "app.run(host=\"0.0.0.0\", port=1)"),
            ("a.py", "sock.bind(('', 80))"),
            ("a.py", "HTTPServer((\"\", 80), H)"),
            ("a.py", "s.bind(('::', 80))"),
            ("a.py", "if __name__ == '__main__': app.run(host='0.0.0.0')"),
            ("a.ts", "server.listen(80, '0.0.0.0')"),
            ("a.ts", "server.listen({ host: '::', port: 80 })"),
            ("a.json", "{\"host\": \"::\"}"),
            ("run.sh", "serve --host :: --port 80"),
            ("a.yaml", "listen: ::"),
            ("a.toml", "host = \"0.0.0.0\""),
            ("a.yaml", "address: 0.0.0.0:80"),
            ("a.yaml", "address: \"[::]:80\""),
            ("a.json", "{\"host\": \"0.0.0.0\"}"),
            ("run.sh", "uvicorn app:app --host 0.0.0.0"),
            ("Dockerfile", "CMD [\"uvicorn\", \"--host\", \"0.0.0.0\"]"),
            (".env", "HOST=0.0.0.0"),
        ] {
            assert_eq!(check(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn comments_comparisons_networks_and_slices_are_not_binds() {
        for (path, text) in [
            ("a.py", "# host = '0.0.0.0'"),
            ("a.py", "\"\"\"\nBinds 0.0.0.0 by default.\n\"\"\""),
            ("a.py", "if host == '0.0.0.0': warn()"),
            ("a.py", "if host in ('0.0.0.0', '::'): warn()"),
            ("a.py", "url.replace('0.0.0.0', 'localhost')"),
            ("a.py", "x = y[::2]"),
            ("a.yaml", "- License :: OSI Approved"),
            ("a.yaml", "  Operating System :: OS Independent"),
            ("run.sh", "echo a :: b"),
            ("a.json", "{\"match\": \"::\"}"),
            ("a.js", "{begin:'::',end:n},{a:'host'}"),
            ("a.js", "if(str===\"::\"){listen()}"),
            ("a.py", "_unspecified_address = IPv4Address('0.0.0.0')"),
            ("a.py", "x = y[::]"),
            ("a.py", "version = '10.0.0.0'"),
            ("a.py", "version = '0.0.0.0.1'"),
            ("a.ts", "// listen('0.0.0.0')"),
            ("a.yaml", "cidr: 0.0.0.0/0"),
            ("a.py", "run(host='127.0.0.1')"),
            ("a.py", "message = \"at most one '::' permitted\""),
            ("a.py", "tokens = [(r'::', Operator)]"),
            ("a.py", "help = 'from 0.0.0.0 to 255.255.255.255'"),
        ] {
            assert_eq!(check(path, text), [], "{path}: {text}");
        }
    }

    #[test]
    fn evidence_holds_the_address_and_its_name_not_the_rest_of_the_line() {
        let seen = check("a.py", "def main():\n    run(key='abc', host='0.0.0.0')\n");
        assert_eq!(seen, [(Some(2), "host='0.0.0.0".to_owned())]);
    }

    #[test]
    fn tests_are_rated_lower_than_programs() {
        for (path, severity) in [
            ("src/app.py", Severity::High),
            ("tests/app.py", Severity::Low),
            ("src/test_app.py", Severity::Low),
            ("latest/app.py", Severity::High),
        ] {
            let file = FileView {
                path,
                bytes: b"run(host='0.0.0.0')",
            };
            assert_eq!(
                Bind.inspect(&file).observations[0].severity,
                severity,
                "{path}"
            );
        }
    }

    #[test]
    fn a_question_for_a_free_port_is_rated_lower_than_a_service() {
        for (text, severity) in [
            ("s.bind((\"\", 0))", Severity::Low),
            ("s.bind(('0.0.0.0', 0))", Severity::Low),
            ("s.bind((\"\", 80))", Severity::High),
            ("s.bind(('0.0.0.0', 8000))", Severity::High),
        ] {
            let file = FileView {
                path: "a.py",
                bytes: text.as_bytes(),
            };
            let seen = Bind.inspect(&file).observations;
            assert_eq!(seen[0].severity, severity, "{text}");
        }
    }

    #[test]
    fn a_long_line_costs_its_length_and_its_end_is_still_read() {
        // Every one of these is looked at; none may cost the length of the line.
        let noise = "a::b(\"::\"),x in y,".repeat(60_000);
        let text = format!("{noise}server.listen(80,'0.0.0.0')");
        assert!(text.len() > 1_000_000);
        assert_eq!(check("a.js", &text).len(), 1);
    }

    #[test]
    fn meaning_is_read_up_to_the_limits_around_an_address() {
        for (gap, found) in [(SPOKEN_BYTES - 5, 1), (SPOKEN_BYTES - 4, 0)] {
            let text = format!("host{}\"::\"", ",".repeat(gap));
            assert_eq!(check("a.js", &text).len(), found, "{gap}");
        }
        for (gap, found) in [(BEFORE_BYTES_MAX - 6, 0), (BEFORE_BYTES_MAX - 4, 1)] {
            let text = format!("x in [{}\"0.0.0.0\"]", "1".repeat(gap));
            assert_eq!(check("a.py", &text).len(), found, "{gap}");
        }
        for (gap, found) in [(AFTER_BYTES_MAX - 3, 0), (AFTER_BYTES_MAX - 2, 1)] {
            let text = format!("\"0.0.0.0\"{}== x", " ".repeat(gap));
            assert_eq!(check("a.py", &text).len(), found, "{gap}");
        }
        assert_eq!((tail("a\u{e9}", 1), head("\u{e9}a", 1)), ("", ""));
    }

    #[test]
    fn images_are_rated_lower_than_programs() {
        let file = FileView {
            path: "Dockerfile",
            bytes: b"CMD x --host 0.0.0.0",
        };
        assert_eq!(
            Bind.inspect(&file).observations[0].severity,
            Severity::Medium
        );
    }
}
