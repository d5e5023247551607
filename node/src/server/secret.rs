//! The cluster secret: read from a file that only its owner can read, never printed, and never
//! used itself; each purpose has a key derived from it (HKDF-SHA-256).

use super::gossip;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Shortest secret, bytes without white space at its ends.
pub const SECRET_MIN: usize = 32;
const SECRET_MAX: u64 = 4_096;
/// Signs contexts where there is no secret; everyone knows it.
const DEVELOPMENT_KEY: [u8; 32] = *b"starling development context key";

/// How to make a secret file, for messages.
pub const HOW_TO_MAKE: &str = "(umask 077; head -c 32 /dev/urandom | base64 > cluster.secret), \
     then pass --secret-file cluster.secret to every node";

/// What all nodes of a cluster know and nobody else.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Reads a secret.
    ///
    /// # Errors
    /// The file cannot be read, is readable by others, or its content is too short or too long;
    /// the text says what to do.
    pub fn read(path: &Path) -> Result<Secret, String> {
        let at = path.display();
        let mut file = File::open(path).map_err(|e| format!("cannot read {at}: {e}"))?;
        let meta = file.metadata().map_err(|e| format!("cannot read {at}: {e}"))?;
        if !meta.is_file() || meta.len() > SECRET_MAX {
            return Err(format!("{at} is no file of at most {SECRET_MAX} bytes"));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(format!("{at} can be read by others; run: chmod 600 {at}"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| format!("cannot read {at}: {e}"))?;
        Secret::new(bytes.trim_ascii()).map_err(|length| {
            format!(
                "the secret in {at} has {length} bytes and needs at least {SECRET_MIN}; \
                 make one with: {HOW_TO_MAKE}"
            )
        })
    }

    /// From bytes.
    ///
    /// # Errors
    /// Their number, if they are fewer than [`SECRET_MIN`].
    pub fn new(bytes: &[u8]) -> Result<Secret, usize> {
        if bytes.len() < SECRET_MIN { Err(bytes.len()) } else { Ok(Secret(bytes.to_vec())) }
    }

    /// Reads the secret at `path`, or draws one and keeps it there.
    ///
    /// # Errors
    /// As [`Secret::read`], or it cannot be written.
    pub fn read_or_create(path: &Path) -> Result<Secret, String> {
        if !path.exists() {
            let bytes: [u8; 32] = rand::random();
            let written = write_private(path, &URL_SAFE_NO_PAD.encode(bytes));
            written.map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        }
        Secret::read(path)
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let expanded =
            Hkdf::<Sha256>::new(Some(b"starling"), &self.0).expand(purpose.as_bytes(), &mut key);
        assert!(expanded.is_ok(), "32 bytes are within what the derivation gives");
        key
    }

    /// For connections between nodes.
    pub fn peer_key(&self) -> [u8; 32] {
        self.derive("peer connections 1")
    }

    /// For gossip.
    pub fn gossip_key(&self) -> gossip::Key {
        gossip::Key { id: self.derive("gossip key id 1")[0], bytes: self.derive("gossip 1") }
    }
}

/// For contexts that clients carry.
pub fn context_key(secret: Option<&Secret>) -> [u8; 32] {
    secret.map_or(DEVELOPMENT_KEY, |secret| secret.derive("client contexts 1"))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&partial, path)
}
