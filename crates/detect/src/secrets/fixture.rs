//! Turns the test templates of the rule cards into texts with the form of a key.
//!
//! Nothing here is a key: characters come from a counter. RINGFENCE-TEST-FIXTURE.
//! A template holds `«kind:length»`; kinds are alnum, alpha, upper, digit, hex, url and b64.

/// The text of a template. A kind that is not known stays as it is.
pub fn expand(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    let mut state: u32 = 0x9e37_79b9;
    while let Some((before, after)) = rest.split_once('\u{ab}') {
        out.push_str(before);
        let Some((inside, tail)) = after.split_once('\u{bb}') else {
            break;
        };
        let (kind, length) = inside.split_once(':').unwrap_or((inside, ""));
        for _ in 0..length.parse::<usize>().unwrap_or(0) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let alphabet = alphabet(kind);
            let index = (state >> 16) as usize % alphabet.len().max(1);
            out.push(alphabet.get(index).copied().map_or('?', char::from));
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn alphabet(kind: &str) -> &'static [u8] {
    match kind {
        "alpha" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "upper" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "digit" => b"1234567890",
        "hex" => b"0123456789abcdef",
        "url" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_",
        "b64" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        _ => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    }
}
