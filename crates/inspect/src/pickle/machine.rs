//! An abstract machine for pickle protocols 0 to 5 that runs nothing.
//!
//! It keeps the stack and the memo of the real machine, but every value is only what is needed to
//! resolve a global: literal text stays text, an imported global stays itself, everything else is
//! opaque. It is laxer than the real one on purpose: where the real machine would raise an error
//! the walk goes on, because the octets before the error have already run.
//!
//! INVARIANT: it never imports, calls or builds anything; its memory is bounded by the limits
//! below, whatever the octets say.

use super::allow::{Standing, standing};
use super::reader::{Cursor, Reading, Span};
use std::collections::BTreeMap;

/// LIMIT: opcodes walked for one file, nested pickles included.
pub const OPCODES_MAX: u64 = 16_000_000;
/// LIMIT: values on the stack at once.
pub const STACK_VALUES_MAX: usize = 2_000_000;
/// LIMIT: entries of the memo.
pub const MEMO_ENTRIES_MAX: usize = 4_000_000;
/// LIMIT: distinct globals of one pickle.
pub const GLOBALS_MAX: usize = 4_096;
/// LIMIT: string literals of one pickle kept for the search for nested pickles.
pub const LITERALS_MAX: usize = 65_536;
/// LIMIT: open marks.
pub const MARKS_MAX: usize = 100_000;

/// Octets searched that count as one opcode.
pub(super) const OCTETS_PER_OPCODE: u64 = 64;

/// How a literal text is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Utf8,
    RawUnicodeEscape,
    Quoted,
    Latin1,
}

/// Literal text, by where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) span: Span,
    spelling: Spelling,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Text(Text),
    Global(usize),
    Tuple(Option<Text>),
    Plain,
    /// What a call returned: must not be called or used as a name.
    Made,
    /// Nothing is known about it.
    Unknown,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At `STOP`.
    Stop,
    /// The octets ended first.
    Truncated,
    /// An octet that is no opcode.
    NotAnOpcode,
    /// A limit.
    Budget,
}

/// A global that the pickle names.
#[derive(Clone, Debug)]
pub(super) struct GlobalUse {
    pub(super) module: String,
    pub(super) name: String,
    pub(super) opcode: &'static str,
    pub(super) offset: usize,
    pub(super) called: bool,
    pub(super) standing: Standing,
}

/// Something that cannot be resolved or makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    /// `STACK_GLOBAL` whose operands are not literal text.
    ComputedGlobal,
    /// A call of something that is not a global.
    ComputedCall,
    /// `BUILD` writes attributes of an imported object.
    BuildOnGlobal,
    /// `EXT1`, `EXT2`, `EXT4`: a number of a registry that only the loading program has.
    Extension,
    /// A persistent id that is not torch's storage.
    PersistentId,
}

/// What a walk saw.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, none excludes another"
)]
pub(super) struct Walk {
    pub(super) end: End,
    pub(super) consumed: usize,
    pub(super) globals: Vec<GlobalUse>,
    pub(super) oddities: BTreeMap<Oddity, usize>,
    /// The real machine would have raised an error here.
    pub(super) faulty: bool,
    /// At the first line that every reader refuses: whether nothing dangerous was called before.
    pub(super) garbled: Option<bool>,
    pub(super) frame_lie: bool,
    pub(super) straddled: bool,
    pub(super) literals: Vec<Span>,
    pub(super) literals_dropped: bool,
    /// The value left by `LONG1` opcodes: torch's legacy magic number is found by it.
    pub(super) longs: Vec<Span>,
    pub(super) opcodes: u64,
}

impl Walk {
    /// Any global that the allow-list does not hold, or anything that cannot be resolved.
    pub(super) fn suspicious(&self) -> bool {
        !self.oddities.is_empty() || self.globals.iter().any(|g| g.standing != Standing::Allowed)
    }

    /// A global of a dangerous module that is also called.
    pub(super) fn calls_danger(&self) -> bool {
        self.globals
            .iter()
            .any(|g| g.called && g.standing == Standing::Dangerous)
    }

