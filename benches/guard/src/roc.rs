//! Figures from scores: area under the curve, recall at a threshold, and a Wilson interval, so that
//! no percentage stands without its `n`.

/// The probability that an attack scores higher than a harmless text; ties count half.
pub fn auc(attacks: &[f32], harmless: &[f32]) -> f64 {
    let mut all: Vec<(f32, bool)> = attacks
        .iter()
        .map(|s| (*s, true))
        .chain(harmless.iter().map(|s| (*s, false)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins, mut at) = (0_f64, 0_f64, 0);
    while at < all.len() {
        let score = all.get(at).map_or(0.0, |x| x.0);
        let tie: Vec<bool> = all
            .iter()
            .skip(at)
            .take_while(|x| x.0.total_cmp(&score).is_eq())
            .map(|x| x.1)
            .collect();
        let ups = tie.iter().filter(|up| **up).count();
        let downs = tie.len() - ups;
        wins += number(ups) * (below + number(downs) / 2.0);
        below += number(downs);
        at += tie.len();
    }
    wins / (number(attacks.len()) * number(harmless.len())).max(1.0)
}

/// The smallest threshold that at most this share of the scores reaches.
pub fn threshold(harmless: &[f32], share: f64) -> f32 {
    let mut sorted = harmless.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let allowed = (number(sorted.len()) * share).floor();
    sorted
        .iter()
        .enumerate()
        .find(|(i, _)| number(*i) >= allowed)
        .map_or(0.0, |(_, s)| s + 1e-4)
}

/// How many scores reach a threshold.
pub fn reach(scores: &[f32], threshold: f32) -> usize {
    scores.iter().filter(|s| **s >= threshold).count()
}

/// A share in words: `61.2 % (n 500, 56.9 to 65.4)`, the interval being Wilson's at 95 %.
pub fn share(of: usize, n: usize) -> String {
    if n == 0 {
        return "none (n 0)".to_owned();
    }
    let (p, n_real, z) = (number(of) / number(n), number(n), 1.96_f64);
    let centre = p + z * z / (2.0 * n_real);
    let spread = z * (p * (1.0 - p) / n_real + z * z / (4.0 * n_real * n_real)).sqrt();
    let divisor = 1.0 + z * z / n_real;
    format!(
        "{:.1} % (n {n}, {:.1} to {:.1})",
        p * 100.0,
        ((centre - spread) / divisor * 100.0).max(0.0),
        ((centre + spread) / divisor * 100.0).min(100.0)
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts of texts")]
fn number(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_counts_pairs_and_ties_half() {
        assert!((auc(&[1.0, 2.0], &[0.0, 1.0]) - 0.875).abs() < 1e-9);
        assert!((auc(&[3.0], &[1.0, 2.0]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_threshold_keeps_its_share() {
        let scores: Vec<f32> = (0..200_u16).map(f32::from).collect();
        assert_eq!(reach(&scores, threshold(&scores, 0.01)), 2);
        assert_eq!(reach(&scores, threshold(&scores, 0.0)), 0);
    }
}
