//! The cases of every inspector: what must be found and what must not.

use crate::file::{FileInspector, FileView};

/// One file and what an inspector must say about it.
pub(crate) struct Case {
    /// Id of the inspector.
    pub(crate) inspector: &'static str,
    /// Path of the file.
    pub(crate) path: &'static str,
    /// Its octets, with `\xNN` written as such for binary files.
    text: &'static [u8],
    /// The rule that must fire, or nothing may.
    pub(crate) rule: Option<&'static str>,
}

/// What an inspector says about a text that it wants: rules with lines, and reasons of skips.
pub(crate) fn seen_in(
    inspector: &dyn FileInspector,
    path: &str,
    text: &str,
) -> (Vec<(&'static str, Option<u32>)>, Vec<String>) {
    let file = FileView {
        path,
        bytes: text.as_bytes(),
    };
    assert!(inspector.wants(&file), "{path} is not wanted");
    let seen = inspector.inspect(&file);
    (
        seen.observations
            .iter()
            .map(|o| (o.rule.id, o.subject.line()))
            .collect(),
        seen.skips.into_iter().map(|s| s.reason).collect(),
    )
}

/// The octets of a case. A key is written in two halves, so that no scanner of this repository
/// (ours included) takes the case for a leak.
pub(crate) fn bytes_of(case: &Case) -> Vec<u8> {
    String::from_utf8(case.text.to_vec())
        .map(|t| t.replace("{AKIA}", "AKIA").into_bytes())
        .unwrap_or_else(std::string::FromUtf8Error::into_bytes)
}

const fn bad(
    inspector: &'static str,
    path: &'static str,
    text: &'static [u8],
    rule: &'static str,
) -> Case {
    Case {
        inspector,
        path,
        text,
        rule: Some(rule),
    }
}

const fn good(inspector: &'static str, path: &'static str, text: &'static [u8]) -> Case {
    Case {
        inspector,
        path,
        text,
        rule: None,
    }
}

/// Every case.
pub(crate) static CASES: &[Case] = &[
    // RINGFENCE-TEST-FIXTURE: the key is made up and opens nothing.
    bad(
        "secrets",
        "settings.py",
        b"AWS_ACCESS_KEY_ID = \"{AKIA}QYLPMN5HHHFPZAM2\"\n",
        "admit/secret",
    ),
    good(
        "secrets",
        "settings.py",
        b"key = os.environ[\"AWS_ACCESS_KEY_ID\"]\n",
    ),
    good(
        "secrets",
        "readme.md",
        b"Set AWS_ACCESS_KEY_ID to your key.\n",
    ),
    bad(
        "pickle",
        "model.pkl",
        b"cos\nsystem\n(S'echo'\ntR.",
        "admit/pickle-dangerous-global",
    ),
    bad(
        "pickle",
        "notes.txt",
        b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.",
        "admit/pickle-dangerous-global",
    ),
    bad(
        "pickle",
        "model.pkl",
        b"cmy.own\nThing\n)R.",
        "admit/pickle-unlisted-global",
    ),
    bad(
        "pickle",
        "model.pkl",
        b"\x80\x02\x82\x01.",
        "admit/pickle-unresolved",
    ),
    bad(
        "pickle",
        "model.pkl",
        b"Pid\n.",
        "admit/pickle-persistent-id",
    ),
    bad(
        "pickle",
        "cache.txt",
        b"N0cos\nsystem\n(S'id'\ntR.",
        "admit/pickle-dangerous-global",
    ),
    good("pickle", "news.txt", b"N0cos\nsystem\nis what it says\n"),
    good("pickle", "model.pkl", b"(dp0\nS'a'\np1\nI1\ns."),
    good(
        "pickle",
        "model.pkl",
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01.",
    ),
    good("pickle", "words.txt", b"cat\ndog\nimport\nclass\n"),
    good(
        "pickle",
        "easy-install.pth",
        b"import os; x = 1; y = os.environ\nmore\n",
    ),
    good("pickle", "main.c", b"int main(void) { return 0; }\n"),
    bad(
        "dockerfile",
        "Dockerfile",
        b"FROM x\nUSER root\n",
        "admit/dockerfile-root",
    ),
    bad(
        "dockerfile",
        "app/Dockerfile.gpu",
        b"FROM x\n",
        "admit/dockerfile-no-user",
    ),
    bad(
        "dockerfile",
        "Dockerfile",
        b"FROM x\nRUN --security=insecure a\nUSER a\n",
        "admit/dockerfile-insecure-run",
    ),
    good(
        "dockerfile",
        "Dockerfile",
        b"FROM x\nUSER root\nRUN a\nUSER 1000\n",
    ),
    good("dockerfile", "Dockerfile.md", b"FROM x\nUSER 1000\n"),
    bad(
        "compose",
        "compose.yaml",
        b"services:\n  a:\n    privileged: true\n",
        "admit/compose-privileged",
    ),
    bad(
        "compose",
        "compose.yaml",
        b"services:\n  a:\n    pid: host\n",
        "admit/compose-host-namespace",
    ),
    bad(
        "compose",
        "compose.yaml",
        b"services:\n  a:\n    user: root\n",
        "admit/compose-root",
    ),
    bad(
        "compose",
        "compose.yaml",
        b"services:\n  a:\n    ports:\n      - 80:80\n",
        "admit/compose-port-all-interfaces",
    ),
    good(
        "compose",
        "compose.yaml",
        b"services:\n  a:\n    privileged: false\n",
    ),
    good(
        "compose",
        "values.yaml",
        b"services:\n  a:\n    privileged: true\n",
    ),
    bad(
        "bind",
        "app.py",
        b"run(host='0.0.0.0')\n",
        "admit/bind-all-interfaces",
    ),
    bad(
        "bind",
        "Dockerfile",
        b"CMD x --host 0.0.0.0\n",
        "admit/bind-container",
    ),
    good("bind", "app.py", b"run(host='127.0.0.1')\n"),
    good("bind", "app.py", b"# run(host='0.0.0.0')\n"),
];
