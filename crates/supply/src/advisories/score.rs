//! CVSS vectors to tenths of a point.

use ringfence_core::severity::{Cvss, Severity};

/// LIMIT: octets of a CVSS vector; the longest valid one of version 4 has about 230.
const VECTOR_BYTES_MAX: usize = 256;

/// Scores a vector of CVSS 2, 3.0, 3.1 or 4.0; `None` if it is not one.
pub(crate) fn score(vector: &str) -> Option<Cvss> {
    if vector.len() > VECTOR_BYTES_MAX {
        return None;
    }
    let points = base(vector)?.parse::<cvss::Cvss>().ok()?.score();
    // Published scores have one decimal; as an integer 8.9 and 9.0 cannot be confused. Anything
    // outside 0 to 10 is refused, so that the cast is exact.
    let tenths = (points * 10.0).round();
    if !(0.0..=100.0).contains(&tenths) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 100"
    )]
    let tenths = tenths as u8;
    Some(Cvss {
        vector: vector.to_owned(),
        tenths,
    })
}

/// The metrics of the base group, all mandatory (CVSS 4.0 table 23, 3.1 table 15, 2.0 table 13).
const BASE: [(&str, &[&str]); 4] = [
    (
        "CVSS:4.0",
        &[
            "AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA",
        ],
    ),
    ("CVSS:3.1", &["AV", "AC", "PR", "UI", "S", "C", "I", "A"]),
    ("CVSS:3.0", &["AV", "AC", "PR", "UI", "S", "C", "I", "A"]),
    ("", &["AV", "AC", "Au", "C", "I", "A"]),
];

/// The base part of a vector; `None` if a base metric is missing or stands twice. A vector
/// without them would score 0.0 and make any flaw look harmless; threat and environment metrics
/// are of another time and place and could only lower it.
fn base(vector: &str) -> Option<String> {
    let (version, mandatory) = BASE
        .iter()
        .find(|(version, _)| vector.starts_with(version))?;
    let mut kept = vec![*version];
    kept.retain(|version| !version.is_empty());
    let metrics = vector
        .strip_prefix(version)?
        .split('/')
        .filter(|part| !part.is_empty());
    let is_base = |part: &&str| {
        part.split_once(':')
            .is_some_and(|(m, _)| mandatory.contains(&m))
    };
    kept.extend(metrics.filter(is_base));
    let names = |part: &&&str| {
        part.split_once(':')
            .is_some_and(|(m, _)| mandatory.contains(&m))
    };
    (kept.iter().filter(names).count() == mandatory.len()).then(|| kept.join("/"))
}

/// Reads a severity word of `database_specific`.
pub(crate) fn word(text: &str) -> Option<Severity> {
    match text.to_ascii_lowercase().as_str() {
        "low" => Some(Severity::Low),
        "moderate" | "medium" => Some(Severity::Medium),
        "high" | "important" => Some(Severity::High),
        "critical" => Some(Severity::Critical),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_without_its_base_metrics_would_score_as_harmless() {
        let bare: cvss::Cvss = "CVSS:3.1/AV:N".parse().unwrap();
        assert!(
            bare.score() < 0.1,
            "the attack: the crate alone scores it 0.0"
        );
        assert_eq!(score("CVSS:3.1/AV:N"), None);
    }

    #[test]
    fn vectors_of_each_version_are_scored_in_tenths() {
        let cases = [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(98)),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(61)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Some(0)),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                Some(93),
            ),
            ("CVSS:3.1/AV:N", None),
            // Lowered by its environment or threat metrics; the base score holds.
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:U/CR:L/IR:L/AR:L/MC:N/MI:N/MA:N",
                Some(98),
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N/E:U",
                Some(93),
            ),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/I:H", None),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:X", None),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", Some(75)),
            ("9.8", None),
            ("", None),
        ];
        for (vector, tenths) in cases {
            assert_eq!(score(vector).map(|c| c.tenths), tenths, "{vector}");
        }
        assert!(score(&"A".repeat(VECTOR_BYTES_MAX + 1)).is_none());
    }
}
