//! Writes sentences with names, and says where the names are.
//!
//! Templates and lists are ours. Half of the names are made from pieces of two names of the same list, so
//! that the tagger learns the form of names and not the lists by heart.

use ringfence_detect::names::lists::{
    COUNTRIES, FAMILY_NAMES, GIVEN_NAMES, ORGANISATION_WORDS, ORGANISATIONS, PLACES, TITLES,
};
use ringfence_detect::names::model::Tag;
use std::ops::Range;

const TEMPLATES: &str = include_str!("../templates.txt");
const JOBS: &str = "engineer nurse teacher accountant electrician plumber lawyer designer driver cook manager \
    analyst scientist technician surgeon librarian translator architect carpenter journalist";
const PLAIN: &str = include_str!("../plain.txt");
const GREETINGS: &str = "hello hi ok sure thanks later no yes maybe";

/// A generator of equal numbers for equal seeds (xorshift64*, Vigna 2016).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Any seed but 0, which becomes 1.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit.max(1)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'l>(&mut self, list: &[&'l str]) -> &'l str {
        let at = self.below(list.len());
        list.get(at).copied().unwrap_or_default()
    }

    /// Puts a list into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }
}

/// A sentence and its spans in octets, in order.
#[derive(Clone, Debug, Default)]
pub struct Example {
    /// The sentence.
    pub text: String,
    /// What stands where.
    pub spans: Vec<(Range<usize>, Tag)>,
}

/// Templates and lists, ready for use.
#[derive(Debug)]
pub struct Grammar {
    templates: Vec<String>,
    given: Vec<&'static str>,
    family: Vec<&'static str>,
    places: Vec<&'static str>,
    countries: Vec<&'static str>,
    organisations: Vec<&'static str>,
    organisation_words: Vec<&'static str>,
    titles: Vec<&'static str>,
    plain: Vec<&'static str>,
}

impl Default for Grammar {
    fn default() -> Self {
        let list = |text: &'static str| text.split_whitespace().collect::<Vec<_>>();
        Self {
            templates: TEMPLATES
                .lines()
                .filter(|line| !line.is_empty())
                .map(|line| line.replace("\\n", "\n"))
                .collect(),
            given: list(GIVEN_NAMES),
            family: list(FAMILY_NAMES),
            places: list(PLACES),
            countries: list(COUNTRIES),
            organisations: list(ORGANISATIONS),
            organisation_words: list(ORGANISATION_WORDS),
            titles: list(TITLES),
            plain: list(PLAIN),
        }
    }
}

