//! Every command and flag, in one place: help texts, the man page and shell completions come from
//! here.

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The commands by stage, the newcomer's map. A test proves that none is missing.
const GROUPS: &str = "\
ADMIT    may this come in?
  check       scan a project and let the gate decide
  advisories  show or import advisory data
RUN      what may it do?
  up          host a project behind the fence
  down        stop what `up -d` started
  ps          list sandboxes
  logs        show what the assistant printed
  run         run one command in a sandbox, nothing else needed
  key         create, list and revoke API keys
  guard       judge texts with the prompt shield
  redact      copy a dataset without personal data and secrets
WATCH    is it behaving?
  status      what stands, what runs, what was refused
RESPOND  what now?
  case        weaknesses and incidents
  waive       accept a finding until a date
  alert       what was raised, and the key that signs webhooks
RECORD   can we prove it?
  log         show, prove and verify the log
  witness     cosign the checkpoints of other machines' logs
ALL
  doctor      what this machine can do, and how to mend what it cannot
  config      explain the effective configuration
  completions print completions for a shell
  man         print the man page

Start here: ringfence run -- CMD (needs nothing), then ringfence up DIR.
`up` needs root for every wall; without root it names what is missing, and --accept-weaker goes on.";

const TEMPLATE: &str = "\
{about}

Usage: {usage}

{after-help}

Options:
{options}";

/// Hosts open-source AI behind a fence: it decides what comes in, what it may do, notices when it
/// misbehaves, gets it mended, and can prove all of it.
#[derive(Parser, Debug)]
#[command(name = "ringfence", version, help_template = TEMPLATE, after_help = GROUPS)]
pub(crate) struct Cli {
    /// The state directory [default: /var/lib/ringfence for root, else `ringfence` in the user's state folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Scan a project and let the gate decide
    Check(CheckArgs),
    /// Show or import advisory data
    #[command(subcommand)]
    Advisories(AdvisoriesCommand),
    /// Host a project behind the fence
    Up(UpArgs),
    /// Stop what `up -d` started
    Down,
    /// List sandboxes
    Ps,
    /// Show what the assistant printed
    Logs(LogsArgs),
    /// Run one command in a sandbox, nothing else needed
    Run(RunArgs),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Judge texts with the prompt shield
    #[command(subcommand)]
    Guard(GuardCommand),
    /// Copy a dataset without personal data and secrets
    Redact(RedactArgs),
    /// What stands, what runs, what was refused
    Status(StatusArgs),
    /// Weaknesses and incidents
    #[command(subcommand)]
    Case(CaseCommand),
    /// Accept a finding until a date
    Waive(WaiveArgs),
    /// What was raised, and the key that signs webhooks
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Show, prove and verify the log
    #[command(subcommand)]
    Log(LogCommand),
    /// Cosign the checkpoints of other machines' logs
    Witness(WitnessArgs),
    /// What this machine can do, and how to mend what it cannot
    Doctor,
    /// Explain the effective configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
    /// Answers one question from standard input while no service runs; not for people
    #[command(hide = true)]
    Offline,
    /// One process of `up`; not for people
    #[command(hide = true)]
    Role {
        /// Which role, and what it is handed
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Scan a project and let the gate decide.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 pass, 1 findings over the gate, 2 error, 3 incomplete.")]
pub(crate) struct CheckArgs {
    /// The project
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Print SARIF 2.1.0
    #[arg(long, conflicts_with = "json")]
    pub sarif: bool,
    /// Advisory data instead of the set that is built in or was imported
    #[arg(long, value_name = "FILE")]
    pub advisories: Option<PathBuf>,
    /// Deny findings of this severity and above
    #[arg(long, value_name = "SEVERITY")]
    pub deny_at: Option<String>,
    /// Go on where this host cannot confine the scanner
    #[arg(long)]
    pub accept_weaker: bool,
}

/// Show or import advisory data.
#[derive(Subcommand, Debug)]
pub(crate) enum AdvisoriesCommand {
    /// Which ecosystems are covered, and how old the data is
    Status,
    /// Read OSV zips (all.zip of an ecosystem) into the state directory
    Import {
        /// The zips
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Host a project behind the fence.
#[derive(Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct UpArgs {
    /// The folder that holds ringfence.toml
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Start in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Only scan and decide; start nothing
    #[arg(long, conflicts_with_all = ["detach", "selftest"])]
    pub check_only: bool,
    /// Start, attack itself, print a table, stop
    #[arg(long, conflicts_with = "detach")]
    pub selftest: bool,
    /// Start even where walls are missing; which ones is recorded
    #[arg(long)]
    pub accept_weaker: bool,
    /// Serve plain HTTP; only on a loopback address
    #[arg(long)]
    pub plain: bool,
}

/// Show what the assistant printed.
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Go on as more is printed
    #[arg(short, long)]
    pub follow: bool,
    /// Lines from the end
    #[arg(long, default_value_t = 100)]
    pub tail: usize,
}

/// Run one command in a sandbox, nothing else needed.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: the command's own; 124 its time was up, 125 ringfence failed, 126 and \
                  127 as in a shell, 128+n for signal n."
)]
pub(crate) struct RunArgs {
    /// Memory of all its processes together
    #[arg(long, default_value = "512MiB", value_name = "SIZE")]
    pub memory: String,
    /// Processes and threads together
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub processes: u32,
    /// Stop it after this time, for example 10s
    #[arg(long, value_name = "SPAN")]
    pub timeout: Option<String>,
    /// Start even where walls are missing; they are named
    #[arg(long)]
    pub accept_weaker: bool,
    /// Attack every wall of this host from inside, and without it, and print what holds
    #[arg(long, conflicts_with_all = ["command", "timeout", "accept_weaker"])]
    pub attack_suite: bool,
    /// Only attacks whose name contains this
    #[arg(long, value_name = "NAME", requires = "attack_suite")]
    pub only: Option<String>,
    /// The command
    #[arg(
        required_unless_present = "attack_suite",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub command: Vec<String>,
}

