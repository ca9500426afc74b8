//! What must and must not be found. Numbers are the published test numbers of schemes and
//! registries, or made with a valid check digit; RINGFENCE-TEST-FIXTURE.

use super::*;
use ringfence_core::detection::Label;

/// What is found of the kinds this file is about; dates and web addresses are in their own tests.
fn found(text: &str) -> Vec<(Label, &str)> {
    let about = |label: Label| !matches!(label, Label::Date | Label::Url | Label::IpAddress);
    let mut hits = Vec::new();
    for detector in detectors().expect("detectors") {
        detector.scan(text, &mut hits);
    }
    hits.retain(|h| about(h.label));
    hits.sort_by_key(|h| h.span.start);
    hits.into_iter().map(|h| (h.label, &text[h.span])).collect()
}

#[test]
fn cards_of_every_scheme_are_found_alone_and_in_prose() {
    for card in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4222222222222",
        "5500 0055 5555 5559",
        "2223003122003222",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "6200 0000 0000 0005",
        "6250941006528599",
        "\u{ff14}\u{ff11}\u{ff11}\u{ff11}1111 1111 1111",
    ] {
        assert_eq!(found(card), [(Label::PaymentCard, card)], "{card}");
        let prose = format!("My card is {card}, thanks.");
        assert_eq!(found(&prose), [(Label::PaymentCard, card)], "{prose}");
        let chinese = format!("\u{5361}\u{53f7}{card}\u{3002}");
        assert_eq!(found(&chinese), [(Label::PaymentCard, card)], "{chinese}");
    }
}

#[test]
fn two_cards_beside_each_other_are_both_found() {
    let text = "4111 1111 1111 1111 5500 0055 5555 5559";
    assert_eq!(found(text).len(), 2);
}

