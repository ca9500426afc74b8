//! The vectors that AWS publishes: its general suite for Signature Version 4 and the worked examples
//! of the S3 reference. A signature is a MAC over all four steps, so one that agrees proves them.

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

fn credentials(access: &str, secret: &str) -> Credentials {
    Credentials::new(access, Secret::new(secret.to_owned()), None).unwrap()
}

fn scope(service: &str, path: PathEncoding) -> Scope {
    Scope {
        region: "us-east-1".to_owned(),
        service: service.to_owned(),
        path,
    }
}

type Pairs = &'static [(&'static str, &'static str)];

/// Method, path as sent, query, further headers, body, signature.
type Vector = (
    &'static str,
    &'static str,
    Pairs,
    Pairs,
    &'static str,
    &'static str,
);

#[rustfmt::skip] // One vector is one line, so that it can be compared with its source.
const GENERAL: [Vector; 9] = [
    ("GET", "/", &[], &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", "/", &[], &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("GET", "/", &[("Param2", "value2"), ("Param1", "value1")], &[], "", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", &[], &[], "", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ("GET", "/%E1%88%B4", &[], &[], "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ("GET", "/", &[("\u{1234}", "bar")], &[], "", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    ("POST", "/", &[], &[("My-Header1", "value1")], "", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    ("POST", "/", &[], &[("My-Header1", "VALUE1")], "", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
    ("POST", "/", &[], &[("X-Amz-Security-Token", TOKEN)], "", "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
];

#[rustfmt::skip] // As above.
const OBJECT_STORAGE: [Vector; 4] = [
    ("GET", "/test.txt", &[], &[("Range", "bytes=0-9")], "", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
    ("PUT", "/test%24file.text", &[], &[("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")], "Welcome to Amazon S3.", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
    ("GET", "/", &[("lifecycle", "")], &[], "", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    ("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &[], "", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
];

#[test]
fn the_general_suite_of_aws_is_reproduced() {
    let who = credentials("AKIDEXAMPLE", SECRET);
    let at = Timestamp::parse("2015-08-30T12:36:00Z").unwrap();
    let base = [
        ("Host", "example.amazonaws.com"),
        ("X-Amz-Date", "20150830T123600Z"),
    ];
    for (method, path, query, more, body, signature) in GENERAL {
        let request = ToSign {
            method,
            path,
            query,
            headers: &[&base, more].concat(),
            payload: sha256(body.as_bytes()),
        };
        let scope = scope("service", PathEncoding::Once);
        let value = authorization(&request, &who, &scope, at).unwrap();
        let end = format!("Signature={signature}");
        assert!(
            value.ends_with(&end),
            "{method} {path} {query:?} {more:?}: {value}"
        );
        let start =
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ";
        assert!(value.starts_with(start), "{value}");
    }
}

#[test]
fn the_examples_of_the_s3_reference_are_reproduced() {
    let who = credentials("AKIAIOSFODNN7EXAMPLE", S3_SECRET);
    let at = Timestamp::parse("2013-05-24T00:00:00Z").unwrap();
    let time = amz_date(at);
    assert_eq!(time, "20130524T000000Z");
    for (method, path, query, more, body, signature) in OBJECT_STORAGE {
        let payload = sha256(body.as_bytes());
        let digest = hex(&payload);
        let base = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", digest.as_str()),
            ("x-amz-date", &time),
        ];
        let request = ToSign {
            method,
            path,
            query,
            headers: &[&base, more].concat(),
            payload,
        };
        let value = authorization(&request, &who, &scope("s3", PathEncoding::Once), at).unwrap();
        assert!(value.ends_with(signature), "{method} {path}: {value}");
    }
}

#[test]
fn object_storage_encodes_a_path_once_and_others_twice() {
    let request = ToSign {
        method: "GET",
        path: "/a%20b/c",
        query: &[],
        headers: &[("Host", " h "), ("X-A", " one   two "), ("x-a", "three")],
        payload: [0; 32],
    };
    let line = |path| {
        let text = canonical_request(&request, path);
        text.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(line(PathEncoding::Once), "/a%20b/c");
    assert_eq!(line(PathEncoding::Twice), "/a%2520b/c");
    let text = canonical_request(&request, PathEncoding::Once);
    assert!(
        text.contains("\nhost:h\nx-a:one two,three\n\nhost;x-a\n"),
        "{text}"
    );
}

#[test]
fn credentials_are_accepted_at_their_limits_and_refused_beyond() {
    let of = |access: usize, secret: usize, token: usize| {
        Credentials::new(
            "a".repeat(access),
            Secret::new("s".repeat(secret)),
            Some(Secret::new("t".repeat(token))),
        )
        .is_ok()
    };
    assert!(of(1, SECRET_BYTES_MIN, 1));
    assert!(of(
        CREDENTIAL_BYTES_MAX,
        CREDENTIAL_BYTES_MAX,
        CREDENTIAL_BYTES_MAX
    ));
    assert!(!of(1, SECRET_BYTES_MIN - 1, 1));
    for (a, s, t) in [(0, 40, 1), (1, 40, 0), (CREDENTIAL_BYTES_MAX + 1, 40, 1)] {
        assert!(!of(a, s, t));
    }
    assert!(!of(1, CREDENTIAL_BYTES_MAX + 1, 1) && !of(1, 40, CREDENTIAL_BYTES_MAX + 1));
    for access in ["a b", "a/b", "a\n", "\u{e4}"] {
        assert!(Credentials::new(access, Secret::new(SECRET.to_owned()), None).is_err());
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let who = Credentials::new(
        "AKID",
        Secret::new(SECRET.to_owned()),
        Some(Secret::new(TOKEN.to_owned())),
    )
    .unwrap();
    let text = format!("{who:?}");
    assert!(
        text.contains("AKID") && !text.contains("wJalr") && !text.contains("AQoD"),
        "{text}"
    );
}