/// Create, list and revoke API keys.
#[derive(Subcommand, Debug)]
pub(crate) enum KeyCommand {
    /// Make a key and print it once
    Create {
        /// What it is for
        #[arg(long, default_value = "unnamed")]
        name: String,
        /// Requests it may make in a minute
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<u32>,
        /// When it ends, for example 90d
        #[arg(long, value_name = "SPAN")]
        expires: Option<String>,
        /// Who asks, and why: part of the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List keys, without their secrets
    List,
    /// End a key now
    Revoke {
        /// The id as `key list` shows it
        id: String,
    },
}

/// Copy a dataset without personal data and secrets.
#[derive(Args, Debug)]
#[command(
    after_help = "The copy has its name only when it is whole; after a stop the same command goes on. \
                  Records that cannot be read are left out and counted. Exit codes: 0 every record \
                  is in the copy, 2 error, 3 some are not."
)]
pub(crate) struct RedactArgs {
    /// The dataset, or - for standard input
    #[arg(long = "in", value_name = "FILE")]
    pub input: String,
    /// The copy, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub out: String,
    /// jsonl, csv or text [default: by the ending of the name]
    #[arg(long)]
    pub format: Option<String>,
    /// Delimiter of a table [default: ,]
    #[arg(long, value_name = "CHARACTER")]
    pub delimiter: Option<String>,
    /// redact, mask, hash or pseudonym
    #[arg(long, default_value = "redact")]
    pub operator: String,
    /// The key of pseudonyms: a file of 32 octets or more
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Types to look for [default: all but date and url]
    #[arg(long, value_delimiter = ',')]
    pub types: Vec<String>,
    /// Own recognisers and allowed values, in TOML
    #[arg(long, value_name = "FILE")]
    pub recognisers: Option<PathBuf>,
    /// Columns or fields whose combinations are counted
    #[arg(long, value_delimiter = ',', value_name = "FIELDS")]
    pub k_anonymity: Vec<String>,
    /// Do not look for instructions planted for a model
    #[arg(long)]
    pub no_instructions: bool,
    /// Write the report here
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Threads [default: one for each core]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Begin again instead of going on
    #[arg(long)]
    pub restart: bool,
}