    /// A clean end without anything the real machine would refuse.
    pub(super) fn whole(&self) -> bool {
        self.end == End::Stop && !self.faulty && !self.frame_lie
    }
}

struct Machine<'a> {
    cursor: Cursor<'a>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Value>,
    memo_tainted: bool,
    index: BTreeMap<(String, String), usize>,
    walk: Walk,
}

/// Walks one pickle that begins at `start`, spending at most `budget` opcodes.
pub(super) fn walk(bytes: &[u8], start: usize, reading: Reading, budget: u64) -> Walk {
    let mut machine = Machine {
        cursor: Cursor::new(bytes, start, reading),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        memo_tainted: false,
        index: BTreeMap::new(),
        walk: Walk {
            end: End::Truncated,
            consumed: 0,
            globals: Vec::new(),
            oddities: BTreeMap::new(),
            faulty: false,
            garbled: None,
            frame_lie: false,
            straddled: false,
            literals: Vec::new(),
            literals_dropped: false,
            longs: Vec::new(),
            opcodes: 0,
        },
    };
    machine.walk.end = machine.run(budget);
    machine.walk.consumed = machine.cursor.at().saturating_sub(start);
    machine.walk.straddled = machine.cursor.straddled;
    machine.walk.faulty |= machine.cursor.unterminated;
    machine.walk
}

