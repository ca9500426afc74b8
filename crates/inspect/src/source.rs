//! Reading source and configuration by line: what is code, what is a comment, what encloses it.
//!
//! Not a parser. It knows quotes, line comments and triple-quoted strings, which is what it takes
//! not to call a comment a weakness. Where it is unsure it takes the text as code: a false alarm
//! can be waived, a miss cannot.

use ringfence_core::finding::Subject;

/// How comments and enclosing names look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Script,
    Shell,
    Toml,
    Yaml,
    Json,
    Dockerfile,
}

/// LIMIT: lines walked back in search of the enclosing name.
const SYMBOL_LINES_MAX: usize = 10_000;

/// One line of a file that is not, or not only, comment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// 1-based.
    pub(crate) number: u32,
    /// The part before a comment.
    pub(crate) code: &'a str,
    /// Whether the line begins inside a triple-quoted string or block comment.
    pub(crate) quoted: bool,
}

impl Language {
    /// By extension or file name.
    pub(crate) fn of(name: &str, extension: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        if lower == "dockerfile"
            || lower == "containerfile"
            || lower.starts_with("dockerfile.")
            || extension == "dockerfile"
        {
            return Some(Self::Dockerfile);
        }
        Some(match extension {
            "py" | "pyw" => Self::Python,
            "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" | "jsx" | "tsx" => Self::Script,
            "sh" | "bash" | "zsh" | "env" => Self::Shell,
            "toml" | "ini" | "cfg" | "conf" => Self::Toml,
            "yaml" | "yml" => Self::Yaml,
            "json" => Self::Json,
            _ if lower == "procfile" || lower.starts_with(".env") => Self::Shell,
            _ => return None,
        })
    }

    fn comment(self) -> Option<&'static str> {
        match self {
            Self::Json => None,
            Self::Script => Some("//"),
            _ => Some("#"),
        }
    }
}

/// The lines of a text with comments cut off.
pub(crate) fn lines(text: &str, language: Language) -> Vec<Line<'_>> {
    let mut open: Option<&'static str> = None;
    let mut out = Vec::new();
    for (number, line) in (1_u32..).zip(text.lines()) {
        let quoted = open.is_some();
        let code = cut(line, language, &mut open);
        out.push(Line {
            number,
            code,
            quoted,
        });
    }
    out
}

/// Cuts the comment off a line, and follows triple quotes and block comments across lines.
fn cut<'a>(line: &'a str, language: Language, open: &mut Option<&'static str>) -> &'a str {
    let mut quote: Option<char> = None;
    let mut rest = line;
    let mut at = 0;
    while let Some(c) = rest.chars().next() {
        let mut step = c.len_utf8();
        if let Some(end) = *open {
            if rest.starts_with(end) {
                *open = None;
                step = end.len();
            }
        } else if let Some(q) = quote {
            if c == '\\' {
                step += rest.chars().nth(1).map_or(0, char::len_utf8);
            } else if c == q {
                quote = None;
            }
        } else if let Some((begin, end)) = block(rest, language) {
            *open = Some(end);
            step = begin.len();
        } else if matches!(c, '"' | '\'') || (c == '`' && language == Language::Script) {
            quote = Some(c);
        } else if starts_comment(line, at, rest, language) {
            return line.get(..at).unwrap_or(line);
        }
        at += step;
        rest = line.get(at..).unwrap_or("");
    }
    line
}

fn block(rest: &str, language: Language) -> Option<(&'static str, &'static str)> {
    match language {
        Language::Python if rest.starts_with("\"\"\"") => Some(("\"\"\"", "\"\"\"")),
        Language::Python if rest.starts_with("'''") => Some(("'''", "'''")),
        Language::Toml if rest.starts_with("\"\"\"") => Some(("\"\"\"", "\"\"\"")),
        Language::Script if rest.starts_with("/*") => Some(("/*", "*/")),
        _ => None,
    }
}