/// Judge texts with the prompt shield.
#[derive(Subcommand, Debug)]
pub(crate) enum GuardCommand {
    /// Where personal data stands, for each line of standard input
    #[command(
        after_help = "Reads {\"text\"} lines and writes {\"spans\": [{\"type\", \"start\", \"end\", \
                      \"score\"}]} lines; places are in characters. Exit codes: 0 every line was \
                      looked at, 2 error, 3 a line was not."
    )]
    Redact {
        /// Lines of JSON in, lines of JSON out; there is no other form yet
        #[arg(long, required = true)]
        jsonl: bool,
    },
    /// One verdict for each line of standard input
    #[command(
        after_help = "Reads {\"text\", \"channel\"} lines; `text` may be a list of messages that were \
                      sent one after the other. Channels: user (if none is given), system, assistant, \
                      tool_result, tool_schema, document, content. Writes {\"label\", \"score\", \
                      \"verdict\", \"threshold\", \"span\", \"view\", \"rule\"} lines. Exit codes: 0 every \
                      line was judged, 2 error, 3 a line was not."
    )]
    Score {
        /// Lines of JSON in, lines of JSON out; there is no other form yet
        #[arg(long, required = true)]
        jsonl: bool,
        /// Thresholds made by `guard calibrate`
        #[arg(long, value_name = "FILE")]
        thresholds: Option<PathBuf>,
    },
    /// Say why a text is judged as it is
    Explain {
        /// The text [default: standard input]
        text: Option<String>,
        /// Who wrote it
        #[arg(long, default_value = "user", value_name = "CHANNEL")]
        channel: String,
        /// Thresholds made by `guard calibrate`
        #[arg(long, value_name = "FILE")]
        thresholds: Option<PathBuf>,
    },
    /// Make thresholds from your own harmless traffic: {"text", "channel"} lines on standard input
    Calibrate {
        /// How many of a million harmless texts may be flagged
        #[arg(long, default_value_t = 10_000, value_name = "MILLIONTHS")]
        rate: u32,
    },
}

/// What stands, what runs, what was refused.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Make a new one-time token for the console; an unused older one is void
    #[arg(long)]
    pub new_token: bool,
}

/// Weaknesses and incidents.
#[derive(Subcommand, Debug)]
pub(crate) enum CaseCommand {
    /// List cases
    List,
    /// One case with its history
    Show {
        /// The id as `case list` shows it
        id: String,
    },
}

/// What was raised, and the key that signs webhooks.
#[derive(Subcommand, Debug)]
pub(crate) enum AlertCommand {
    /// List alerts, newest first
    List,
    /// Print the key that signs webhooks (HMAC-SHA-256), in hex
    Key,
}