impl Machine<'_> {
    fn run(&mut self, budget: u64) -> End {
        loop {
            if self.walk.opcodes >= budget || self.over_limit() {
                return End::Budget;
            }
            self.walk.opcodes += 1;
            let offset = self.cursor.at();
            let Some(opcode) = self.cursor.byte() else {
                return End::Truncated;
            };
            if opcode == b'.' {
                self.walk.faulty |= self.stack.is_empty();
                return End::Stop;
            }
            match self.step(opcode, offset) {
                Some(true) => {}
                Some(false) => return End::NotAnOpcode,
                None => return End::Truncated,
            }
        }
    }

    /// A line. Searching for its end is work: it is charged, or octets without line feeds could
    /// be searched again and again for free.
    fn line(&mut self) -> Option<Span> {
        let before = self.cursor.at();
        let span = self.cursor.line();
        let searched = self.cursor.at().saturating_sub(before) as u64;
        self.walk.opcodes = self
            .walk
            .opcodes
            .saturating_add(searched / OCTETS_PER_OPCODE);
        span
    }

    /// Notes a line that ends every real reader. The walk goes on, but what follows cannot run:
    /// prose is full of such lines.
    fn expect(&mut self, readable: bool) {
        if !readable && self.walk.garbled.is_none() {
            self.walk.garbled = Some(!self.walk.calls_danger());
        }
    }

    fn over_limit(&self) -> bool {
        self.stack.len() > STACK_VALUES_MAX
            || self.memo.len() > MEMO_ENTRIES_MAX
            || self.walk.globals.len() > GLOBALS_MAX
            || self.marks.len() > MARKS_MAX
    }

    /// One opcode. `None`: its argument is cut off; `Some(false)`: it is no opcode.
    fn step(&mut self, opcode: u8, offset: usize) -> Option<bool> {
        match opcode {
            b'c' | b'i' | 0x93 | b'o' | b'R' | 0x81 | 0x92 | b'b' | 0x82..=0x84 | b'P' | b'Q' => {
                self.act(opcode, offset)?;
            }
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 => {
                self.literal(opcode)?;
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.remember(opcode)?,
            b'0' => {
                if self.floor() == self.stack.len() && !self.marks.is_empty() {
                    self.marks.pop();
                } else {
                    self.pop();
                }
            }
            b'1' => {
                self.cut();
            }
            b'(' => self.marks.push(self.stack.len()),
            b'2' => {
                let top = self.top();
                self.stack.push(top);
            }
            _ => return self.plain(opcode),
        }
        Some(true)
    }

    /// Opcodes that only make or fill plain values.
    fn plain(&mut self, opcode: u8) -> Option<bool> {
        match opcode {
            b'F' | b'I' | b'L' => {
                let span = self.line()?;
                self.expect(number(self.cursor.slice(span)));
                self.stack.push(Value::Plain);
            }
            b'J' | b'K' | b'M' | b'G' => {
                let width = match opcode {
                    b'K' => 1,
                    b'M' => 2,
                    b'J' => 4,
                    _ => 8,
                };
                self.cursor.take(width)?;
                self.stack.push(Value::Plain);
            }
            0x8a | 0x8b => {
                let span = self.cursor.counted(if opcode == 0x8a { 1 } else { 4 })?;
                if self.walk.longs.len() < 8 {
                    self.walk.longs.push(span);
                }
                self.stack.push(Value::Plain);
            }
            b'N' | 0x88 | 0x89 | b'}' | b']' | 0x8f => self.stack.push(Value::Plain),
            0x97 => self.stack.push(Value::Unknown),
            0x98 => {}
            b')' => self.stack.push(Value::Tuple(None)),
            b't' => {
                let items = self.cut();
                self.stack.push(Value::Tuple(first_text(&items)));
            }
            0x85..=0x87 => self.small_tuple(usize::from(opcode - 0x84)),
            b'd' | b'l' | 0x91 => {
                self.cut();
                self.stack.push(Value::Plain);
            }
            b'a' => self.pop_many(1),
            b's' => self.pop_many(2),
            b'e' | b'u' | 0x90 => {
                self.cut();
            }
            0x80 => {
                let version = self.cursor.byte()?;
                self.walk.faulty |= version > 5;
            }
            0x95 => {
                let length = self.cursor.number(8)?;
                self.walk.frame_lie |= !self.cursor.frame(length);
            }
            _ => return Some(false),
        }
        Some(true)
    }

    /// Opcodes that import, call, or ask the loading program.
    fn act(&mut self, opcode: u8, offset: usize) -> Option<()> {
        match opcode {
            b'c' => {
                let value = self.named_by_lines("GLOBAL", offset)?;
                self.stack.push(value);
            }
            b'i' => {
                let callee = self.named_by_lines("INST", offset)?;
                self.cut();
                self.call(callee, offset);
            }
            0x93 => self.stack_global(offset),
            b'o' => {
                let items = self.cut();
                let callee = items.first().copied().unwrap_or(Value::Unknown);
                self.call(callee, offset);
            }
            b'R' | 0x81 => {
                self.pop();
                let callee = self.pop();
                self.call(callee, offset);
            }
            0x92 => {
                self.pop_many(2);
                let callee = self.pop();
                self.call(callee, offset);
            }
            b'b' => {
                self.pop();
                match self.top() {
                    Value::Global(_) => self.odd(Oddity::BuildOnGlobal, offset),
                    Value::Text(_) | Value::Tuple(_) | Value::Plain => self.walk.faulty = true,
                    Value::Made | Value::Unknown => {}
                }
            }
            b'P' => {
                let span = self.line()?;
                self.expect(!spaced(self.cursor.slice(span)));
                self.odd(Oddity::PersistentId, offset);
                self.stack.push(Value::Made);
            }
            b'Q' => {
                let id = self.pop();
                if !self.is_storage(id) {
                    self.odd(Oddity::PersistentId, offset);
                }
                self.stack.push(Value::Made);
            }
            _ => {
                let width = match opcode {
                    0x82 => 1,
                    0x83 => 2,
                    _ => 4,
                };
                self.cursor.take(width)?;
                self.odd(Oddity::Extension, offset);
                self.stack.push(Value::Unknown);
            }
        }
        Some(())
    }

    /// Torch names tensors by the tuple ("storage", type, key, place, count).
    fn is_storage(&self, id: Value) -> bool {
        match id {
            Value::Tuple(Some(text)) => self.spell(text).as_deref() == Some("storage"),
            _ => false,
        }
    }

    fn named_by_lines(&mut self, opcode: &'static str, offset: usize) -> Option<Value> {
        let module = self.line()?;
        // A missing second line still names the module: the import happens.
        let name = self.line();
        let text = |span: Span| String::from_utf8_lossy(self.cursor.slice(span)).into_owned();
        let pair = (text(module), name.map(text).unwrap_or_default());
        self.expect(![&pair.0, &pair.1].iter().any(|t| spaced(t.as_bytes())));
        let value = self.global(pair, opcode, offset);
        name.map(|_| value)
    }

    fn stack_global(&mut self, offset: usize) {
        let name = self.pop();
        let module = self.pop();
        let pair = match (module, name) {
            (Value::Text(module), Value::Text(name)) => self.spell(module).zip(self.spell(name)),
            _ => None,
        };
        let value = match pair {
            Some(pair) => self.global(pair, "STACK_GLOBAL", offset),
            None => {
                self.odd(Oddity::ComputedGlobal, offset);
                Value::Unknown
            }
        };
        self.stack.push(value);
    }

    fn global(&mut self, pair: (String, String), opcode: &'static str, offset: usize) -> Value {
        if let Some(index) = self.index.get(&pair) {
            return Value::Global(*index);
        }
        let index = self.walk.globals.len();
        let (module, name) = pair.clone();
        let standing = standing(&module, &name);
        self.walk.globals.push(GlobalUse {
            module,
            name,
            opcode,
            offset,
            called: false,
            standing,
        });
        self.index.insert(pair, index);
        Value::Global(index)
    }

    fn call(&mut self, callee: Value, offset: usize) {
        match callee {
            Value::Global(index) => {
                if let Some(global) = self.walk.globals.get_mut(index) {
                    global.called = true;
                }
            }
            Value::Made | Value::Unknown => self.odd(Oddity::ComputedCall, offset),
            // The real machine refuses to call a string or a number.
            Value::Text(_) | Value::Tuple(_) | Value::Plain => self.walk.faulty = true,
        }
        self.stack.push(Value::Made);
    }

    fn odd(&mut self, oddity: Oddity, offset: usize) {
        self.walk.oddities.entry(oddity).or_insert(offset);
    }

    fn literal(&mut self, opcode: u8) -> Option<()> {
        let (span, spelling) = match opcode {
            b'S' => (self.line()?, Some(Spelling::Quoted)),
            b'V' => (self.line()?, Some(Spelling::RawUnicodeEscape)),
            b'T' => (self.cursor.counted(4)?, Some(Spelling::Latin1)),
            b'U' => (self.cursor.counted(1)?, Some(Spelling::Latin1)),
            b'X' => (self.cursor.counted(4)?, Some(Spelling::Utf8)),
            0x8c => (self.cursor.counted(1)?, Some(Spelling::Utf8)),
            0x8d => (self.cursor.counted(8)?, Some(Spelling::Utf8)),
            b'B' => (self.cursor.counted(4)?, None),
            b'C' => (self.cursor.counted(1)?, None),
            _ => (self.cursor.counted(8)?, None),
        };
        if spelling == Some(Spelling::Quoted) {
            self.expect(unquote(self.cursor.slice(span)).is_some());
        }
        if super::nested::promising(self.cursor.slice(span)) {
            if self.walk.literals.len() < LITERALS_MAX {
                self.walk.literals.push(span);
            } else {
                self.walk.literals_dropped = true;
            }
        }
        self.stack.push(match spelling {
            Some(spelling) => Value::Text(Text { span, spelling }),
            None => Value::Plain,
        });
        Some(())
    }

    fn remember(&mut self, opcode: u8) -> Option<()> {
        let key = match opcode {
            b'p' | b'g' => {
                let span = self.line()?;
                memo_key(self.cursor.slice(span))
            }
            b'q' | b'h' => Some(self.cursor.number(1)?),
            b'r' | b'j' => Some(self.cursor.number(4)?),
            _ => Some(self.memo.len() as u64),
        };
        let putting = matches!(opcode, b'p' | b'q' | b'r' | 0x94);
        let top = if putting { self.top() } else { Value::Unknown };
        match (key, putting) {
            (Some(key), true) => {
                self.memo.insert(key, top);
            }
            (Some(key), false) => {
                let known = self.memo.get(&key).copied();
                self.walk.faulty |= known.is_none();
                let value = known
                    .filter(|_| !self.memo_tainted)
                    .unwrap_or(Value::Unknown);
                self.stack.push(value);
            }
            // A key that is no number: nothing in the memo can be trusted any more.
            (None, putting) => {
                self.memo_tainted = true;
                self.walk.faulty = true;
                self.expect(false);
                if !putting {
                    self.stack.push(Value::Unknown);
                }
            }
        }
        Some(())
    }

    fn spell(&self, text: Text) -> Option<String> {
        let bytes = self.cursor.slice(text.span);
        match text.spelling {
            Spelling::Utf8 => std::str::from_utf8(bytes).ok().map(str::to_owned),
            // Python 3 reads these as ASCII; anything else cannot name a module.
            Spelling::Latin1 => bytes
                .is_ascii()
                .then(|| String::from_utf8_lossy(bytes).into()),
            Spelling::RawUnicodeEscape | Spelling::Quoted => {
                let inner = if text.spelling == Spelling::Quoted {
                    unquote(bytes)?
                } else {
                    bytes
                };
                // An escape could spell any name: not resolved, so it becomes a finding.
                (inner.is_ascii() && !inner.contains(&b'\\'))
                    .then(|| String::from_utf8_lossy(inner).into())
            }
        }
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&mut self) -> Value {
        if self.stack.len() <= self.floor() {
            self.walk.faulty = true;
            return Value::Unknown;
        }
        self.stack.last().copied().unwrap_or(Value::Unknown)
    }

    fn pop(&mut self) -> Value {
        let value = self.top();
        if self.stack.len() > self.floor() {
            self.stack.pop();
        }
        value
    }

    fn pop_many(&mut self, count: usize) {
        for _ in 0..count {
            self.pop();
        }
    }

    /// Takes everything above the last mark, and the mark.
    fn cut(&mut self) -> Vec<Value> {
        let Some(mark) = self.marks.pop() else {
            self.walk.faulty = true;
            return Vec::new();
        };
        self.stack.split_off(mark.min(self.stack.len()))
    }

    fn small_tuple(&mut self, count: usize) {
        let mut first = Value::Unknown;
        for _ in 0..count {
            first = self.pop();
        }
        self.stack.push(Value::Tuple(first_text(&[first])));
    }
}

