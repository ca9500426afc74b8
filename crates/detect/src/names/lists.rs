//! The lists of words: given and family names, places, countries, organisations and the words
//! around them. Written for this house; a word may be in several.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Which lists a word is in, as bits.
pub type Flags = u8;
/// Given names.
pub const GIVEN: Flags = 1;
/// Family names.
pub const FAMILY: Flags = 2;
/// Cities and regions.
pub const PLACE: Flags = 4;
/// Countries.
pub const COUNTRY: Flags = 8;
/// Names of organisations.
pub const ORGANISATION: Flags = 16;
/// Words that end or begin the names of organisations.
pub const ORGANISATION_WORD: Flags = 32;
/// Words of streets and houses.
pub const STREET: Flags = 64;
/// Titles of persons.
pub const TITLE: Flags = 128;

/// Given names, separated by white space; `_` stands for a space inside a name.
pub const GIVEN_NAMES: &str = include_str!("../../lists/given.txt");
/// Family names.
pub const FAMILY_NAMES: &str = include_str!("../../lists/family.txt");
/// Cities and regions.
pub const PLACES: &str = include_str!("../../lists/places.txt");
/// Countries.
pub const COUNTRIES: &str = include_str!("../../lists/countries.txt");
/// Organisations.
pub const ORGANISATIONS: &str = include_str!("../../lists/organisations.txt");
/// Words of organisations.
pub const ORGANISATION_WORDS: &str = include_str!("../../lists/organisation_words.txt");
/// Words of streets.
pub const STREET_WORDS: &str = include_str!("../../lists/street_words.txt");
/// Titles of persons.
pub const TITLES: &str = "Mr Mrs Ms Miss Dr Prof Professor Sir Madam Lady Lord Herr Frau Monsieur Madame Mme Mlle Señor \
     Señora Sr Sra Don Doña Signor Signora Dott Mevrouw Meneer Pan Pani Captain Officer Judge \
     Senator President Minister Reverend Father Sister Brother Uncle Aunt";

/// Keys are hashes already; hashing them again would cost more than the look-up.
#[derive(Clone, Copy, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0 << 8 | u64::from(*b);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Words with their lists.
#[derive(Clone, Debug)]
pub struct Lists {
    words: HashMap<u64, Flags, BuildHasherDefault<AsItIs>>,
}

impl Default for Lists {
    fn default() -> Self {
        Self::new()
    }
}

impl Lists {
    /// Reads the lists out of the binary.
    pub fn new() -> Self {
        let mut words = HashMap::with_capacity_and_hasher(8192, BuildHasherDefault::default());
        let all = [
            (GIVEN_NAMES, GIVEN),
            (FAMILY_NAMES, FAMILY),
            (PLACES, PLACE),
            (COUNTRIES, COUNTRY),
            (ORGANISATIONS, ORGANISATION),
            (ORGANISATION_WORDS, ORGANISATION_WORD),
            (STREET_WORDS, STREET),
            (TITLES, TITLE),
        ];
        for (list, flag) in all {
            for entry in list.split_whitespace() {
                for part in entry.split('_') {
                    // "de", "of" and "the" say nothing by themselves.
                    let particle = entry.contains('_')
                        && (part.len() <= 3 || !part.starts_with(char::is_uppercase));
                    if !particle {
                        *words
                            .entry(word_hash(part.trim_end_matches('.')))
                            .or_insert(0) |= flag;
                    }
                }
            }
        }
        Self { words }
    }

    /// The lists of a word by its [`word_hash`].
    pub fn flags(&self, hash: u64) -> Flags {
        self.words.get(&hash).copied().unwrap_or(0)
    }
}

/// FNV-1a over the word in lower case.
pub fn word_hash(word: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |b: u8| hash = (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
    if word.is_ascii() {
        for b in word.bytes() {
            feed(b.to_ascii_lowercase());
        }
    } else {
        let mut buffer = [0; 4];
        for c in word.chars().flat_map(char::to_lowercase) {
            for b in c.encode_utf8(&mut buffer).bytes() {
                feed(b);
            }
        }
    }
    hash
}