/// Accept a finding until a date.
#[derive(Args, Debug)]
pub(crate) struct WaiveArgs {
    /// The rule, for example admit/pickle-dangerous-global
    pub rule: String,
    /// Only this finding
    #[arg(long, value_name = "HEX")]
    pub fingerprint: Option<String>,
    /// A date (2026-12-31) or a span (30d); there is no waiver without an end
    #[arg(long, value_name = "WHEN")]
    pub until: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// Show, prove and verify the log.
#[derive(Subcommand, Debug)]
pub(crate) enum LogCommand {
    /// The latest leaves
    Show {
        /// How many
        #[arg(long, default_value_t = 20)]
        count: u64,
        /// From this index on, instead of the end
        #[arg(long)]
        from: Option<u64>,
    },
    /// Leaves as they are written, until Ctrl-C
    Follow {
        /// From this index on, instead of the end
        #[arg(long)]
        from: Option<u64>,
    },
    /// The verifier keys of the log, for verifiers and witnesses (C2SP signed-note, types 01 and 06)
    Vkey {
        /// A log directory [default: the one of the state directory]
        dir: Option<PathBuf>,
    },
    /// Recompute a log from its entries and check its signatures; needs no service and no key file
    Verify(VerifyArgs),
    /// Recompute this machine's log with its write-ahead log, high-water mark and sealed payloads
    Fsck,
    /// Write an inclusion proof that verifies offline (C2SP tlog-proof)
    Prove {
        /// The leaf's index
        index: u64,
        /// Where to write it [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Export to write-once storage, as `[record.worm]` says
    #[command(
        after_help = "Exit codes: 0 exported, 1 the log or the bucket is not as it must be, \
                            2 error, 3 more is left."
    )]
    Worm {
        /// The folder that holds ringfence.toml [default: the one last started]
        dir: Option<PathBuf>,
        /// Export again every hour, until something is found or Ctrl-C
        #[arg(long)]
        follow: bool,
    },
    /// Forget a person: destroy the key of every payload that was kept for them
    Erase {
        /// The name it was kept under
        subject: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Copy what the world may see: checkpoint, tiles, entries, verifier keys
    Export {
        /// Where to; a new or empty folder
        dir: PathBuf,
        /// Make each file immutable, so that not even its owner changes it (ext4, xfs, btrfs; root)
        #[arg(long)]
        immutable: bool,
    },
}

/// What to verify, and what is known already.
#[derive(clap::Args, Debug)]
pub(crate) struct VerifyArgs {
    /// A directory or an http(s) address of a log [default: the log of the state directory]
    #[arg(value_name = "DIR|URL", conflicts_with = "proof")]
    pub from: Option<String>,
    /// A verifier key that must have signed; may be given more than once
    #[arg(long = "vkey", value_name = "KEY")]
    pub vkeys: Vec<String>,
    /// A checkpoint of the same log kept elsewhere: the log must extend it
    #[arg(long, value_name = "CHECKPOINT")]
    pub since: Option<PathBuf>,
    /// Verify one proof or receipt instead of a log
    #[arg(long, value_name = "FILE", requires = "leaf", requires = "vkeys")]
    pub proof: Option<PathBuf>,
    /// The leaf that the proof is of, as `log show --json` has it
    #[arg(long, value_name = "FILE", requires = "proof")]
    pub leaf: Option<PathBuf>,
}

/// Explain the effective configuration.
#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Every key, its value and where it comes from
    Explain {
        /// The folder that holds ringfence.toml
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
}

/// Cosign the checkpoints of other machines' logs.
#[derive(Args, Debug)]
#[command(
    after_help = "Run it on a machine that the log's administrator does not own. Without a log it \
                  prints its own keys and ends."
)]
pub(crate) struct WitnessArgs {
    /// Where it listens, plain HTTP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8446")]
    pub listen: SocketAddr,
    /// A verifier key of a log; give every key that the log signs with
    #[arg(long = "log", value_name = "VKEY")]
    pub logs: Vec<String>,
    /// A file with one such key on each line
    #[arg(long = "logs", value_name = "FILE")]
    pub logs_file: Option<PathBuf>,
    /// Go on where this host cannot confine it
    #[arg(long)]
    pub accept_weaker: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_stands_in_the_map_by_stage() {
        for command in Cli::command()
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
        {
            let name = command.get_name();
            assert!(
                GROUPS
                    .lines()
                    .any(|l| l.trim_start().split(' ').next() == Some(name)),
                "{name} is missing from the map"
            );
        }
    }

    #[test]
    fn a_waiver_without_an_end_does_not_parse() {
        let parse = |args: &[&str]| Cli::try_parse_from(args.iter().copied()).is_ok();
        assert!(parse(&[
            "ringfence",
            "waive",
            "admit/x",
            "--until",
            "30d",
            "--reason",
            "r"
        ]));
        assert!(!parse(&["ringfence", "waive", "admit/x", "--reason", "r"]));
    }
}
