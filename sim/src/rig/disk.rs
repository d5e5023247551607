//! A node's disk: one that can fill, emptied, copied and put back.

use crate::shell::run;
use anyhow::Context;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A disk that is to fill holds so much, MiB: plenty for a run, and less than the 35 MiB that
/// RocksDB sets aside for a log where it can. With those it would go on for long on a full disk.
const SMALL_MIB: u64 = 24;

/// Puts a small disk of its own under `data`.
///
/// # Errors
/// It cannot be mounted.
pub fn make_small(data: &Path) -> anyhow::Result<()> {
    let (size, data) = (format!("size={SMALL_MIB}m"), data.display().to_string());
    run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &data]).map(drop)
}

fn ballast(data: &Path) -> PathBuf {
    data.join("ballast")
}

/// Fills the disk to its last byte.
///
/// # Errors
/// Anything but that it is full.
pub fn fill(data: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(ballast(data))?;
    let mut piece = vec![0x5a; 1 << 20];
    while !piece.is_empty() {
        match file.write(&piece) {
            Ok(count) if count > 0 => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            other => drop(other.context("filling the disk")?),
        }
    }
    Ok(())
}

/// Frees what [`fill`] took.
///
/// # Errors
/// It is not there.
pub fn free(data: &Path) -> anyhow::Result<()> {
    Ok(std::fs::remove_file(ballast(data))?)
}

/// Empties the disk.
///
/// # Errors
/// Something cannot be removed.
pub fn wipe(data: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(data)? {
        let path = entry?.path();
        match path.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        }
        .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn copy(data: &Path) -> PathBuf {
    data.with_extension("backup")
}

/// Copies the disk of a node that is down or stands still.
///
/// # Errors
/// It cannot be copied.
pub fn back_up(data: &Path) -> anyhow::Result<()> {
    let (from, to) = (data.display().to_string(), copy(data).display().to_string());
    run("rm", &["-rf", &to])?;
    run("cp", &["-a", &from, &to]).map(drop)
}

/// Puts the copy in place of the disk of a node that is down.
///
/// # Errors
/// There is no copy, or it cannot be put there.
pub fn restore(data: &Path) -> anyhow::Result<()> {
    wipe(data)?;
    let from = copy(data).join(".").display().to_string();
    run("cp", &["-a", &from, &data.display().to_string()]).map(drop)
}
