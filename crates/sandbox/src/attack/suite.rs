//! Runs the attacks, each with the walls and without those it names, and keeps score.

use super::effect::{self, Effect, MOUNTS, Scene};
use super::hearing::{event, listen};
use super::python::{self, INTERPRETER};
use super::stage::{MEMORY_MIB, PROCESSES, Stage, TMP_MIB};
use super::{Attack, Facts, Language, list};
use crate::error::{SandboxError, doing};
use crate::weakness::{Weakened, Weakness};
use crate::zygote::{Started, Zygote, ZygoteOptions};
use ringfence_core::ids::ProjectId;
use ringfence_core::isolation::{Access, ExecRequest, Mount, Program, Spec, Strictness};
use ringfence_sys::{ns, spawn};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// LIMIT: milliseconds that one attack may take.
pub(super) const ATTACK_MS_MAX: u64 = 20_000;
/// LIMIT: further looks for an effect that comes a moment after the call that causes it.
const LATER_LOOKS_MAX: u32 = 5;
/// Milliseconds between them.
const LATER_MS: i64 = 20;
const MEBIBYTE: u64 = 1024 * 1024;
/// Thousandths of a processor for the attack on it.
const CPU_MILLIS: u32 = 100;

/// How to run the suite.
#[derive(Clone, Debug)]
pub struct Options {
    /// An empty folder for the stage; whoever made it removes it.
    pub folder: PathBuf,
    /// Only attacks whose name contains this.
    pub only: Option<String>,
    /// What no attack program is told; unlike anything else on the host.
    pub secret: String,
    /// What attack programs send; at most 64 octets, without a slash.
    pub token: String,
    /// How to run zygotes.
    pub zygote: ZygoteOptions,
}

/// What came of one attack in one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It has no effect with the walls and succeeds without them.
    Held,
    /// It succeeds with the walls.
    Broken,
    /// It succeeds neither way: it shows nothing.
    Void,
    /// This host does not have what it is after, so there is nothing to hold.
    Absent,
    /// It could not be run here.
    Skipped,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The attack.
    pub attack: &'static str,
    /// What it tries.
    pub tries: &'static str,
    /// What it is written in.
    pub language: Language,
    /// What came of it.
    pub outcome: Verdict,
    /// What the host heard of it while the walls stood; none: it was silent.
    pub event: Option<String>,
    /// What came back with the walls.
    pub answer: String,
    /// The walls that were left out.
    pub weakened: Vec<&'static str>,
    /// What came back without them.
    pub answer_weakened: String,
}

/// The whole table.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// In the order in which they ran.
    pub rows: Vec<Row>,
}

impl Report {
    /// How many rows have this outcome.
    pub fn count(&self, outcome: Verdict) -> usize {
        self.rows.iter().filter(|r| r.outcome == outcome).count()
    }

    /// Whether nothing broke and nothing was void.
    pub fn passed(&self) -> bool {
        self.count(Verdict::Broken) == 0 && self.count(Verdict::Void) == 0
    }
}

/// Runs the suite and tells of each row. Needs root and a process with one thread, which is on the
/// stage's namespaces afterwards.
pub fn run(options: &Options, tell: &mut dyn FnMut(&Row)) -> Result<Report, SandboxError> {
    if !ns::is_root() {
        return Err(SandboxError::SuiteNeedsRoot);
    }
    let stage = Stage::set(
        &options.folder,
        options.secret.clone(),
        options.token.clone(),
    )?;
    let mut suite = Suite {
        stage,
        strong: Zygote::launch(options.zygote.clone())?,
        weak: None,
        options,
        number: 0,
    };
    let mut rows = Vec::new();
    let wanted = |a: &&Attack| {
        options
            .only
            .as_ref()
            .is_none_or(|o| a.name.contains(o.as_str()))
    };
    for attack in list::all().filter(wanted) {
        for language in [Language::Native, Language::Python] {
            if let Some(row) = suite.row(attack, language)? {
                tell(&row);
                rows.push(row);
            }
        }
    }
    Ok(Report { rows })
}

/// What came of one attempt.
struct Attempt {
    seen: bool,
    /// Whether the program ran at all.
    ran: bool,
    answer: String,
    event: Option<String>,
}

struct Suite<'a> {
    stage: Stage,
    strong: Zygote,
    /// The last one that was needed.
    weak: Option<(Weakened, Zygote)>,
    options: &'a Options,
    number: u32,
}