impl Grammar {
    /// The next sentence. Some are without capitals, a few all in them.
    pub fn example(&self, dice: &mut Dice) -> Example {
        let at = dice.below(self.templates.len());
        let template = self.templates.get(at).cloned().unwrap_or_default();
        let mut example = Example::default();
        let mut rest = template.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            example.text.push_str(before);
            match after.split_once('}') {
                Some((slot, after)) if self.fill(slot, dice, &mut example) => rest = after,
                _ => {
                    example.text.push('{');
                    rest = after;
                }
            }
        }
        example.text.push_str(rest);
        match dice.below(100) {
            0..=13 => recase(&example, |c| c.to_lowercase().collect()),
            14..=15 => recase(&example, |c| c.to_uppercase().collect()),
            _ => example,
        }
    }

    /// Writes one slot; false when it is no slot but code.
    fn fill(&self, slot: &str, dice: &mut Dice, example: &mut Example) -> bool {
        let (value, tag) = match slot {
            "person" => (self.person(dice), Tag::Person),
            "given" => (Self::name(&self.given, dice), Tag::Person),
            "family" => (Self::name(&self.family, dice), Tag::Person),
            "place" => (self.place(dice), Tag::Place),
            "country" => (dice.pick(&self.countries).replace('_', " "), Tag::Place),
            "org" => (self.organisation(dice), Tag::Organisation),
            "address" => (self.address(dice), Tag::Address),
            "street" => (self.street(dice), Tag::Address),
            "numbered" => (self.numbered(dice), Tag::Address),
            "zip" => (zip(dice), Tag::Address),
            other => match self.plain(other, dice) {
                Some(value) => (value, Tag::Other),
                None => return false,
            },
        };
        let start = example.text.len();
        example.text.push_str(&value);
        if tag != Tag::Other {
            example.spans.push((start..example.text.len(), tag));
        }
        true
    }

    fn plain(&self, slot: &str, dice: &mut Dice) -> Option<String> {
        let words = |dice: &mut Dice, change: fn(&str) -> String| {
            let count = 2 + dice.below(6);
            let words: Vec<String> = (0..count).map(|_| change(dice.pick(&self.plain))).collect();
            words.join(" ")
        };
        Some(match slot {
            "title" => {
                let dot = if dice.chance(50) { "." } else { "" };
                format!("{}{dot}", dice.pick(&self.titles))
            }
            "job" => dice
                .pick(&JOBS.split_whitespace().collect::<Vec<_>>())
                .to_owned(),
            "greeting" => dice
                .pick(&GREETINGS.split_whitespace().collect::<Vec<_>>())
                .to_owned(),
            "year" => format!("{}", 1900 + dice.below(130)),
            "age" => format!("{}", 1 + dice.below(99)),
            "number" => format!("{}", dice.below(100_000)),
            "phone" => format!(
                "{:03}-{:03}-{:04}",
                200 + dice.below(700),
                dice.below(1000),
                dice.below(10_000)
            ),
            "email" => format!("{}@mail.example", dice.pick(&self.plain)),
            "date" => format!(
                "{}/{}/{}",
                1 + dice.below(12),
                1 + dice.below(28),
                1950 + dice.below(80)
            ),
            "title case" => words(dice, capital),
            "lower case" => words(dice, str::to_owned),
            "upper case" => words(dice, str::to_uppercase),
            "Lower case" => capital(&words(dice, str::to_owned)),
            _ => return None,
        })
    }

    /// A name of the list, or one made from the beginning of one and the end of another.
    fn name(list: &[&str], dice: &mut Dice) -> String {
        let one = dice.pick(list).replace('_', " ");
        if dice.chance(55) {
            return one;
        }
        let other = dice.pick(list);
        let head: String = one.chars().take(2 + dice.below(3)).collect();
        let letters = other.chars().count();
        let tail: String = other
            .chars()
            .skip(letters.saturating_sub(2 + dice.below(4)))
            .collect();
        format!("{}{}", head.trim(), tail.replace('_', "").to_lowercase())
    }

    fn person(&self, dice: &mut Dice) -> String {
        let given = Self::name(&self.given, dice);
        let family = Self::name(&self.family, dice);
        let initial = char::from(b'A' + u8::try_from(dice.below(26)).unwrap_or(0));
        match dice.below(14) {
            0 => format!("{given} {initial}. {family}"),
            1 => format!("{given} {initial} {family}"),
            2 => format!("{initial}. {family}"),
            3 => format!("{family}, {given}"),
            4 => format!("{given} {}", family.to_uppercase()),
            5 => format!("{given} {family}-{}", Self::name(&self.family, dice)),
            6 => format!("{given} {} {family}", Self::name(&self.given, dice)),
            7 => format!("{given} {family} {}", Self::name(&self.family, dice)),
            8 => given,
            _ => format!("{given} {family}"),
        }
    }

    fn place(&self, dice: &mut Dice) -> String {
        let place = Self::name(&self.places, dice);
        match dice.below(20) {
            0 => place.to_uppercase(),
            1 => format!(
                "{} {place}",
                dice.pick(&[
                    "San", "Santa", "St.", "Saint", "New", "North", "Port", "Bad", "El", "La",
                    "Le", "Upper", "West"
                ])
            ),
            2 => format!(
                "{place} {}",
                dice.pick(&[
                    "Beach", "Falls", "Springs", "Hills", "Park", "Valley", "City", "Heights",
                    "Creek", "Bay"
                ])
            ),
            3 => format!(
                "{place}{}",
                dice.pick(&[
                    "ville", "ton", "burg", "berg", "stad", "by", "heim", "dorf", "holm", "vik",
                    "ov", "ice", "ham"
                ])
            ),
            _ => place,
        }
    }

    fn organisation(&self, dice: &mut Dice) -> String {
        let known = dice.pick(&self.organisations).to_owned();
        let word = dice.pick(&self.organisation_words).to_owned();
        let plain = capital(dice.pick(&self.plain));
        let family = Self::name(&self.family, dice);
        match dice.below(16) {
            0..=2 => known,
            3 => format!("{known} {word}"),
            4 => format!("{plain} {word}"),
            5 => format!("{family} {word}"),
            6 => format!("{family} & {} {word}", Self::name(&self.family, dice)),
            7 => format!("{family} and Sons"),
            8 => format!("{} {plain} {word}", capital(dice.pick(&self.plain))),
            9 => format!("{word} of {plain}"),
            10 => format!("The {plain} {word}"),
            11 => format!(
                "{plain}{}",
                dice.pick(&[
                    "ify", "ly", "tech", "soft", "lytics", "hub", "labs", "works", "base", "cloud",
                    ".com", ".io", "zen", "metrics"
                ])
            ),
            12 => format!(
                "{}{known}",
                capital(dice.pick(&[
                    "Nova", "Omni", "Trans", "Inter", "Cyber", "Bio", "Geo", "Eco", "Data", "Info"
                ]))
            ),
            13 => {
                let count = 3 + dice.below(2);
                (0..count)
                    .map(|_| char::from(b'A' + u8::try_from(dice.below(26)).unwrap_or(0)))
                    .collect()
            }
            14 => format!("{} {word}", self.place(dice)),
            _ => format!("{known} {plain}"),
        }
    }

    fn street(&self, dice: &mut Dice) -> String {
        let name = match dice.below(3) {
            0 => Self::name(&self.given, dice),
            1 => Self::name(&self.places, dice),
            _ => Self::name(&self.family, dice),
        };
        let english = [
            "Street", "Road", "Avenue", "Lane", "Drive", "Court", "St", "St.", "Rd", "Ave", "Blvd",
            "Place", "Way", "Close", "Terrace", "Square", "Hill", "Crescent", "Gardens", "Row",
            "Highway", "Parkway",
        ];
        let first = [
            "Rue",
            "rue de",
            "Calle",
            "Via",
            "Viale",
            "Rua",
            "Avenida",
            "Plaza",
            "ul.",
            "Ulica",
            "Piazza",
            "Avenue",
            "Boulevard",
            "Carrera",
            "Chemin",
            "R.",
            "Travessa",
            "Largo",
        ];
        let glued = [
            "straße", "strasse", "weg", "gasse", "platz", "straat", "laan", "gatan", "vägen",
            "vej", "veien", "gata", "katu", "tie", "dreef", "plein", "allee", "gade", "út",
        ];
        match dice.below(6) {
            0..=2 => format!("{name} {}", dice.pick(&english)),
            3 => format!("{} {name}", dice.pick(&first)),
            4 => format!("{}{}", name.replace(' ', ""), dice.pick(&glued)),
            _ => format!(
                "{name} {}",
                dice.pick(&[
                    "u.",
                    "út",
                    "tér",
                    "utca",
                    "náměstí",
                    "gade",
                    "kalea",
                    "Str."
                ])
            ),
        }
    }

    fn numbered(&self, dice: &mut Dice) -> String {
        let street = self.street(dice);
        let number = 1 + dice.below(999);
        match dice.below(5) {
            0 | 1 => format!("{number} {street}"),
            2 => format!("{street} {number}"),
            3 => format!("{} {street} {number}", 1 + dice.below(99)),
            _ => format!("{number} {} {street}", 1 + dice.below(99)),
        }
    }

    fn address(&self, dice: &mut Dice) -> String {
        let mut parts = vec![self.numbered(dice)];
        if dice.chance(45) {
            let unit = dice.pick(&["Apt.", "Suite", "Unit", "Flat", "Apartment", "Floor"]);
            parts.push(format!("{unit} {}", 1 + dice.below(999)));
        }
        match dice.below(5) {
            0 => parts.push(self.place(dice)),
            1 => parts.push(format!("{}, {}", self.place(dice), zip(dice))),
            2 => parts.push(format!("{} {}", zip(dice), self.place(dice))),
            3 => {
                let state: String = (0..2)
                    .map(|_| char::from(b'A' + u8::try_from(dice.below(26)).unwrap_or(0)))
                    .collect();
                parts.push(format!("{}, {state} {}", self.place(dice), zip(dice)));
            }
            _ => {
                parts.push(self.place(dice));
                parts.push(format!(
                    "{} {}",
                    dice.pick(&self.countries).replace('_', " "),
                    zip(dice)
                ));
            }
        }
        if dice.chance(4) {
            return format!(
                "P.O. Box {}, {} {}",
                dice.below(9999),
                self.place(dice),
                zip(dice)
            );
        }
        parts.join(dice.pick(&[", ", "\n", "\n ", " ", ",\n", "\n    "]))
    }
}