fn starts_comment(line: &str, at: usize, rest: &str, language: Language) -> bool {
    let Some(mark) = language.comment() else {
        return false;
    };
    if !rest.starts_with(mark) {
        return false;
    }
    // In shells, YAML and Dockerfiles `a#b` is a word; a comment needs white space before it.
    let before = line.get(..at).and_then(|b| b.chars().next_back());
    match language {
        Language::Shell | Language::Yaml | Language::Dockerfile => {
            before.is_none_or(char::is_whitespace)
        }
        _ => true,
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name of the function, class, table or key that encloses a line, by indentation.
pub(crate) fn symbol(lines: &[Line<'_>], index: usize, language: Language) -> Option<String> {
    let here = lines.get(index)?;
    let mut depth = indent(here.code);
    for line in lines.get(..index)?.iter().rev().take(SYMBOL_LINES_MAX) {
        let code = line.code.trim();
        if code.is_empty() || line.quoted {
            continue;
        }
        if language == Language::Toml {
            if let Some(name) = code.strip_prefix('[') {
                return Some(name.trim_matches(['[', ']']).to_owned());
            }
            continue;
        }
        if indent(line.code) >= depth {
            continue;
        }
        depth = indent(line.code);
        if let Some(name) = named(code, language) {
            return Some(name);
        }
    }
    None
}

fn named(code: &str, language: Language) -> Option<String> {
    let word = |text: &str| -> Option<String> {
        let name: String = text
            .chars()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$'))
            .collect();
        (!name.is_empty()).then_some(name)
    };
    match language {
        Language::Python => ["async def ", "def ", "class "]
            .iter()
            .find_map(|p| code.strip_prefix(p))
            .and_then(word),
        Language::Script => ["function ", "class ", "const ", "let ", "var "]
            .iter()
            .find_map(|p| {
                let bare = code
                    .trim_start_matches("export ")
                    .trim_start_matches("default ");
                bare.trim_start_matches("async ").strip_prefix(p)
            })
            .and_then(word),
        Language::Shell => code
            .split_once("()")
            .and_then(|(name, _)| word(name.trim())),
        Language::Yaml => code
            .trim_start_matches("- ")
            .split_once(':')
            .map(|(k, _)| k.to_owned()),
        Language::Json => code
            .split_once(':')
            .map(|(k, _)| k.trim().trim_matches('"').to_owned()),
        Language::Toml | Language::Dockerfile => None,
    }
}

/// Whether a path lies in tests: what is there runs on the machine of a developer.
pub(crate) fn in_tests(path: &str) -> bool {
    let mut parts = path.rsplit(['/', '!']);
    let name = parts.next().unwrap_or(path);
    name.starts_with("test_")
        || name.starts_with("conftest.")
        || name.contains("_test.")
        || name.contains(".test.")
        || name.contains(".spec.")
        || parts.any(|p| matches!(p, "test" | "tests" | "__tests__" | "fixtures" | "testdata"))
}

/// Whether a path lies in documentation.
pub(crate) fn in_documentation(path: &str) -> bool {
    let mut parts = path.rsplit(['/', '!']);
    let name = parts.next().unwrap_or(path).to_ascii_lowercase();
    let prose = [".md", ".mdx", ".rst", ".adoc"];
    prose.iter().any(|e| name.ends_with(e)) || parts.any(|p| matches!(p, "doc" | "docs"))
}

/// White space folded to single blanks, for fingerprints that survive reformatting.
pub(crate) fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A subject at a line.
pub(crate) fn at(path: &str, line: u32, normalised: String, symbol: Option<String>) -> Subject {
    Subject::Source {
        path: path.to_owned(),
        line: Some(line),
        normalised,
        symbol,
        ordinal: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str, language: Language) -> Vec<&str> {
        lines(text, language).into_iter().map(|l| l.code).collect()
    }

    #[test]
    fn comments_are_cut_and_quotes_kept() {
        assert_eq!(codes("a = '#1' # b", Language::Python), ["a = '#1' "]);
        assert_eq!(
            codes("a = \"//\"; // b", Language::Script),
            ["a = \"//\"; "]
        );
        assert_eq!(codes("a#b # c", Language::Shell), ["a#b "]);
        assert_eq!(codes("{\"a\": \"#\"}", Language::Json), ["{\"a\": \"#\"}"]);
        assert_eq!(codes(r"a = '\'#' # b", Language::Python), [r"a = '\'#' "]);
    }

    #[test]
    fn lines_inside_triple_quotes_and_block_comments_are_marked() {
        let text = "x = 1\n\"\"\"\n0.0.0.0 # kept\n\"\"\"\ny = 2";
        let marks: Vec<bool> = lines(text, Language::Python)
            .iter()
            .map(|l| l.quoted)
            .collect();
        assert_eq!(marks, [false, false, true, true, false]);
        let script = lines("/*\n a\n*/\nb", Language::Script);
        assert_eq!(
            script.iter().map(|l| l.quoted).collect::<Vec<_>>(),
            [false, true, true, false]
        );
    }

    #[test]
    fn the_enclosing_name_is_looked_for_up_to_the_limit() {
        for (between, found) in [(SYMBOL_LINES_MAX - 1, Some("f")), (SYMBOL_LINES_MAX, None)] {
            let text = format!("def f():\n{}    end", "    x\n".repeat(between));
            let all = lines(&text, Language::Python);
            let name = symbol(&all, between + 1, Language::Python);
            assert_eq!(name.as_deref(), found);
        }
    }

    #[test]
    fn tests_and_documentation_are_known_by_their_path() {
        for path in [
            "a/tests/x.py",
            "test_a.py",
            "a.spec.ts",
            "w.whl!a/test/x.py",
            "conftest.py",
        ] {
            assert!(in_tests(path), "{path}");
        }
        for path in ["src/latest.py", "contest/a.py", "attest.py"] {
            assert!(!in_tests(path), "{path}");
        }
        assert!(in_documentation("docs/a.py") && in_documentation("a/README.md"));
        assert!(!in_documentation("src/docs.py") && !in_documentation("a.py"));
    }

    #[test]
    fn the_enclosing_name_is_found_by_indentation() {
        let text = "class A:\n    def f(self):\n        if x:\n            bind()\ntop()";
        let all = lines(text, Language::Python);
        assert_eq!(symbol(&all, 3, Language::Python).as_deref(), Some("f"));
        assert_eq!(symbol(&all, 4, Language::Python), None);
        let toml = lines("[a]\nx = 1\n[b.c]\nhost = 2", Language::Toml);
        assert_eq!(symbol(&toml, 3, Language::Toml).as_deref(), Some("b.c"));
        let script = lines(
            "export async function go() {\n  run();\n}",
            Language::Script,
        );
        assert_eq!(symbol(&script, 1, Language::Script).as_deref(), Some("go"));
    }
}