#[test]
fn a_card_number_with_a_wrong_digit_or_inside_a_longer_number_is_not_a_card() {
    for text in [
        "4111111111111112",
        "14111111111111111",
        "41111111111111110000",
        "x4111111111111111",
        "4111111111111111a",
        "0000000000000000",
        "1234567890123456",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn account_numbers_are_found_with_and_without_groups() {
    for iban in [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "FR1420041010050500013M02606",
        "NO9386011117947",
        "nl91abna0417164300",
        "MT84MALT011000012345MTLCAST001S",
    ] {
        assert_eq!(found(iban), [(Label::Iban, iban)]);
        assert_eq!(found(&format!("IBAN: {iban}.")), [(Label::Iban, iban)]);
    }
}

#[test]
fn account_numbers_with_wrong_check_length_or_country_are_not() {
    for text in [
        "DE88370400440532013000",
        "DE8937040044053201300",
        "ZZ89370400440532013000",
        "xDE89370400440532013000",
        "DE89 37 04 00 44 05 32 01 30 00",
        "no 12 apples and 14 pears were sold today",
    ] {
        assert!(
            found(text).iter().all(|(label, _)| *label != Label::Iban),
            "{text}"
        );
    }
}

#[test]
fn addresses_are_found_where_people_write_them() {
    for (text, address) in [
        ("write to ann@example.com.", "ann@example.com"),
        (
            "<ann.b+tag@mail.example.co.uk>",
            "ann.b+tag@mail.example.co.uk",
        ),
        ("\u{90ae}\u{7bb1}ann@example.cn\u{3002}", "ann@example.cn"),
        ("mailto:ann@example.com?subject=x", "ann@example.com"),
        ("('ann@example.com')", "ann@example.com"),
        ("a@b@example.org", "b@example.org"),
        ("x@xn--fiqs8s.xn--fiqs8s", "x@xn--fiqs8s.xn--fiqs8s"),
    ] {
        assert_eq!(found(text), [(Label::Email, address)], "{text}");
    }
}

#[test]
fn a_local_part_is_cut_at_64_bytes_and_never_lost() {
    let at = format!("{}@example.com", "a".repeat(64));
    assert_eq!(found(&at), [(Label::Email, at.as_str())]);
    let above = format!("b{at}");
    assert_eq!(found(&above), [(Label::Email, at.as_str())]);
}

#[test]
fn what_only_looks_like_an_address_is_not() {
    for text in [
        "@decorator",
        "user@host",
        "a @ b.com",
        "git@",
        "x@1.2",
        "v@1.2.3",
        "a@.com",
        "@@",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn telephone_numbers_in_their_usual_forms_are_found() {
    for (text, number) in [
        ("call +1 415 555 2671 now", "+1 415 555 2671"),
        ("+49 (0)30 901820", "+49 (0)30 901820"),
        ("+8613812345678", "+8613812345678"),
        ("+86 138 1234 5678", "+86 138 1234 5678"),
        ("(415) 555-2671", "(415) 555-2671"),
        ("415-555-2671,", "415-555-2671"),
        ("1-415-555-2671", "1-415-555-2671"),
        ("415.555.2671", "415.555.2671"),
        ("phone: 415 555 2671", "415 555 2671"),
        ("\u{624b}\u{673a}13812345678", "13812345678"),
        ("138-1234-5678", "138-1234-5678"),
        ("138 1234 5678", "138 1234 5678"),
        ("my mobile is 13812345678.", "13812345678"),
        ("010-12345678", "010-12345678"),
        ("Tel. 020 7946 0958", "020 7946 0958"),
        ("tel 06 12 34 56 78", "06 12 34 56 78"),
        ("030/90182000", "030/90182000"),
        ("090-1234-5678", "090-1234-5678"),
        ("call 0044 20 7946 0958", "0044 20 7946 0958"),
    ] {
        assert_eq!(found(text), [(Label::Phone, number)], "{text}");
    }
}

#[test]
fn plain_numbers_dates_identifiers_and_versions_are_nothing() {
    for text in [
        "the answer is 42",
        "2024-01-15 10:30:00",
        "01.02.2024 12:30",
        "15/01/2024",
        "1700000000",
        "1700000000000",
        "13812345678",
        "order 13812345678",
        "\u{8ba2}\u{5355}13812345678",
        "v1.2.3-4567",
        "192.168.100.200:8080",
        "ISBN 978-3-16-148410-0",
        "123e4567-e89b-12d3-a456-426614174000",
        "3.14159265358979323846",
        "$1,234,567.89",
        "x = 100200300400",
        "SKU 555-1234",
        "+1",
        "a + 12345678 + b",
        "1 + 415 = 416",
        "port 65535, uid 1000, 0644",
        "12 345 678",
        "RFC 5322, section 4.5.3.1.1",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]",
        "0123456789abcdef",
        "555-123-4567-8901",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

/// What must be found, whole, with its label.
#[rustfmt::skip] // one case a line
const FOUND: &[(&str, Label, &str)] = &[
        ("address 74.34.59.240 blocked", Label::IpAddress, "74.34.59.240"),
        ("at 10.0.0.1:8080.", Label::IpAddress, "10.0.0.1"),
        ("from fe80::1ff:fe23:4567:890a,", Label::IpAddress, "fe80::1ff:fe23:4567:890a"),
        ("4f8a:c99e:dc86:faf9:5988:5f63:375e:8a2a", Label::IpAddress, "4f8a:c99e:dc86:faf9:5988:5f63:375e:8a2a"),
        ("mac 00:1B:44:11:3A:B7.", Label::MacAddress, "00:1B:44:11:3A:B7"),
        ("mac 00-1b-44-11-3a-b7", Label::MacAddress, "00-1b-44-11-3a-b7"),
        ("on 2024-01-15 10:30:00.", Label::Date, "2024-01-15 10:30:00"),
        ("on 3/12/1985,", Label::Date, "3/12/1985"),
        ("on 12 March 1985.", Label::Date, "12 March 1985"),
        ("on March 12, 1985.", Label::Date, "March 12, 1985"),
        ("born 1985-03-12", Label::BirthDate, "1985-03-12"),
        ("\u{51fa}\u{751f}1985\u{5e74}3\u{6708}12\u{65e5}", Label::BirthDate, "1985\u{5e74}3\u{6708}12\u{65e5}"),
        ("at 48.8584, -2.2945.", Label::Coordinates, "48.8584, -2.2945"),
        ("(see http://x.example/y?z=1).", Label::Url, "http://x.example/y?z=1"),
        ("https://ann:secret9@example.com/a", Label::UrlCredential, "ann:secret9"),
        ("pay 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", Label::CryptoAddress, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", Label::CryptoAddress, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", Label::CryptoAddress, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
];

fn all(text: &str) -> Vec<(Label, String)> {
    let mut hits = Vec::new();
    for detector in detectors().expect("detectors") {
        detector.scan(text, &mut hits);
    }
    hits.into_iter()
        .map(|h| (h.label, text.get(h.span).unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn addresses_of_machines_days_and_coins_are_found() {
    for (text, label, value) in FOUND {
        assert!(
            all(text).contains(&(*label, (*value).to_owned())),
            "{text}: {:?}",
            all(text)
        );
    }
}

#[test]
fn versions_times_and_wrong_checks_are_nothing() {
    for text in [
        "version 1.2.3.4",
        "at 12:30:45",
        "std::vec::Vec",
        "a::b",
        "1.2.3.4.5",
        "256.1.1.1",
        "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3",
        "99/99/9999",
        "1.2.34",
    ] {
        assert_eq!(all(text), [], "{text}");
    }
}
