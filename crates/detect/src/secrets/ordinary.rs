//! What speaks against a value that only its name makes a secret: it reads like words, its name
//! says that it is something about a secret, or its host is a stand-in.
//!
//! Programs are full of `API_KEY = "search.api_key"`. The price is said openly: a password made
//! of plain words only, without a digit or a sign, is not reported; a test below bounds what
//! random keys lose.

/// Last words of names that hold something about a secret and not the secret.
const ABOUT: &[&str] = &[
    "alias",
    "arn",
    "class",
    "column",
    "description",
    "endpoint",
    "env",
    "error",
    "field",
    "file",
    "format",
    "header",
    "hint",
    "kind",
    "label",
    "location",
    "message",
    "mode",
    "name",
    "param",
    "path",
    "pattern",
    "placeholder",
    "policy",
    "prefix",
    "ref",
    "regex",
    "role",
    "scope",
    "scopes",
    "status",
    "strategy",
    "title",
    "type",
    "uri",
    "url",
    "var",
];

/// Whether the name of an assignment, with its operator, says that the value is no secret.
pub(super) fn is_name_of_no_secret(name: &str) -> bool {
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let last = words(name).pop().unwrap_or_default().to_ascii_lowercase();
    ABOUT.contains(&last.as_str())
}

/// Hosts that documentation writes where a host will stand.
const HOSTS: &[&str] = &[
    "domain",
    "fqdn",
    "host",
    "hostname",
    "ip",
    "proxy",
    "proxyhost",
    "server",
    "servername",
    "url",
];

/// Whether the host that begins at `at` is one that documentation writes.
pub(super) fn stands_in_for_a_host(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
        .unwrap_or(rest.len());
    let (host, after) = rest.split_at(end);
    // A word that goes on in another script is a word of a language, not a host.
    let goes_on = after.chars().next().is_some_and(char::is_alphanumeric);
    goes_on || HOSTS.contains(&host.to_ascii_lowercase().as_str())
}

/// Letters of a piece from which on it is judged whether it can be spoken.
const SPOKEN_MIN: usize = 4;
/// Consonants in a row that words of European languages have.
const CONSONANTS_MAX: usize = 5;

/// Whether a value is made of words, as identifiers, paths and messages are.
pub(super) fn is_words(value: &str, name: &str) -> bool {
    let password = name.to_ascii_lowercase().starts_with("pass");
    let sign = |b: u8| !b.is_ascii_alphanumeric() && !b"_-./:".contains(&b);
    if value.bytes().any(sign) || (password && value.bytes().any(|b| b.is_ascii_digit())) {
        return false;
    }
    let pieces = words(value);
    let (numbers, spoken): (Vec<&str>, Vec<&str>) = pieces.iter().partition(|p| is_number(p));
    let digits: usize = numbers.iter().map(|p| p.len()).sum();
    let letters: usize = spoken.iter().map(|p| p.len()).sum();
    let parted = value.bytes().any(|b| !b.is_ascii_alphanumeric());
    // Where separators part the pieces a number is one of them; else only the last may be one.
    let digits_max = (letters + digits) * if parted { 34 } else { 15 } / 100;
    // Half letters: the mean length of the pieces of identifiers is above 3.5, inside a key less.
    let mean_min = if parted { 7 } else { 8 };
    let alone = spoken.iter().filter(|p| p.len() == 1).count();
    digits <= digits_max
        && letters * 2 >= mean_min * spoken.len()
        && (parted || (alone <= 1 && pieces.iter().rev().skip(1).all(|p| !is_number(p))))
        && spoken.iter().all(|p| can_be_spoken(p))
}

