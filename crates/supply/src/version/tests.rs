//! Vectors from the specifications, the laws of an order, and an oracle for semver.

use super::*;
use proptest::prelude::*;

const PYPI: Ecosystem = Ecosystem::PyPi;
const NPM: Ecosystem = Ecosystem::Npm;

fn order(ecosystem: Ecosystem, a: &str, b: &str) -> Option<Ordering> {
    Some(Version::parse(ecosystem, a)?.order(&Version::parse(ecosystem, b)?))
}

fn ascends(ecosystem: Ecosystem, versions: &[&str]) {
    for (i, a) in versions.iter().enumerate() {
        for (j, b) in versions.iter().enumerate() {
            assert_eq!(order(ecosystem, a, b), Some(i.cmp(&j)), "{a} against {b}");
        }
    }
}

#[test]
fn semver_section_11_orders_its_own_examples() {
    ascends(NPM, &["1.0.0", "2.0.0", "2.1.0", "2.1.1"]);
    ascends(
        NPM,
        &[
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
        ],
    );
    assert_eq!(
        order(NPM, "1.0.0+20130313144700", "1.0.0+exp.sha.5114f85"),
        Some(Ordering::Equal)
    );
}

#[test]
fn semver_as_advisories_and_lock_files_write_it() {
    ascends(
        NPM,
        &["0", "0.0.1-0", "0.0.1", "0.1", "1", "v1.0.1", "=1.2.0"],
    );
    ascends(
        NPM,
        &[
            "99999999999999999999999.0.0",
            "100000000000000000000000.0.0",
        ],
    );
    assert_eq!(order(NPM, "0", "0.0.0"), Some(Ordering::Equal));
    for bad in [
        "",
        "a",
        "1.",
        ".1",
        "1.2.3.4",
        "1.2.3-",
        "1.2.3-a..b",
        "1.2.x",
        "1.2.3+",
        "-1",
        "1.2.3-\u{e9}",
    ] {
        assert!(Version::parse(NPM, bad).is_none(), "{bad:?}");
    }
}

#[test]
fn pep_440_summary_of_orderings() {
    // "Examples of compliant version schemes" and "Summary of permitted suffixes and relative
    // ordering".
    ascends(
        PYPI,
        &[
            "0.9", "0.9.1", "0.9.2", "0.9.10", "0.9.11", "1.0", "1.0.1", "1.1", "2.0",
        ],
    );
    ascends(
        PYPI,
        &[
            "1.dev0",
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.0.15",
            "1.1.dev1",
        ],
    );
    ascends(PYPI, &["2013.10", "2014.4", "1!1.0", "1!1.1", "1!2.0"]);
}

#[test]
fn pep_440_normalization_makes_spellings_equal() {
    let equal = [
        ("1.1RC1", "1.1rc1"),
        ("1.1.a1", "1.1a1"),
        ("1.1-a1", "1.1a1"),
        ("1.1a.1", "1.1a1"),
        ("1.1alpha1", "1.1a1"),
        ("1.1beta2", "1.1b2"),
        ("1.1c3", "1.1rc3"),
        ("1.1pre3", "1.1rc3"),
        ("1.1-preview3", "1.1rc3"),
        ("1.2a", "1.2a0"),
        ("1.2-post2", "1.2.post2"),
        ("1.2post2", "1.2.post2"),
        ("1.2.post-2", "1.2.post2"),
        ("1.0-r4", "1.0.post4"),
        ("1.0.rev4", "1.0.post4"),
        ("1.2.post", "1.2.post0"),
        ("1.0-1", "1.0.post1"),
        ("1.2-dev2", "1.2.dev2"),
        ("1.2dev2", "1.2.dev2"),
        ("1.2.dev", "1.2.dev0"),
        ("1.0+ubuntu-1", "1.0+ubuntu.1"),
        ("1.0+Ubuntu_1", "1.0+ubuntu.1"),
        ("v1.0", "1.0"),
        (" 1.0\n", "1.0"),
        ("1.0", "1.0.0"),
        ("00.9", "0.9"),
        ("0!1.0", "1.0"),
    ];
    for (a, b) in equal {
        assert_eq!(order(PYPI, a, b), Some(Ordering::Equal), "{a} against {b}");
    }
    for bad in [
        "",
        "x",
        "1.0x",
        "1..0",
        "1.0+",
        "1.0+a..b",
        "!1",
        "a!1",
        "1.0-",
        "1.0.post1.post2",
        "1.0dev1a1",
    ] {
        assert!(Version::parse(PYPI, bad).is_none(), "{bad:?}");
    }
}

