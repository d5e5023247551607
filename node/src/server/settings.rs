//! The settings of one node: flags over the file over defaults, checked before anything starts.
//!
//! A node refuses to listen beyond loopback without a cluster secret.

use super::peers::is_name;
use super::secret::{HOW_TO_MAKE, Secret};
use super::traces::{self, TraceSettings};
use crate::config::Config;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Largest capacity of a node.
const CAPACITY_MAX: u32 = 1_000_000;
/// Longest zone, cluster name or host, bytes.
const TEXT_MAX: usize = 128;
const JOIN_MAX: usize = 64;
/// Longest time between the word to stop and its beginning, ms.
const DRAIN_MAX_MS: u64 = 600_000;
/// What the object cache holds unless the file says otherwise: a hundred thousand small objects.
pub const OBJECT_CACHE_BYTES: u64 = 32 << 20;
/// Traced of requests that do not say: enough to see the usual, little enough to cost nothing.
const TRACE_RATIO: f64 = 0.01;

/// Why a node cannot start with these settings.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The command or the file is wrong: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// The command is right and the node still refuses: exit status 1.
    #[error("{0}")]
    Refused(String),
}

/// How logs are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One node; flags override the file. Further settings, such as `[core]` and `[storage]`, are
/// in the file only.
#[derive(Args, Clone, Debug, Default)]
pub struct StartArgs {
    /// Directory for everything this node keeps
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Name, unique in the cluster [default: as kept in the directory, or drawn]
    #[arg(long)]
    pub name: Option<String>,
    /// Failure domain: copies are spread over zones [default: default]
    #[arg(long)]
    pub zone: Option<String>,
    /// Share of the data relative to other nodes [default: 1]
    #[arg(long, value_name = "N")]
    pub capacity: Option<u32>,
    /// Where to serve clients
    #[arg(long, value_name = "ADDR")]
    pub http: Option<String>,
    /// Where to hear other nodes (TCP)
    #[arg(long, value_name = "ADDR")]
    pub peer: Option<String>,
    /// Where to gossip (UDP)
    #[arg(long, value_name = "ADDR")]
    pub gossip: Option<String>,
    /// Reserved for the Redis protocol, which this version does not speak
    #[arg(long, value_name = "ADDR")]
    pub resp: Option<String>,
    /// Host at which others reach this node, needed when it listens on all addresses
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Gossip addresses of other nodes, separated by commas
    #[arg(long, value_name = "GOSSIP_ADDR", value_delimiter = ',')]
    pub join: Option<Vec<String>>,
    /// File with settings (TOML); its keys are the flags with _ for -
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the cluster secret, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// How logs are written [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    #[command(flatten)]
    #[allow(missing_docs)] // Its text would stand in the help.
    pub traces: TraceArgs,
    /// Stop when standard input ends, as `starling dev` needs it
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// Traces; without an endpoint there are none.
#[derive(Args, Clone, Debug, Default)]
pub struct TraceArgs {
    /// Base address of the OTLP collector that gets traces [default: as
    /// OTEL_EXPORTER_OTLP_ENDPOINT says, else none]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Part of the requests without a traceparent that is traced, 0 to 1 [default: as
    /// OTEL_TRACES_SAMPLER_ARG says, else 0.01]
    #[arg(long, value_name = "R")]
    pub trace_ratio: Option<f64>,
}

/// The file; every key may be left out.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default, deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    name: Option<String>,
    zone: Option<String>,
    capacity: Option<u32>,
    http: Option<String>,
    peer: Option<String>,
    gossip: Option<String>,
    resp: Option<String>,
    advertise: Option<String>,
    join: Option<Vec<String>>,
    secret_file: Option<PathBuf>,
    log_format: Option<LogFormat>,
    otlp_endpoint: Option<String>,
    trace_ratio: Option<f64>,
    cluster: Option<String>,
    gossip_interval_ms: Option<u32>,
    drain_ms: Option<u32>,
    core: CoreFile,
    storage: StorageFile,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default, deny_unknown_fields)]
struct CoreFile {
    timeout_ms: Option<u32>,
    hedge_ms: Option<u32>,
    hint_retry_ms: Option<u32>,
    hints_max: Option<u64>,
    exchange_ms: Option<u32>,
    settle_ms: Option<u32>,
    requests_max: Option<u32>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default, deny_unknown_fields)]
struct StorageFile {
    memory_mib: Option<u32>,
    object_cache_mib: Option<u32>,
    reserve_mib: Option<u32>,
}

