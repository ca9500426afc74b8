//! The four laws of `core::detection::Stream`, over planted texts cut at every place and over
//! random texts cut at random places. RINGFENCE-TEST-FIXTURE: test numbers and made-up keys.

use proptest::prelude::*;
use ringfence_core::detection::{Bound, Detector, GuardAction, Hit, Label, Step, Stream};
use ringfence_detect::error::DetectError;
use ringfence_detect::lexer::{End, Lexer, Next};
use ringfence_detect::secrets::{SecretDetector, fixture};
use ringfence_detect::stream::{Filter, FilterPlan, PlannedDetector};
use ringfence_detect::{pii, redact};
use std::sync::{Arc, LazyLock};

/// What a broken rule file looks like from here.
#[expect(
    clippy::panic,
    reason = "a test helper; clippy allows it only inside test functions"
)]
fn built<T>(result: Result<T, DetectError>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Everything a stream can find, in the order of the batch form.
const LABELS: [Label; 18] = [
    Label::PaymentCard,
    Label::Iban,
    Label::Email,
    Label::CryptoAddress,
    Label::IpAddress,
    Label::MacAddress,
    Label::NationalId,
    Label::TaxId,
    Label::Passport,
    Label::DriverLicence,
    Label::Medical,
    Label::Phone,
    Label::Date,
    Label::BirthDate,
    Label::Coordinates,
    Label::Url,
    Label::UrlCredential,
    Label::Secret,
];

static PLAN: LazyLock<FilterPlan> = LazyLock::new(|| {
    built(FilterPlan::for_labels(
        &LABELS.map(|label| (label, GuardAction::Redact)),
    ))
});

static DETECTORS: LazyLock<Vec<Box<dyn Detector>>> = LazyLock::new(|| {
    let mut all = built(pii::detectors());
    all.push(Box::new(built(SecretDetector::new())));
    all
});

/// Runs a filter over the pieces, checking law 3 at each step.
fn stream(plan: &FilterPlan, pieces: &[&str]) -> (String, Vec<Hit>, Option<Hit>) {
    let mut filter = Filter::new(plan.clone());
    let mut out = String::new();
    for piece in pieces {
        let step = filter.push(piece, &mut out);
        assert!(
            filter.held_bytes() <= filter.bound_bytes(),
            "{} held",
            filter.held_bytes()
        );
        if let Step::Block(hit) = step {
            return (out, filter.hits().to_vec(), Some(hit));
        }
    }
    let step = filter.finish(&mut out);
    assert_eq!(filter.held_bytes(), 0);
    let blocked = match step {
        Step::Block(hit) => Some(hit),
        Step::Continue => None,
    };
    (out, filter.hits().to_vec(), blocked)
}

fn cut<'text>(text: &'text str, places: &[usize]) -> Vec<&'text str> {
    let mut places: Vec<usize> = places
        .iter()
        .copied()
        .filter(|at| text.is_char_boundary(*at))
        .collect();
    places.push(0);
    places.push(text.len());
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

fn check(text: &str, places: &[usize]) {
    let (batch, batch_hits) = redact::redact(text, &DETECTORS);
    let (out, hits, _) = stream(&PLAN, &cut(text, places));
    assert_eq!(out, batch, "{text:?} cut at {places:?}");
    assert_eq!(hits, batch_hits, "{text:?} cut at {places:?}");
    if hits.is_empty() {
        assert_eq!(out, text);
    }
}

