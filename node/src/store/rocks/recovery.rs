//! What the files hold is looked at before RocksDB opens them, because opening rewrites them.
//!
//! The log may have lost what was never synced: it is cut there, in front of the first record
//! that is not whole, so that RocksDB finds nothing but whole records. Any other damage refuses
//! the directory as it is: a manifest that changed, or a log that ends before the mark
//! ([`super::mark`]). Every record of the log is checked, at the speed of reading it.

use super::log::{self, Damage};
use super::mark::{self, Read};
use super::{StoreError, io_failure};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// What the tables alone hold, without the log.
pub(super) struct Flushed {
    /// Logs with lower numbers are not needed any more.
    pub log_min: u64,
    /// The number written last.
    pub upto: u64,
}

/// Checks the store in `dir` and cuts what a crash tore off its log. Returns up to where
/// everything has to be there, `None` for a store that has no mark. `flushed` opens the tables
/// without the log; it is called only when the log alone does not settle it.
///
/// # Errors
/// [`StoreError::Corrupt`] if what was written is not there, with what to do; nothing was changed.
pub(super) fn prepare(
    dir: &Path,
    flushed: &dyn Fn() -> Result<Flushed, StoreError>,
) -> Result<Option<u64>, StoreError> {
    let said = mark::read(dir).map_err(|e| io_failure(&mark::path(dir), &e))?;
    let found = logs(dir)?;
    let Some(manifest) = manifest(dir)? else {
        return match said == Read::Missing && found.is_empty() && !has_tables(dir)? {
            true => Ok(None), // Not created yet.
            false => Err(refusal(dir, "its file CURRENT is missing")),
        };
    };
    let damage = log::walk(&manifest, &mut |_| Ok(())).map_err(|e| io_failure(&manifest, &e))?;
    if let Some(Damage { at, why, torn: false }) = damage {
        return Err(refusal(dir, &format!("{} at byte {at}: {why}", manifest.display())));
    }
    let claimed = match said {
        Read::Upto(claimed) => Some(claimed),
        Read::Missing => {
            tracing::warn!(
                dir = %dir.display(),
                "the store has no mark of what was synced: a log that lost its end goes unnoticed"
            );
            None
        }
        Read::Damaged => {
            return Err(refusal(dir, "its mark of what was synced, the file synced, is damaged"));
        }
    };
    let seen: Vec<Log> = found.into_iter().map(look).collect::<Result<_, _>>()?;
    settle(dir, &seen, claimed.unwrap_or(0), flushed)?;
    Ok(claimed)
}

/// A refusal that says what to do.
pub(super) fn refusal(dir: &Path, what: &str) -> StoreError {
    StoreError::Corrupt(format!(
        "{}: {what}. Nothing was changed. Restore the node's data directory from a backup, or \
         empty it: the other nodes fill it again",
        dir.display()
    ))
}

/// One file of the log, read.
struct Log {
    file: PathBuf,
    number: u64,
    /// RocksDB's sequence of its first record, and the one after its last.
    range: Option<(u64, u64)>,
    /// The number synced last in it.
    upto: Option<u64>,
    damage: Option<Damage>,
}

/// The first place where the log does not go on as it should.
struct Break {
    /// Which file.
    log: usize,
    at: u64,
    why: &'static str,
}

fn settle(
    dir: &Path,
    logs: &[Log],
    claimed: u64,
    flushed: &dyn Fn() -> Result<Flushed, StoreError>,
) -> Result<(), StoreError> {
    let (upto, broken) = follow(logs);
    match &broken {
        None if upto.unwrap_or(0) >= claimed => return Ok(()),
        Some(broken) if broken.log + 1 == logs.len() && upto.is_some_and(|u| u >= claimed) => {
            return cut(logs, broken);
        }
        _ => {}
    }
    let tables = flushed()?;
    let needed = logs.partition_point(|log| log.number < tables.log_min);
    let logs = &logs[needed..];
    let (upto, broken) = follow(logs);
    let (reached, place) = match &broken {
        // What is flushed was written before the last file began, but not only before others.
        Some(Break { log, at, why }) if log + 1 < logs.len() => {
            (upto.unwrap_or(0), format!("{} at byte {at}: {why}", logs[*log].file.display()))
        }
        Some(Break { log, at, why }) => {
            let reached = upto.unwrap_or(0).max(tables.upto);
            (reached, format!("{} at byte {at}: {why}", logs[*log].file.display()))
        }
        None => (upto.unwrap_or(0).max(tables.upto), "its log ends too early".to_owned()),
    };
    if reached < claimed {
        let lost = format!("{place}. Batches up to {claimed} were synced, {reached} are there");
        return Err(refusal(dir, &lost));
    }
    broken.map_or(Ok(()), |broken| cut(logs, &broken))
}