/// What a node runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory for everything the node keeps.
    pub data_dir: PathBuf,
    /// Its name, if one was given.
    pub name: Option<String>,
    /// Its failure domain.
    pub zone: String,
    /// Its share of the data.
    pub capacity: u32,
    /// Where it serves clients.
    pub http: SocketAddr,
    /// Where it hears other nodes.
    pub peer: SocketAddr,
    /// Where it gossips.
    pub gossip: SocketAddr,
    /// Host at which others reach it; `None` for the addresses it listens on.
    pub advertise: Option<String>,
    /// Gossip addresses of others.
    pub join: Vec<String>,
    /// The cluster secret.
    pub secret: Option<Secret>,
    /// The cluster's name.
    pub cluster: String,
    /// Between gossip rounds.
    pub gossip_interval: Duration,
    /// How long a node that was told to stop serves on, not ready, before it refuses connections.
    pub drain: Duration,
    /// The core's settings; the name in it is filled in when the directory is open.
    pub core: Config,
    /// Memory for the database, bytes.
    pub memory_bytes: u64,
    /// For headers that were used lately, beside that.
    pub object_cache_bytes: u64,
    /// Room that writes leave on the database's file system, bytes; `None` for the default.
    pub reserve_bytes: Option<u64>,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Where traces go; `None` for no traces.
    pub traces: Option<TraceSettings>,
    /// Whether the end of standard input stops the node.
    pub exit_with_stdin: bool,
}

impl Settings {
    /// Joins flags and file and checks the result. Reads the file and the secret.
    ///
    /// # Errors
    /// See [`SettingsError`]; the text names the setting and what to do.
    pub fn resolve(args: StartArgs) -> Result<Settings, SettingsError> {
        let file = args.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        if args.resp.or(file.resp).is_some() {
            return Err(usage(
                "--resp: this version does not speak the Redis protocol; leave it out",
            ));
        }
        let needed = |name: &str| usage(format!("--{name} is needed, or {name} in the file"));
        let http = address("http", args.http.or(file.http).ok_or_else(|| needed("http"))?)?;
        let peer = address("peer", args.peer.or(file.peer).ok_or_else(|| needed("peer"))?)?;
        let gossip =
            address("gossip", args.gossip.or(file.gossip).ok_or_else(|| needed("gossip"))?)?;
        let secret_file = args.secret_file.or(file.secret_file);
        let secret = secret_file.as_deref().map(Secret::read).transpose();
        let secret = secret.map_err(SettingsError::Refused)?;
        let on_loopback = [http, peer, gossip].iter().all(|addr| addr.ip().is_loopback());
        if secret.is_none() && !on_loopback {
            let text = format!(
                "refusing to listen beyond loopback without a cluster secret, \
                 as anyone could read and write.\nMake one: {HOW_TO_MAKE}.\n\
                 To try things on this machine alone, listen on 127.0.0.1."
            );
            return Err(SettingsError::Refused(text));
        }
        let gossip_interval_ms = file.gossip_interval_ms.unwrap_or(match on_loopback {
            true => 200,
            false => 1_000,
        });
        within("gossip_interval_ms", gossip_interval_ms.into(), 50..=10_000)?;
        let drain_ms = file.drain_ms.unwrap_or(0);
        within("drain_ms", drain_ms.into(), 0..=DRAIN_MAX_MS)?;
        let memory_mib = file.storage.memory_mib.unwrap_or(256);
        within("storage.memory_mib", memory_mib.into(), 16..=1 << 20)?;
        let object_cache_bytes = match file.storage.object_cache_mib {
            Some(mib) => {
                within("storage.object_cache_mib", mib.into(), 0..=1 << 20)?;
                u64::from(mib) << 20
            }
            None => OBJECT_CACHE_BYTES,
        };
        let reserve_bytes = file.storage.reserve_mib.map(|mib| u64::from(mib) << 20);
        let settings = Settings {
            data_dir: args
                .data_dir
                .or(file.data_dir)
                .ok_or_else(|| usage("--data-dir is needed"))?,
            name: args.name.or(file.name),
            zone: args.zone.or(file.zone).unwrap_or_else(|| "default".into()),
            capacity: args.capacity.or(file.capacity).unwrap_or(1),
            http,
            peer,
            gossip,
            advertise: args.advertise.or(file.advertise),
            join: args.join.or(file.join).unwrap_or_default(),
            secret,
            cluster: file.cluster.unwrap_or_else(|| "starling".into()),
            gossip_interval: Duration::from_millis(gossip_interval_ms.into()),
            drain: Duration::from_millis(drain_ms.into()),
            core: core_config(&file.core)?,
            memory_bytes: u64::from(memory_mib) << 20,
            object_cache_bytes,
            reserve_bytes,
            log_format: args.log_format.or(file.log_format).unwrap_or_default(),
            traces: args.traces.or(file.otlp_endpoint, file.trace_ratio).resolve()?,
            exit_with_stdin: args.exit_with_stdin,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        if self.name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(usage("--name: 1 to 64 of letters, digits, '.', '_' and '-'"));
        }
        for (setting, text) in [("zone", &self.zone), ("cluster", &self.cluster)] {
            if text.is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
                return Err(usage(format!("{setting}: 1 to {TEXT_MAX} bytes of text")));
            }
        }
        within("capacity", self.capacity.into(), 1..=CAPACITY_MAX.into())?;
        if self.join.len() > JOIN_MAX {
            return Err(usage(format!("--join: at most {JOIN_MAX} addresses")));
        }
        for addr in &self.join {
            let port = addr.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() || addr.len() > TEXT_MAX {
                return Err(usage(format!("--join: {addr:?} is no HOST:PORT")));
            }
        }
        let everywhere =
            [self.http, self.peer, self.gossip].iter().any(|a| a.ip().is_unspecified());
        if everywhere && self.advertise.is_none() {
            return Err(usage(
                "listening on all addresses needs --advertise HOST, where others reach this node",
            ));
        }
        if self.advertise.as_ref().is_some_and(|host| host.is_empty() || host.len() > TEXT_MAX) {
            return Err(usage(format!("--advertise: 1 to {TEXT_MAX} bytes")));
        }
        Ok(())
    }

    /// `host:port` at which others reach what is bound at `addr`.
    pub fn advertised(&self, addr: SocketAddr) -> String {
        match &self.advertise {
            Some(host) if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => {
                format!("[{host}]:{}", addr.port())
            }
            Some(host) => format!("{host}:{}", addr.port()),
            None => addr.to_string(),
        }
    }
}