fn planted() -> Vec<String> {
    let key = fixture::expand("ghp_\u{ab}alnum:36\u{bb}");
    let jwt = fixture::expand("eyJ\u{ab}alnum:20\u{bb}.eyJ\u{ab}alnum:40\u{bb}.\u{ab}url:43\u{bb}");
    let pem = format!(
        "a -----BEGIN {} KEY-----\n{}\n-----END {0} KEY----- b",
        "PRIVATE",
        fixture::expand("\u{ab}b64:70\u{bb}")
    );
    let mut texts: Vec<String> = [
        "Hello world, the answer is 42.",
        "ann@example.com",
        "ann@example.com at the start and the end bob@example.org",
        "card 4111 1111 1111 1111 and 5500-0055-5555-5559.",
        "4111 1111 1111 1111 5500 0055 5555 5559",
        "IBAN DE89 3704 0044 0532 0130 00, GB82WEST12345698765432",
        "call +1 (415) 555-2671 or 010-12345678",
        "\u{90ae}\u{7bb1}ann@example.cn\u{ff0c}\u{624b}\u{673a}13812345678\u{3002}",
        "\u{ff14}\u{ff11}\u{ff11}\u{ff11}1111\u{a0}1111 1111\u{1f600}",
        "+14155552671ann@example.com",
        "415-555-2671@example.com 4111111111111111@example.com",
        "a@b@c.com,d@e.fr;f@g",
        "2024-01-15 10:30 192.168.0.1 v1.2.3 order 13812345678",
        "postgres://app:Zk3mQ9xV2bN7@db.internal:5432/app",
        "((((+1+1 (415 (555))) ---- ++++ @@@@ ....",
        "sk- ghp_ AKIA eyJ.eyJ. ://:@ -----BEGIN -----BEGIN PRIVATE KEY-----",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend(
        [
            "SSN 536-90-4399, id 11010519491231002X. CPF 529.982.247-25",
            "passport A12345678 and driver's license number M943688896309",
            "born 12 March 1985, or March 12, 1985 at 48.8584, -2.2945 on 1985-03-12 10:30:00Z",
            "from 10.0.0.1:8080 and fe80::1ff:fe23:4567:890a or 00:1B:44:11:3A:B7.",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
            "see https://ann:secret9@example.com/a?b=c, www.example.org. (http://x.example/y)",
            "phone 785 8949 x123, 61 51 81 office 97 111421-Fax",
            "NINO AB 12 34 56 C, IT RSSMRA85T10A562S",
        ]
        .map(str::to_owned),
    );
    texts.push(format!("token {key} and \"{key}\",{key}"));
    texts.push(format!("{key}{key}"));
    texts.push(format!("x={jwt}"));
    texts.push(pem);
    texts
}

#[test]
fn planted_texts_cut_at_every_place_and_every_pair_of_places_are_as_the_whole() {
    for text in planted() {
        check(&text, &(0..text.len()).collect::<Vec<_>>());
        for first in 0..=text.len() {
            check(&text, &[first]);
            if text.len() <= 70 {
                for second in first..=text.len() {
                    check(&text, &[first, second]);
                }
            }
        }
    }
}

#[test]
fn without_the_hold_a_cut_value_leaks() {
    // The attack with the control off: each piece redacted by itself lets both halves out.
    let pieces = ["mail ann@exa", "mple.com now"];
    let piecewise: String = pieces
        .iter()
        .map(|piece| redact::redact(piece, &DETECTORS).0)
        .collect();
    assert!(piecewise.contains("ann@example.com"));
    assert_eq!(stream(&PLAN, &pieces).0, "mail [REDACTED:email] now");
}

#[test]
fn a_card_over_three_pieces_is_one_marker() {
    let (out, hits, _) = stream(&PLAN, &["pay 4111 11", "11 1111", " 1111 now"]);
    assert_eq!(out, "pay [REDACTED:card] now");
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].span, 4..23);
}

#[test]
fn clean_text_leaves_with_the_next_word() {
    let mut filter = Filter::new(PLAN.clone());
    let mut out = String::new();
    for piece in [
        "Hello ",
        "world, ",
        "the ",
        "answer ",
        "is 42. ",
        "\u{4f60}\u{597d}\u{3002}",
    ] {
        filter.push(piece, &mut out);
        assert!(
            filter.held_bytes() <= 8,
            "{} held after {piece:?}",
            filter.held_bytes()
        );
    }
    assert_eq!(
        out,
        "Hello world, the answer is 42. \u{4f60}\u{597d}\u{3002}"
    );
}

#[test]
fn block_ends_the_stream_before_the_first_byte_of_the_match_at_every_cut() {
    let plan = FilterPlan::for_labels(&[
        (Label::Email, GuardAction::Redact),
        (Label::PaymentCard, GuardAction::Block),
    ])
    .expect("plan");
    let text = "from ann@example.com pay 4111111111111111 then 5500005555555559 bye";
    for at in 0..=text.len() {
        let (out, _, blocked) = stream(&plan, &[&text[..at], &text[at..]]);
        assert_eq!(out, "from [REDACTED:email] pay ", "cut at {at}");
        assert_eq!(blocked.map(|h| h.span), Some(25..41));
    }
    let mut filter = Filter::new(plan);
    let mut out = String::new();
    filter.push(text, &mut out);
    let before = out.clone();
    assert!(matches!(filter.push("more", &mut out), Step::Block(_)));
    assert!(matches!(filter.finish(&mut out), Step::Block(_)));
    assert!(matches!(filter.push("more", &mut out), Step::Block(_)));
    assert_eq!(out, before);
}

#[test]
fn tagged_hits_pass_unchanged_and_are_reported() {
    let plan = FilterPlan::for_labels(&[(Label::Email, GuardAction::Tag)]).expect("plan");
    let (out, hits, _) = stream(&plan, &["a ann@exam", "ple.com b"]);
    assert_eq!(out, "a ann@example.com b");
    assert_eq!(hits.len(), 1);
}

/// A detector that needs the whole text.
struct Whole;
impl Detector for Whole {
    fn id(&self) -> &'static str {
        "test/whole"
    }
    fn labels(&self) -> &[Label] {
        &[Label::Secret]
    }
    fn bound(&self) -> Bound {
        Bound::Buffer
    }
    fn scan(&self, _: &str, _: &mut Vec<Hit>) {}
}
impl Lexer for Whole {
    fn next(&self, _: &str, from: usize, _: End) -> Next {
        Next::ClearTo(from)
    }
    fn left_context(&self) -> usize {
        0
    }
}