fn first_text(items: &[Value]) -> Option<Text> {
    match items.first() {
        Some(Value::Text(text)) => Some(*text),
        _ => None,
    }
}

/// Blanks inside: no module, no number, no persistent id that anyone writes.
fn spaced(line: &[u8]) -> bool {
    line.trim_ascii().iter().any(u8::is_ascii_whitespace)
}

/// Whether a reader could take a line for a number: laxer than `int()` and `float()`, which differ
/// between readers, but no prose.
fn number(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    let unsigned = match text {
        [b'+' | b'-', rest @ ..] => rest,
        all => all,
    };
    let named = [&b"inf"[..], b"nan"].iter().any(|name| {
        unsigned
            .get(..name.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(name))
    });
    let digit = |b: &u8| b.is_ascii_digit() || *b == b'.' || !b.is_ascii();
    !spaced(text) && (named || unsigned.first().is_some_and(digit))
}

fn unquote(bytes: &[u8]) -> Option<&[u8]> {
    let trimmed = bytes.trim_ascii();
    let quote = *trimmed.first()?;
    let inner = trimmed.get(1..trimmed.len().checked_sub(1)?)?;
    (matches!(quote, b'"' | b'\'') && trimmed.last() == Some(&quote) && trimmed.len() >= 2)
        .then_some(inner)
}

/// A memo key as `int()` reads it: blanks around and single underscores between digits allowed.
fn memo_key(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?.trim();
    let digits = text.strip_prefix('+').unwrap_or(text).replace('_', "");
    digits.parse().ok()
}