impl TraceArgs {
    fn or(self, endpoint: Option<String>, ratio: Option<f64>) -> TraceArgs {
        TraceArgs {
            otlp_endpoint: self.otlp_endpoint.or(endpoint),
            trace_ratio: self.trace_ratio.or(ratio),
        }
    }

    /// Checks them; what is not said comes from the variables that are usual for it.
    ///
    /// # Errors
    /// A wrong URL or ratio; the text says where it came from.
    pub fn resolve(self) -> Result<Option<TraceSettings>, SettingsError> {
        let said = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let checked = |from, ratio: f64| match (0.0..=1.0).contains(&ratio) {
            true => Ok(ratio),
            false => Err(usage(format!("{from}: a number from 0 to 1 is needed"))),
        };
        let ratio = self.trace_ratio.map(|ratio| checked("--trace-ratio", ratio)).transpose()?;
        let (flag, variable) = ("--otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT");
        let (origin, endpoint) = match (self.otlp_endpoint, said(variable)) {
            (Some(endpoint), _) => (flag, endpoint),
            (None, Some(endpoint)) => (variable, endpoint),
            (None, None) => return Ok(None),
        };
        let variable = "OTEL_TRACES_SAMPLER_ARG";
        let ratio = match (ratio, said(variable)) {
            (Some(ratio), _) => ratio,
            (None, Some(text)) => checked(variable, text.parse().unwrap_or(f64::NAN))?,
            (None, None) => TRACE_RATIO,
        };
        let address = traces::address(&endpoint);
        let address = address.map_err(|why| usage(format!("{origin}: {why}")))?;
        Ok(Some(TraceSettings { address, ratio }))
    }
}

fn read_file(path: &Path) -> Result<File, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| usage(format!("--config: cannot read {}: {e}", path.display())))?;
    toml::from_str(&text).map_err(|e| usage(format!("{}: {e}", path.display())))
}

fn core_config(file: &CoreFile) -> Result<Config, SettingsError> {
    let mut core = Config::new("");
    for (name, given, own, range) in [
        ("timeout_ms", file.timeout_ms, &mut core.timeout_ms, 100..=60_000),
        ("hedge_ms", file.hedge_ms, &mut core.hedge_ms, 1..=10_000),
        ("hint_retry_ms", file.hint_retry_ms, &mut core.hint_retry_ms, 10..=600_000),
        ("exchange_ms", file.exchange_ms, &mut core.exchange_ms, 100..=3_600_000),
        ("settle_ms", file.settle_ms, &mut core.settle_ms, 60_000..=86_400_000),
    ] {
        if let Some(value) = given {
            within(name, value.into(), range)?;
            *own = value;
        }
    }
    if let Some(hints_max) = file.hints_max {
        within("hints_max", hints_max, 0..=1 << 40)?;
        core.hints_max = hints_max;
    }
    if let Some(requests_max) = file.requests_max {
        within("requests_max", requests_max.into(), 1..=1_000_000)?;
        core.requests_max = requests_max as usize;
    }
    Ok(core)
}

fn address(flag: &str, text: String) -> Result<SocketAddr, SettingsError> {
    let wrong = |why: String| usage(format!("--{flag}: {text:?} is no HOST:PORT{why}"));
    let mut found = text.to_socket_addrs().map_err(|e| wrong(format!(" ({e})")))?;
    found.next().ok_or_else(|| wrong(" that resolves".into()))
}

fn within(name: &str, value: u64, range: RangeInclusive<u64>) -> Result<(), SettingsError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(usage(format!("{name}: {value} is not within {} to {}", range.start(), range.end())))
}

fn usage(text: impl Into<String>) -> SettingsError {
    SettingsError::Usage(text.into())
}
