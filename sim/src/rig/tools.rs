//! The programs and rights that the rig needs. A fault that cannot be made must not look like one
//! that was survived, so what is missing ends the run before it begins.

use anyhow::bail;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What each is for.
const NEEDED: [(&str, &str); 7] = [
    ("ip", "puts nodes into network namespaces (Debian: iproute2)"),
    ("tc", "slows links (Debian: iproute2)"),
    ("iptables", "cuts links and loses packets (Debian: iptables)"),
    ("iptables-restore", "changes all rules of a node at once (Debian: iptables)"),
    ("strace", "makes syncs slow or fail (Debian: strace)"),
    ("unshare", "keeps all of it from this machine's network (Debian: util-linux)"),
    ("mount", "gives a node a disk that can fill (Debian: mount)"),
];
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// # Errors
/// Names all that are missing, and how to get them.
pub fn check() -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let is_there = |name: &str| folders.iter().any(|folder| folder.join(name).is_file());
    let mut missing: Vec<String> = NEEDED
        .iter()
        .filter(|(name, _)| !is_there(name))
        .map(|(name, what)| format!("{name}, which {what}"))
        .collect();
    if faketime().is_none() {
        missing.push(format!("{LIBRARY}, which shifts a node's clock (Debian: faketime)"));
    }
    if !missing.is_empty() {
        bail!("`.ci/setup chaos` installs what is missing here:\n  {}", missing.join("\n  "));
    }
    let probe = isolated().args(["ip", "link", "set", "lo", "up"]).stdin(Stdio::null()).output()?;
    if !probe.status.success() {
        let said = String::from_utf8_lossy(&probe.stderr);
        bail!("it needs root, or the right to make user namespaces; unshare: {}", said.trim());
    }
    Ok(())
}

/// The library that shifts clocks.
pub fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders.map(|folder| folder.path().join(LIBRARY)).find(|file| file.is_file());
    found.or_else(|| Some(Path::new("/usr/lib").join(LIBRARY)).filter(|file| file.is_file()))
}

/// A command that runs the one in its arguments: with its own network, processes and `/run`, where
/// named network namespaces are kept.
pub fn isolated() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$@\"", "sh"]);
    command
}

/// Whether this process is root's.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
