//! Text that somebody else wrote, shown to a person.

/// The text without characters that do something instead of being read: controls drive a terminal
/// (OSC 52, CSI), and the marks and isolates of the bidirectional algorithm (UAX 9) make a name
/// read as another one.
pub fn neutral(text: &str) -> String {
    text.chars()
        .map(|c| if acts(c) { '\u{fffd}' } else { c })
        .collect()
}

fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_replaced_and_what_is_read_stays() {
        assert_eq!(
            neutral("caf\u{e9} \u{5d0}\n\u{1f600}"),
            "caf\u{e9} \u{5d0}\n\u{1f600}"
        );
        for c in [
            '\0', '\r', '\t', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}',
        ] {
            assert_eq!(neutral(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
    }
}