/// The last number before anything is amiss.
fn follow(logs: &[Log]) -> (Option<u64>, Option<Break>) {
    let (mut upto, mut next) = (None, None);
    for (log, seen) in logs.iter().enumerate() {
        if let Some((first, after)) = seen.range {
            if next.is_some_and(|next| next != first) {
                let why = "it does not go on where the file before it ends";
                return (upto, Some(Break { log, at: 0, why }));
            }
            next = Some(after);
        }
        upto = seen.upto.or(upto);
        if let Some(Damage { at, why, .. }) = seen.damage {
            return (upto, Some(Break { log, at, why }));
        }
    }
    (upto, None)
}

/// Takes away what follows the break, none of which was ever synced.
fn cut(logs: &[Log], broken: &Break) -> Result<(), StoreError> {
    for (place, log) in logs.iter().enumerate().skip(broken.log) {
        let keep = if place == broken.log { broken.at } else { 0 };
        tracing::info!(
            file = %log.file.display(), keep, why = broken.why,
            "the log's end was never synced and is cut off"
        );
        let cut = OpenOptions::new().write(true).open(&log.file).and_then(|file| {
            file.set_len(keep)?;
            file.sync_all()
        });
        cut.map_err(|e| io_failure(&log.file, &e))?;
    }
    Ok(())
}

fn look((number, file): (u64, PathBuf)) -> Result<Log, StoreError> {
    let (mut range, mut upto) = (None, None);
    let mut visit = |head: &[u8]| {
        let (sequence, count) = header(head).ok_or("a record that is too short")?;
        let (first, next) = range.unwrap_or((sequence, sequence));
        if sequence != next {
            return Err("a record is missing");
        }
        range = Some((first, sequence + u64::from(count)));
        upto = number_of(&head[12..]).or(upto);
        Ok(())
    };
    let damage = log::walk(&file, &mut visit).map_err(|e| io_failure(&file, &e))?;
    Ok(Log { file, number, range, upto, damage })
}

/// Sequence of the first change and number of changes, from the beginning of a record.
fn header(head: &[u8]) -> Option<(u64, u32)> {
    let sequence = u64::from_le_bytes(head.get(..8)?.try_into().ok()?);
    let count = u32::from_le_bytes(head.get(8..12)?.try_into().ok()?);
    Some((sequence, count))
}

/// The number that a record of [`super::sync`] puts: `5 | family (1) | 1 | key | 8 | number`.
fn number_of(change: &[u8]) -> Option<u64> {
    match change {
        [5, _family, 1, super::sync::KEY, 8, number @ ..] if number.len() == 8 => {
            Some(u64::from_le_bytes(number.try_into().ok()?))
        }
        _ => None,
    }
}

/// Log files by number, in order.
pub(super) fn logs(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let mut logs: Vec<_> = files(dir)?.into_iter().filter_map(numbered).collect();
    logs.sort();
    Ok(logs)
}

fn numbered(file: PathBuf) -> Option<(u64, PathBuf)> {
    let number = file.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()?;
    Some((number, file))
}

fn has_tables(dir: &Path) -> Result<bool, StoreError> {
    Ok(files(dir)?.iter().any(|file| file.extension().is_some_and(|found| found == "sst")))
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let files = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>());
    files.map_err(|e| io_failure(dir, &e))
}

/// The manifest that CURRENT names; `None` if there is no CURRENT.
fn manifest(dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    let current = dir.join("CURRENT");
    let bytes = match fs::read(&current) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_failure(&current, &e)),
    };
    let named = String::from_utf8(bytes).ok().and_then(|text| {
        let name = text.strip_suffix('\n')?;
        let number = name.strip_prefix("MANIFEST-")?;
        let sound = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| dir.join(name))
    });
    match named {
        Some(file) if file.is_file() => Ok(Some(file)),
        _ => Err(refusal(dir, "its file CURRENT names no manifest that is there")),
    }
}