impl Suite<'_> {
    /// `None`: there is no such program in this language.
    fn row(
        &mut self,
        attack: &'static Attack,
        language: Language,
    ) -> Result<Option<Row>, SandboxError> {
        let mut row = Row {
            attack: attack.name,
            tries: attack.tries,
            language,
            outcome: Verdict::Skipped,
            event: None,
            answer: String::new(),
            weakened: attack.walls(),
            answer_weakened: String::new(),
        };
        if language == Language::Python {
            if !attack.steps.iter().all(python::can) {
                return Ok(None);
            }
            if !Path::new(INTERPRETER).exists() {
                row.answer = format!("{INTERPRETER} is missing");
                return Ok(Some(row));
            }
        }
        let strong = self.attempt(attack, language, Weakened::none())?;
        let weakened = Weakened::without(attack.walls);
        let weak = match self.attempt(attack, language, weakened) {
            Ok(weak) => weak,
            Err(error) => Attempt {
                seen: false,
                ran: false,
                answer: format!("no such sandbox: {error}"),
                event: None,
            },
        };
        row.outcome = judge(&strong, &weak);
        row.event = strong.event;
        row.answer = strong.answer;
        row.answer_weakened = weak.answer;
        Ok(Some(row))
    }

    fn zygote(&mut self, weakened: Weakened) -> Result<&Zygote, SandboxError> {
        if weakened == Weakened::none() {
            return Ok(&self.strong);
        }
        if self
            .weak
            .as_ref()
            .is_none_or(|(which, _)| *which != weakened)
        {
            // The old one first: two would hold twice the memory.
            self.weak = None;
            let zygote = Zygote::launch_weakened(self.options.zygote.clone(), weakened)?;
            self.weak = Some((weakened, zygote));
        }
        self.weak
            .as_ref()
            .map(|(_, zygote)| zygote)
            .ok_or(SandboxError::ZygoteLost)
    }

    fn attempt(
        &mut self,
        attack: &Attack,
        language: Language,
        weakened: Weakened,
    ) -> Result<Attempt, SandboxError> {
        self.number += 1;
        let id = format!("attack-{}-{}", std::process::id(), self.number);
        let spec = self.spec(id, attack)?;
        let facts = self.stage.facts(!weakened.lacks(Weakness::FileSystem));
        let request = request(attack, language, &facts)?;
        let mut started = self.zygote(weakened)?.start(&spec)?;
        let watched = self.watch(attack, &mut started, &request, facts);
        let remains = started.group.processes();
        for pid in &remains {
            // Without a pid namespace they would outlive the init.
            if weakened.lacks(Weakness::PidNamespace) {
                drop(spawn::kill_child(*pid));
            }
        }
        let gone = started.kill_and_wait();
        self.stage.restore().map_err(doing("restoring the stage"))?;
        gone?;
        watched
    }

    fn spec(&self, id: String, attack: &Attack) -> Result<Spec, SandboxError> {
        let id = id.parse().map_err(|_| SandboxError::Spec(id))?;
        let mut spec = Spec::new(id, ProjectId::host());
        let roomy = matches!(attack.effect, Effect::Files(_));
        let mebibytes = if roomy { 512 } else { MEMORY_MIB as u64 };
        spec.memory_bytes = mebibytes * MEBIBYTE;
        spec.processes = PROCESSES;
        spec.tmp_bytes = TMP_MIB as u64 * MEBIBYTE;
        if matches!(attack.effect, Effect::Processor) {
            spec.cpu_millis = Some(CPU_MILLIS);
        }
        // The suite shows what holds on any host; what is missing shows as broken.
        spec.strictness = Strictness::AcceptWeaker;
        for (name, access) in [("out", Access::ReadWrite), ("project", Access::ReadOnly)] {
            spec.mounts.push(Mount {
                source: self.stage.path(name),
                target: Path::new("/").join(name),
                access,
            });
        }
        Ok(spec)
    }

    fn watch(
        &mut self,
        attack: &Attack,
        started: &mut Started,
        request: &ExecRequest,
        mut facts: Facts,
    ) -> Result<Attempt, SandboxError> {
        let init = spawn::pid_of(&started.pidfd).map_err(doing("looking at the init"))?;
        let mounts = fs::read_to_string(format!("/proc/{init}/mountinfo"));
        facts.insert(MOUNTS.to_owned(), mounts.unwrap_or_default());
        let (person, stdin) = input(attack.effect).map_err(doing("opening a terminal"))?;
        let (output, stdout) = pipe().map_err(doing("pipe"))?;
        let before = started.stats();
        let began = Instant::now();
        let streams = [stdin.as_fd(), stdout.as_fd(), stdout.as_fd()];
        if let Err(error) = started.init.exec_with(request, streams) {
            return without_answer(attack, init, error);
        }
        drop(stdout);
        let heard = listen(
            started,
            output.into(),
            matches!(attack.effect, Effect::Survivor),
        )?;
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let stats = started.stats();
        let mut programs = effect::descendants(init);
        programs.extend(started.group.processes());
        programs.retain(|pid| *pid != init);
        let typed = person.is_some() && ns::readable(stdin.as_fd(), Some(100)).unwrap_or(false);
        let mut scene = Scene {
            init,
            grouped: programs
                .iter()
                .filter(|p| started.group.holds(**p))
                .copied()
                .collect(),
            programs,
            output: &heard.output,
            made: heard.made(),
            typed,
            memory_bytes: stats.memory_bytes,
            processes: stats.processes,
            cpu_us: stats.cpu_us.saturating_sub(before.cpu_us),
            took_us,
            facts: &facts,
            stage: &mut self.stage,
        };
        let mut seen = attack.effect.seen(&mut scene);
        if attack.effect.follows_later() {
            for _ in 0..LATER_LOOKS_MAX {
                seen = seen || attack.effect.seen(&mut scene);
                ns::wait_ms(LATER_MS);
            }
        }
        Ok(Attempt {
            seen,
            ran: heard.ran(),
            answer: heard.answer(),
            event: event(&heard, before, stats),
        })
    }
}