fn zip(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => format!("{:04}", dice.below(10_000)),
        1 => format!("{:05}-{:04}", dice.below(100_000), dice.below(10_000)),
        2 => format!(
            "{}{} {}{}{}",
            dice.pick(&["SW", "NE", "M", "LS", "EC", "G"]),
            1 + dice.below(20),
            dice.below(10),
            dice.pick(&["A", "B", "X"]),
            dice.pick(&["D", "G", "Y"])
        ),
        3 => format!("{:06}", dice.below(1_000_000)),
        _ => format!("{:05}", dice.below(100_000)),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The same sentence with every character changed, and the spans moved to where they then are.
fn recase(example: &Example, change: impl Fn(char) -> String) -> Example {
    let mut text = String::new();
    let mut places = vec![0; example.text.len() + 1];
    for (at, c) in example.text.char_indices() {
        if let Some(place) = places.get_mut(at) {
            *place = text.len();
        }
        text.push_str(&change(c));
    }
    if let Some(last) = places.last_mut() {
        *last = text.len();
    }
    let moved = |at: usize| places.get(at).copied().unwrap_or(text.len());
    let spans = example
        .spans
        .iter()
        .map(|(span, tag)| (moved(span.start)..moved(span.end), *tag))
        .collect();
    Example { text, spans }
}