#[test]
fn a_local_label_does_not_escape_a_range() {
    let parse = |text| Version::parse(PYPI, text).unwrap();
    // The plain order puts the build after the flawed release: a range that ends there would
    // not cover it.
    assert_eq!(parse("2.0.0+cpu").order(&parse("2.0.0")), Ordering::Greater);
    assert_eq!(
        parse("2.0.0+cpu").order_against_bound(&parse("2.0.0")),
        Ordering::Equal
    );
    assert_eq!(
        parse("2.0.0+cpu").order_against_bound(&parse("2.0.0+cpu.1")),
        Ordering::Less
    );
}

#[test]
fn a_version_is_read_at_the_limit_and_not_one_above() {
    let at = "1".repeat(VERSION_BYTES_MAX);
    assert!(Version::parse(NPM, &at).is_some() && Version::parse(PYPI, &at).is_some());
    let above = "1".repeat(VERSION_BYTES_MAX + 1);
    assert!(Version::parse(NPM, &above).is_none() && Version::parse(PYPI, &above).is_none());
}

fn pep440_text() -> impl Strategy<Value = String> {
    let suffix = prop::option::of(prop::sample::select(vec![
        "a1", "b", ".rc2", "alpha.1", "c0",
    ]));
    let post = prop::option::of(prop::sample::select(vec![".post1", "-1", "r2", ".post"]));
    let dev = prop::option::of(prop::sample::select(vec![".dev0", "dev3"]));
    let local = prop::option::of(prop::sample::select(vec!["+a", "+1", "+a.1", "+1-b"]));
    ("([01]!)?[0-3](\\.[0-3]){0,3}", suffix, post, dev, local).prop_map(|(r, s, p, d, l)| {
        [Some(r.as_str()), s, p, d, l]
            .into_iter()
            .flatten()
            .collect()
    })
}

fn semver_text() -> impl Strategy<Value = String> {
    "[0-2]\\.[0-2]\\.[0-2](-([a-c0]|[1-9][0-9]?|a-?[0-9])(\\.([a-c0]|[1-9])){0,2})?(\\+[a-z0-9]{1,3})?"
}

fn laws(ecosystem: Ecosystem, a: &str, b: &str, c: &str) -> Result<(), TestCaseError> {
    let of = |x: &str, y: &str| order(ecosystem, x, y).unwrap();
    prop_assert_eq!(of(a, a), Ordering::Equal);
    prop_assert_eq!(of(a, b), of(b, a).reverse());
    if of(a, b) != Ordering::Greater && of(b, c) != Ordering::Greater {
        prop_assert!(of(a, c) != Ordering::Greater);
        if of(a, c) == Ordering::Equal {
            prop_assert_eq!((of(a, b), of(b, c)), (Ordering::Equal, Ordering::Equal));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn pep_440_is_a_total_order(a in pep440_text(), b in pep440_text(), c in pep440_text()) {
        laws(PYPI, &a, &b, &c)?;
    }

    #[test]
    fn semver_is_a_total_order(a in semver_text(), b in semver_text(), c in semver_text()) {
        laws(NPM, &a, &b, &c)?;
    }

    #[test]
    fn semver_agrees_with_the_precedence_of_the_semver_crate(a in semver_text(), b in semver_text()) {
        let oracle = |t: &str| ::semver::Version::parse(t).unwrap();
        prop_assert_eq!(order(NPM, &a, &b), Some(oracle(&a).cmp_precedence(&oracle(&b))));
    }

    #[test]
    fn no_text_panics(a in ".{0,40}", b in "[0-9a-z!.+_v-]{0,24}") {
        for ecosystem in Ecosystem::ALL {
            order(ecosystem, &a, &b);
            order(ecosystem, &b, &b);
        }
    }
}