/// A program may stop its init before that says that it started it.
fn without_answer(
    attack: &Attack,
    init: i32,
    error: SandboxError,
) -> Result<Attempt, SandboxError> {
    if !matches!(attack.effect, Effect::InitStopped) || !effect::stopped(init) {
        return Err(error);
    }
    Ok(Attempt {
        seen: true,
        ran: true,
        answer: "made".to_owned(),
        event: None,
    })
}

/// With and without walls: what it shows.
fn judge(strong: &Attempt, weak: &Attempt) -> Verdict {
    if strong.seen {
        Verdict::Broken
    } else if !strong.ran {
        Verdict::Void
    } else if weak.seen {
        Verdict::Held
    } else if ABSENT
        .iter()
        .any(|name| weak.answer.starts_with(&format!("refused {name}")))
    {
        Verdict::Absent
    } else {
        Verdict::Void
    }
}

/// What a kernel says that does not have what was asked for, where no wall could say it.
const ABSENT: [&str; 8] = [
    "ENOSYS",
    "EAFNOSUPPORT",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "ENODEV",
    "ENXIO",
    "ENOENT",
    "EIO",
];

fn request(
    attack: &Attack,
    language: Language,
    facts: &Facts,
) -> Result<ExecRequest, SandboxError> {
    let unmade = |what: &str| SandboxError::Spec(format!("{}: {what}", attack.name));
    let program = match language {
        Language::Native => {
            let facts = serde_json::to_string(facts).map_err(|e| unmade(&e.to_string()))?;
            let words = ["role", "attack", attack.name, &facts];
            Program::Ringfence(words.iter().map(|w| (*w).to_owned()).collect())
        }
        Language::Python => {
            let text = python::program(attack, facts).unwrap_or_else(python::absent);
            let words = [INTERPRETER, "-I", "-S", "-c", &text];
            Program::Command(words.iter().map(|w| (*w).to_owned()).collect())
        }
    };
    Ok(ExecRequest {
        program,
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        workdir: "/tmp".into(),
        wall_ms: Some(ATTACK_MS_MAX),
    })
}

/// The person's end of a terminal if there is one, and the program's standard input.
fn input(effect: Effect) -> io::Result<(Option<OwnedFd>, OwnedFd)> {
    if matches!(effect, Effect::Typed) {
        let (person, program) = Stage::terminal()?;
        return Ok((Some(person), program));
    }
    Ok((None, File::open("/dev/null")?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(seen: bool, answer: &str) -> Attempt {
        Attempt {
            seen,
            ran: true,
            answer: answer.to_owned(),
            event: None,
        }
    }

    #[test]
    fn only_an_attack_that_succeeds_without_walls_shows_that_they_hold() {
        let refused = attempt(false, "refused EPERM");
        assert_eq!(judge(&refused, &attempt(true, "made")), Verdict::Held);
        assert_eq!(
            judge(&refused, &attempt(false, "refused EPERM")),
            Verdict::Void
        );
        assert_eq!(judge(&refused, &attempt(false, "made")), Verdict::Void);
        assert_eq!(
            judge(&refused, &attempt(false, "refused ENOSYS at bpf")),
            Verdict::Absent
        );
        assert_eq!(
            judge(&attempt(true, "made"), &attempt(true, "made")),
            Verdict::Broken
        );
        let mut silent = attempt(false, "said nothing");
        silent.ran = false;
        assert_eq!(judge(&silent, &attempt(true, "made")), Verdict::Void);
    }
}
