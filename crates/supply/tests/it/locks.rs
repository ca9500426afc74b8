//! Lock files of every format that is understood, with names, versions and lines.

use ringfence_supply::SupplyError;
use ringfence_supply::lock::{
    COMPONENTS_MAX, LOCK_BYTES_MAX, LockFile, is_known, is_lock_like, parse,
};

fn rows(file: &LockFile) -> Vec<(&str, &str, u32)> {
    file.components
        .iter()
        .map(|c| (c.name.as_str(), c.version.as_str(), c.line))
        .collect()
}

fn skips(file: &LockFile) -> Vec<(u32, &str)> {
    file.not_understood
        .iter()
        .map(|n| (n.line, n.reason))
        .collect()
}

#[test]
fn requirements_pins_are_read_and_the_rest_is_counted() {
    let text = "\u{feff}# a comment\n\
        Flask==2.0.1  # why\n\
        requests[socks, security]==2.31.0 ; python_version >= \"3.8\"\n\
        torch===2.0.0+cpu\n\
        Jinja2 == 3.1.2 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n\
        \n\
        numpy>=1.20\n\
        scipy==1.*\n\
        django (==4.2.1)\n\
        urllib3==1.26.5,!=1.26.4\n\
        two==1.0,==2.0\n\
        -r base.txt\n\
        -cconstraints.txt\n\
        --index-url=https://registry.example/simple\n\
        --requirement=more.txt\n\
        -e ./local\n\
        pkg @ https://registry.example/pkg-1.0.whl\n\
        https://registry.example/x.whl#sha256=00\n\
        ./wheel.whl\n\
        bare\n\
        --unheard-of x\n\
        pinned==${VERSION}\n";
    let file = parse("requirements.txt", text.as_bytes()).unwrap();
    assert_eq!(
        rows(&file),
        [
            ("flask", "2.0.1", 2),
            ("requests", "2.31.0", 3),
            ("torch", "2.0.0+cpu", 4),
            ("jinja2", "3.1.2", 5),
            ("django", "4.2.1", 11),
            ("urllib3", "1.26.5", 12),
        ]
    );
    assert_eq!(
        skips(&file),
        [
            (9, "not-pinned"),
            (10, "not-pinned"),
            (13, "not-pinned"),
            (18, "editable"),
            (19, "direct-reference"),
            (20, "direct-reference"),
            (21, "direct-reference"),
            (22, "not-pinned"),
            (23, "unknown-option"),
            (24, "not-pinned"),
        ]
    );
    let includes: Vec<_> = file
        .includes
        .iter()
        .map(|i| (i.path.as_str(), i.line))
        .collect();
    assert_eq!(
        includes,
        [("base.txt", 14), ("constraints.txt", 15), ("more.txt", 17)]
    );
}

#[test]
fn a_comment_cannot_hide_a_pin_behind_a_backslash() {
    // pip: a comment line ends a joined line; the backslash in a comment joins nothing.
    let file = parse(
        "requirements.txt",
        b"# note \\\nflask==1.0\na==1 \\\n# end\nb==2\n",
    )
    .unwrap();
    assert_eq!(
        rows(&file),
        [("flask", "1.0", 2), ("a", "1", 3), ("b", "2", 5)]
    );
}

#[test]
fn cargo_lock_lists_registry_packages_with_lines() {
    let text = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n\
        [[package]]\nname = \"time\"\nversion = \"0.1.42\"\n\
        source = \"registry+https://registry.example/index\"\nchecksum = \"00\"\n\n\
        [[package]]\nname = \"forked\"\nversion = \"1.0.0\"\nsource = \"git+https://git.example/f#00\"\n";
    let file = parse("deep/Cargo.lock", text.as_bytes()).unwrap();
    assert_eq!(
        rows(&file),
        [("time", "0.1.42", 8), ("forked", "1.0.0", 14)]
    );
    assert_eq!(file.local, 1);
}

#[test]
fn poetry_and_uv_locks_leave_the_project_itself_out() {
    let poetry = "[[package]]\nname = \"Requests\"\nversion = \"2.0.0\"\n\n\
        [[package]]\nname = \"mine\"\nversion = \"1.0\"\n[package.source]\ntype = \"directory\"\nurl = \".\"\n";
    let file = parse("poetry.lock", poetry.as_bytes()).unwrap();
    assert_eq!(
        (rows(&file), file.local),
        (vec![("requests", "2.0.0", 2)], 1)
    );

    let uv = "version = 1\n[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = { virtual = \".\" }\n\
        [[package]]\nname = \"idna\"\nversion = \"3.6\"\nsource = { registry = \"https://registry.example\" }\n\
        [[package]]\nname = \"nover\"\nsource = { git = \"https://git.example/x\" }\n";
    let file = parse("uv.lock", uv.as_bytes()).unwrap();
    assert_eq!((rows(&file), file.local), (vec![("idna", "3.6", 7)], 1));
    assert_eq!(skips(&file), [(11, "no-version")]);
}

