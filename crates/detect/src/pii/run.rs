//! Reads the run of letters and digits at a place, and fits the shapes of numbers onto it.

// LIMIT: bytes of a run that is looked at; no number here is longer with its separators.
pub(super) const RUN_BYTES_MAX: usize = 96;

/// Separators inside numbers as people write them.
pub(super) fn separator(b: u8) -> bool {
    matches!(b, b' ' | b'-' | b'.' | b'/' | b'(')
}

/// A run: letters and digits with single separators, cut at [`RUN_BYTES_MAX`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'text> {
    pub(super) bytes: &'text [u8],
    /// Letters and digits before the first separator.
    pub(super) first: usize,
    /// Something after it shows that it ends, or it is as long as anything can be.
    pub(super) ended: bool,
}

/// The run at the start of `rest`.
pub(super) fn read(rest: &[u8]) -> Run<'_> {
    let mut first = None;
    let mut after_separator = true;
    let mut length = 0;
    let mut ended = false;
    for (i, b) in rest.iter().enumerate() {
        if i == RUN_BYTES_MAX {
            ended = true;
            break;
        }
        if b.is_ascii_alphanumeric() {
            after_separator = false;
            length = i + 1;
        } else if separator(*b) && !after_separator {
            first = first.or(Some(i));
            after_separator = true;
        } else {
            ended = true;
            break;
        }
    }
    let bytes = rest.get(..length).unwrap_or_default();
    Run {
        bytes,
        first: first.unwrap_or(length),
        ended,
    }
}

/// A shape fitted onto a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Bytes of the run, separators included.
    pub(super) length: usize,
    plain: [u8; SHAPE_MAX],
    characters: usize,
    /// Separators that stand where the shape has them.
    pub(super) separators: usize,
}

impl Fit {
    /// Letters in upper case and digits, without separators.
    pub(super) fn plain(&self) -> &[u8] {
        self.plain.get(..self.characters).unwrap_or_default()
    }
}

// LIMIT: letters and digits of a shape; a longer one fits nothing.
const SHAPE_MAX: usize = 24;

/// Fits `shape`: `9` a digit, `A` a letter, `*` either, a space an optional separator, anything
/// else itself. Separators are all there and the same, or none is.
pub(super) fn fit(shape: &str, run: &[u8]) -> Option<Fit> {
    let mut fit = Fit {
        length: 0,
        plain: [0; SHAPE_MAX],
        characters: 0,
        separators: 0,
    };
    let mut skipped = 0;
    for wanted in shape.bytes() {
        let here = run.get(fit.length).copied();
        if wanted == b' ' {
            if here.is_some_and(separator) {
                fit.separators += 1;
                fit.length += 1;
            } else {
                skipped += 1;
            }
            if fit.separators > 0 && skipped > 0 {
                return None;
            }
            continue;
        }
        let b = here?.to_ascii_uppercase();
        let fits = match wanted {
            b'9' => b.is_ascii_digit(),
            b'A' => b.is_ascii_uppercase(),
            b'*' => b.is_ascii_alphanumeric(),
            other => b == other,
        };
        if !fits {
            return None;
        }
        if b.is_ascii_alphanumeric() {
            *fit.plain.get_mut(fit.characters)? = b;
            fit.characters += 1;
        }
        fit.length += 1;
    }
    Some(fit)
}

/// Whether what follows `length` bytes of the run goes on with it: a letter, a digit, one after
/// something tighter than a space, or a bracket, which may be a marker in the place of a value.
pub(super) fn goes_on(rest: &[u8], length: usize) -> bool {
    let at = |i: usize| rest.get(length + i).copied();
    match at(0) {
        Some(b) if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'@' | b'[') => true,
        Some(b'-' | b'/' | b'.') => at(1).is_some_and(|b| b.is_ascii_alphanumeric()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_fits_with_all_separators_or_none() {
        let fitted = |text: &str| fit("999 99 9999", text.as_bytes()).map(|f| f.separators);
        assert_eq!(fitted("123-45-6789"), Some(2));
        assert_eq!(fitted("123456789"), Some(0));
        assert_eq!(fitted("123-456789"), None);
        assert_eq!(fitted("12345678"), None);
    }

    #[test]
    fn a_run_is_cut_at_its_limit() {
        let text = "1".repeat(RUN_BYTES_MAX + 1);
        assert_eq!(read(text.as_bytes()).bytes.len(), RUN_BYTES_MAX);
        assert!(read(text.as_bytes()).ended);
        assert!(!read(&text.as_bytes()[..RUN_BYTES_MAX]).ended);
        let run = read(b"12 34  5");
        assert_eq!((run.bytes, run.first, run.ended), (&b"12 34"[..], 2, true));
    }
}