#[test]
fn plans_that_a_stream_cannot_keep_are_refused() {
    assert!(matches!(
        FilterPlan::for_labels(&[(Label::Injection, GuardAction::Block)]),
        Err(DetectError::Unbounded { .. })
    ));
    assert!(matches!(
        FilterPlan::for_labels(&[(Label::Email, GuardAction::Ask)]),
        Err(DetectError::StreamAction { .. })
    ));
    assert!(matches!(
        FilterPlan::for_labels(&[
            (Label::Email, GuardAction::Tag),
            (Label::Email, GuardAction::Pass)
        ]),
        Err(DetectError::TwoActions { .. })
    ));
    let whole = PlannedDetector::all(Arc::new(Whole), GuardAction::Redact);
    assert!(matches!(
        FilterPlan::new(vec![whole]),
        Err(DetectError::Unbounded { .. })
    ));
}

#[test]
fn long_runs_of_one_character_stay_within_the_bound() {
    for unit in [
        "a", "1", "1 ", "+", "4", "A1", "@", "a@", "-", "\u{4e2d}", "eyJ", "ghp_", "(", "://", "DE",
    ] {
        let text = unit.repeat(1500);
        let places: Vec<usize> = (0..text.len()).step_by(7).collect();
        check(&text, &places);
    }
}

#[test]
fn hostile_repetition_takes_linear_time() {
    // Quadratic work over these would take minutes, not the second that the test takes.
    for unit in [
        "+",
        "(",
        "@",
        "a@",
        "1 ",
        "ghp_",
        "-----BEGIN ",
        "eyJ",
        "a",
        "DE89 ",
        "://a:b@",
    ] {
        let text = unit.repeat(150_000 / unit.len());
        let mut hits = Vec::new();
        for detector in DETECTORS.iter() {
            detector.scan(&text, &mut hits);
        }
    }
    let key = fixture::expand("AKIA\u{ab}upper:16\u{bb} ");
    let mut hits = Vec::new();
    built(SecretDetector::new()).scan(&key.repeat(7000), &mut hits);
    assert_eq!(hits.len(), 7000);
}

fn fragment() -> impl Strategy<Value = String> {
    let planted = planted();
    prop_oneof![
        3 => proptest::sample::select(planted),
        3 => "[0-9 .()+-]{0,24}",
        3 => "[a-zA-Z0-9._%+@-]{0,24}",
        2 => "[A-Z]{2}[0-9]{2}[A-Z0-9 ]{0,28}",
        2 => "\\PC{0,12}",
        1 => "[\u{4e00}-\u{4e20}\u{ff10}-\u{ff19}\u{a0} ]{0,8}",
        1 => "(ghp_|sk-|AKIA|eyJ|xoxb-|-----BEGIN |://|:AA|SG\\.)[A-Za-z0-9_.-]{0,60}",
        1 => Just("phone ".to_owned()),
        1 => Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_text_in_any_pieces_is_as_the_whole(
        fragments in proptest::collection::vec(fragment(), 1..6),
        glue in prop_oneof![Just(""), Just(" "), Just(","), Just("\n")],
        places in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let text = fragments.join(glue);
        let places: Vec<usize> =
            places.iter().map(|index| index.index(text.len() + 1)).collect();
        check(&text, &places);
    }

    #[test]
    fn any_text_character_by_character_is_as_the_whole(
        fragments in proptest::collection::vec(fragment(), 1..4),
    ) {
        let text = fragments.concat();
        check(&text, &(0..text.len()).collect::<Vec<_>>());
    }
}

#[test]
fn hits_are_remembered_up_to_the_limit_and_acted_upon_beyond_it() {
    use ringfence_detect::stream::HITS_KEPT_MAX;
    for (count, kept) in [
        (HITS_KEPT_MAX, HITS_KEPT_MAX),
        (HITS_KEPT_MAX + 1, HITS_KEPT_MAX),
    ] {
        let mut filter = Filter::new(PLAN.clone());
        let mut out = String::new();
        filter.push(&"a@b.example ".repeat(count), &mut out);
        filter.finish(&mut out);
        assert_eq!(filter.hits().len(), kept);
        assert_eq!(filter.hits_total(), u64::try_from(count).unwrap_or(0));
        assert_eq!(out, "[REDACTED:email] ".repeat(count));
    }
}

#[test]
fn labels_of_a_mail_host_are_read_up_to_their_limit() {
    for (length, found) in [(63, 1), (64, 0)] {
        let text = format!("a@{}.example", "b".repeat(length));
        let mut hits = Vec::new();
        for detector in DETECTORS.iter().filter(|d| d.labels() == [Label::Email]) {
            detector.scan(&text, &mut hits);
        }
        assert_eq!(hits.len(), found, "{length}");
    }
}