#[test]
fn package_lock_reads_nested_places_scopes_aliases_and_links() {
    let text = r#"{
  "name": "app", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": {"name": "app", "version": "1.0.0"},
    "node_modules/a": {"version": "1.0.0", "dependencies": {"packages": "1"}},
    "node_modules/a/node_modules/@s/b": {"version": "2.0.0-rc.1"},
    "node_modules/alias": {
      "name": "real", "version": "3.0.0"
    },
    "node_modules/\u006cocal": {"resolved": "packages/local", "link": true},
    "packages/local": {"version": "0.0.1"},
    "node_modules/broken": {"resolved": "x"},
    "node_modules/odd": 7
  },
  "dependencies": {"node_modules/ghost": {"version": "9.9.9"}}
}"#;
    let file = parse("package-lock.json", text.as_bytes()).unwrap();
    assert_eq!(
        rows(&file),
        [
            ("a", "1.0.0", 5),
            ("@s/b", "2.0.0-rc.1", 6),
            ("real", "3.0.0", 7)
        ]
    );
    assert_eq!(file.local, 3);
    assert_eq!(skips(&file), [(12, "no-version"), (13, "not-an-object")]);
}

#[test]
fn what_only_an_old_npm_would_install_is_counted() {
    let lock = |version: u32| {
        let text = format!(
            r#"{{"lockfileVersion": {version},
            "packages": {{"node_modules/a": {{"version": "1.0.0"}}, "node_modules/al": {{"name": "real", "version": "2.0.0"}}}},
            "dependencies": {{"a": {{"version": "1.0.0", "dependencies": {{"ghost": {{"version": "6.6.6"}}}}}},
                "al": {{"version": "npm:real@2.0.0"}}, "local": {{"version": "file:packages/local"}}, "z": {{"version": "file:z", "dependencies": 7}}}}}}"#
        );
        parse("package-lock.json", text.as_bytes()).unwrap()
    };
    assert_eq!(skips(&lock(2)), [(1, "only-for-old-npm")]);
    // Nothing reads `dependencies` of version 3.
    assert_eq!(skips(&lock(3)), []);
}

fn reason(path: &str, text: &str) -> String {
    parse(path, text.as_bytes())
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default()
}

#[test]
fn a_lock_file_that_is_not_what_its_name_says_is_an_error_and_not_an_empty_list() {
    assert!(reason("Cargo.lock", "[[pakage]]\nname = \"x\"").contains("no [[package]]"));
    assert!(reason("package-lock.json", "{\"lockfileVersion\": 3}").contains("no `packages`"));
    assert!(
        reason(
            "package-lock.json",
            "{\"lockfileVersion\": 1, \"packages\": {}}"
        )
        .contains("version 1")
    );
    assert!(reason("package-lock.json", "{\"packages\": {}}").contains("version none"));
    assert!(reason("yarn.lock", "").contains("not a lock file"));
    let utf16 = parse("requirements.txt", b"\xff\xfef\0l\0a\0").unwrap_err();
    assert!(matches!(
        utf16,
        SupplyError::LockSyntax { line: Some(1), .. }
    ));
}

#[test]
fn duplicate_keys_are_refused_in_json_and_toml() {
    // Two readers could see two different versions in the same file.
    let json = r#"{"lockfileVersion": 3, "packages": {"node_modules/a": {"version": "1"}, "node_modules/a": {"version": "2"}}}"#;
    assert!(reason("package-lock.json", json).contains("duplicate key"));
    let toml = "[[package]]\nname = \"a\"\nversion = \"1\"\nversion = \"2\"\n";
    assert!(
        reason("uv.lock", toml).contains("duplicate"),
        "{}",
        reason("uv.lock", toml)
    );
}

#[test]
fn sizes_are_accepted_at_the_limit_and_refused_one_above() {
    let mut text = vec![b'#'; LOCK_BYTES_MAX];
    assert!(parse("requirements.txt", &text).is_ok());
    text.push(b'\n');
    assert!(matches!(
        parse("requirements.txt", &text),
        Err(SupplyError::Limit { .. })
    ));
    let many = |n: usize| parse("requirements.txt", "a==1\n".repeat(n).as_bytes());
    assert!(many(COMPONENTS_MAX).is_ok());
    assert!(matches!(
        many(COMPONENTS_MAX + 1),
        Err(SupplyError::Limit { .. })
    ));
}

#[test]
fn names_tell_what_is_understood_and_what_is_only_recognised() {
    for known in [
        "requirements.txt",
        "requirements-dev.txt",
        "dev-requirements.txt",
        "requirements/base.txt",
        "a/requirements/base.txt",
        "constraints.txt",
        "poetry.lock",
        "uv.lock",
        "x/Cargo.lock",
        "package-lock.json",
        "npm-shrinkwrap.json",
    ] {
        assert!(is_known(known) && !is_lock_like(known), "{known}");
    }
    for recognised in [
        "yarn.lock",
        "a/pnpm-lock.yaml",
        "Pipfile.lock",
        "go.sum",
        "Gemfile.lock",
        "composer.lock",
        "bun.lock",
        "pylock.dev.toml",
    ] {
        assert!(
            !is_known(recognised) && is_lock_like(recognised),
            "{recognised}"
        );
    }
    for other in ["notes.txt", "cargo.toml", "app.lock", "README.md"] {
        assert!(!is_known(other) && !is_lock_like(other), "{other}");
    }
}