fn is_number(piece: &str) -> bool {
    piece.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a piece of letters has vowels enough to be a word. Short ones pass: they are counted
/// by their average length.
fn can_be_spoken(piece: &str) -> bool {
    if piece.len() < SPOKEN_MIN {
        return true;
    }
    let mut vowels = 0;
    let (mut run, mut longest) = (0, 0);
    for b in piece.bytes() {
        if b"aeiouyAEIOUY".contains(&b) {
            vowels += 1;
            run = 0;
        } else {
            run += 1;
            longest = longest.max(run);
        }
    }
    vowels * 7 >= piece.len() && vowels * 10 <= piece.len() * 8 && longest <= CONSONANTS_MAX
}

/// The pieces of an identifier: parted at signs, between letters and digits, and before a capital
/// that follows a small letter or begins a capitalised word.
fn words(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(b' ');
    let mut out = Vec::new();
    let mut start = 0;
    for i in 0..=bytes.len() {
        let (before, here, after) = (at(i.wrapping_sub(1)), at(i), at(i + 1));
        let part = !here.is_ascii_alphanumeric()
            || !before.is_ascii_alphanumeric()
            || before.is_ascii_digit() != here.is_ascii_digit()
            || (here.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || after.is_ascii_lowercase()));
        if part {
            if let Some(piece) = text.get(start..i)
                && piece.bytes().any(|b| b.is_ascii_alphanumeric())
            {
                out.push(piece);
            }
            start = if here.is_ascii_alphanumeric() {
                i
            } else {
                i + 1
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_fall_into_their_words() {
        for (text, expected) in [
            ("web.search_api", &["web", "search", "api"][..]),
            ("BertTokenizerFast", &["Bert", "Tokenizer", "Fast"]),
            ("HTTPServer2", &["HTTP", "Server", "2"]),
            ("", &[]),
            ("__", &[]),
            ("k3J9", &["k", "3", "J", "9"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn identifiers_and_paths_are_words() {
        for text in [
            "AUDIO_STT_MISTRAL_API_KEY",
            "web.search.azure_ai_search_api_key",
            "variableName.function.standard",
            "BertTokenizerFast",
            "custom-key-123",
            "langsmith-key",
            "bare-quoted-string",
            "models/tokenizer.json",
        ] {
            assert!(is_words(text, "token = \""), "{text}");
        }
    }

    #[test]
    fn a_password_of_words_with_a_digit_or_a_sign_is_no_word() {
        assert!(!is_words("Summer-Vacation-2024", "password = \""));
        assert!(!is_words("Summer-Vacation!", "passwd: '"));
        assert!(is_words("ForgottenPassword", "password: '"));
        assert!(is_words("Summer-Vacation-24", "token = '"));
    }

    #[test]
    fn names_about_a_secret_are_told_from_names_of_one() {
        for name in [
            "token_url = \"",
            "secretName: '",
            "api_key_env=\"",
            "token-type\": \"",
        ] {
            assert!(is_name_of_no_secret(name), "{name}");
        }
        for name in [
            "token = \"",
            "secret_id: '",
            "api_key_2=\"",
            "passwordValue\": \"",
        ] {
            assert!(!is_name_of_no_secret(name), "{name}");
        }
    }

    #[test]
    fn hosts_of_documentation_are_told_from_hosts() {
        for text in ["host:80", "HOSTNAME/db", "v\u{e6}rt:port", "server"] {
            assert!(stands_in_for_a_host(text, 0), "{text}");
        }
        for text in ["db:5432", "cache.internal/0", "localhost", "10.0.0.1"] {
            assert!(!stands_in_for_a_host(text, 0), "{text}");
        }
        assert!(!stands_in_for_a_host("x", 9));
    }

    #[test]
    fn of_random_keys_few_are_taken_for_words() {
        // xorshift64: no key comes from anywhere but this counter. RINGFENCE-TEST-FIXTURE.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).expect("31 bits") % below
        };
        for (alphabet, lost_max) in [
            ("0123456789abcdef", 0),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                5,
            ),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
                5,
            ),
            ("abcdefghijklmnopqrstuvwxyz0123456789", 20),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 30),
        ] {
            for length in [20, 24, 32, 40] {
                let lost = (0..1_000)
                    .filter(|_| {
                        let key: String = (0..length)
                            .map(|_| char::from(alphabet.as_bytes()[next(alphabet.len())]))
                            .collect();
                        is_words(&key, "token = \"")
                    })
                    .count();
                assert!(lost <= lost_max, "{alphabet} {length}: {lost} of 1000");
            }
        }
    }
}
