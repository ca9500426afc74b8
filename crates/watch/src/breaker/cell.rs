//! The breaker of one target as a pure function over one machine word.
//!
//! State, back-off level, start of the current phase and both counters fit into 64 bits, so that a
//! compare-and-swap changes them together: no lock, and no moment in which the counters belong to
//! one state and the state to another.
//!
//! ```text
//! closed ──over a limit──▶ throttled ──over it again──▶ frozen ──cool-down──▶ half-open
//!   ▲                          │ a quiet window            ▲                     │  │
//!   └──────────────────────────┴───────────────────────────┼──── one denial ─────┘  │
//!   └────────────────────────── a phase without denials ───┴────────────────────────┘
//! ```

use super::config::BreakerConfig;
use ringfence_core::ports::BreakerState;

/// Seconds wrap here; half of it is told apart from a clock that went back.
const SECOND_BITS: u32 = 27;
const SECOND_MASK: u32 = (1 << SECOND_BITS) - 1;
/// LIMIT: how often the cool-down doubles.
pub(crate) const LEVEL_MAX: u8 = 7;

/// One target's breaker, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) state: BreakerState,
    /// Freezes lately; each doubles the next cool-down, each quiet window takes one off.
    pub(crate) level: u8,
    /// Second in which the current window or phase began.
    pub(crate) start: u32,
    /// Requests asked for in it, let through or not.
    pub(crate) attempts: u16,
    /// Denials in it.
    pub(crate) denials: u16,
}

/// What happens to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// One more request wants to pass.
    Attempt,
    /// A control denied something to the target.
    Denial,
    /// An operator or a detector freezes it.
    Freeze,
    /// An operator or a detector slows it down.
    Throttle,
    /// An operator lets it go.
    Thaw,
}

impl Cell {
    /// A closed breaker in its first window.
    pub(crate) fn new(now: u32) -> Self {
        Self {
            state: BreakerState::Closed,
            level: 0,
            start: now & SECOND_MASK,
            attempts: 0,
            denials: 0,
        }
    }

    pub(crate) fn pack(self) -> u64 {
        let state: u64 = match self.state {
            BreakerState::Closed => 0,
            BreakerState::Throttled => 1,
            BreakerState::Frozen => 2,
            BreakerState::HalfOpen => 3,
        };
        state << 62
            | u64::from(self.level & LEVEL_MAX) << 59
            | u64::from(self.start & SECOND_MASK) << 32
            | u64::from(self.attempts) << 16
            | u64::from(self.denials)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "each field is masked to its width"
    )]
    pub(crate) fn unpack(word: u64) -> Self {
        Self {
            state: match word >> 62 {
                0 => BreakerState::Closed,
                1 => BreakerState::Throttled,
                2 => BreakerState::Frozen,
                _ => BreakerState::HalfOpen,
            },
            level: (word >> 59) as u8 & LEVEL_MAX,
            start: (word >> 32) as u32 & SECOND_MASK,
            attempts: (word >> 16) as u16,
            denials: word as u16,
        }
    }

    /// Seconds in the current phase. A clock that went back counts as no time passed: a target
    /// is never let go early by a jump, and never punished for one.
    fn elapsed(self, now: u32) -> u32 {
        let passed = now.wrapping_sub(self.start) & SECOND_MASK;
        if passed > SECOND_MASK / 2 { 0 } else { passed }
    }

    fn enter(self, state: BreakerState, now: u32) -> Self {
        Self {
            state,
            start: now & SECOND_MASK,
            attempts: 0,
            denials: 0,
            ..self
        }
    }

    fn freeze(self, now: u32) -> Self {
        let level = (self.level + 1).min(LEVEL_MAX);
        Self {
            level,
            ..self.enter(BreakerState::Frozen, now)
        }
    }

    /// What time alone has done by now.
    pub(crate) fn settled(self, config: &BreakerConfig, now: u32) -> Self {
        let elapsed = self.elapsed(now);
        match self.state {
            BreakerState::Closed if elapsed >= config.window_s => {
                let quiet = u8::try_from(elapsed / config.window_s).unwrap_or(LEVEL_MAX);
                let level = self.level.saturating_sub(quiet);
                Self {
                    level,
                    ..self.enter(BreakerState::Closed, now)
                }
            }
            BreakerState::Throttled if elapsed >= config.window_s => {
                // Hysteresis: it takes half of what tripped it to be let go, else a target that
                // stays just at the limit flips in every window.
                let quiet = u32::from(self.attempts) <= config.requests_in_window() / 2
                    && u32::from(self.denials) <= config.denials_max / 2;
                let silent = elapsed >= config.window_s.saturating_mul(2);
                let next = if quiet || silent {
                    BreakerState::Closed
                } else {
                    BreakerState::Throttled
                };
                self.enter(next, now)
            }
            BreakerState::Frozen if elapsed >= config.cool_down_at(self.level) => {
                self.enter(BreakerState::HalfOpen, now)
            }
            BreakerState::HalfOpen if elapsed >= config.half_open_s => {
                self.enter(BreakerState::Closed, now)
            }
            _ => self,
        }
    }

    /// The next cell, and whether a request may pass.
    pub(crate) fn step(self, config: &BreakerConfig, now: u32, input: Input) -> (Self, bool) {
        let cell = self.settled(config, now);
        match input {
            Input::Attempt => cell.attempt(config, now),
            Input::Denial => (cell.denial(config, now), false),
            Input::Freeze => (cell.freeze(now), false),
            Input::Throttle => match cell.state {
                BreakerState::Frozen => (cell, false),
                _ => (cell.enter(BreakerState::Throttled, now), false),
            },
            Input::Thaw => (
                Self {
                    level: 0,
                    ..cell.enter(BreakerState::Closed, now)
                },
                false,
            ),
        }
    }

    fn attempt(self, config: &BreakerConfig, now: u32) -> (Self, bool) {
        let cell = Self {
            attempts: self.attempts.saturating_add(1),
            ..self
        };
        let over = u32::from(cell.attempts) > config.requests_in_window();
        match cell.state {
            BreakerState::Closed if over => (cell.enter(BreakerState::Throttled, now), false),
            BreakerState::Closed => (cell, true),
            BreakerState::Throttled if over => (cell.freeze(now), false),
            BreakerState::Throttled => {
                let passes = (u32::from(cell.attempts) - 1).is_multiple_of(config.throttle_one_in);
                (cell, passes)
            }
            BreakerState::Frozen => (self, false),
            BreakerState::HalfOpen => (cell, u32::from(cell.attempts) <= config.half_open_requests),
        }
    }

    fn denial(self, config: &BreakerConfig, now: u32) -> Self {
        let cell = Self {
            denials: self.denials.saturating_add(1),
            ..self
        };
        let over = u32::from(cell.denials) > config.denials_max;
        match cell.state {
            BreakerState::Closed if over => cell.enter(BreakerState::Throttled, now),
            BreakerState::Throttled if over => cell.freeze(now),
            BreakerState::HalfOpen => cell.freeze(now),
            BreakerState::Frozen => self,
            BreakerState::Closed | BreakerState::Throttled => cell,
        }
    }
}

#[cfg(test)]
#[path = "cell_tests.rs"]
mod tests;
