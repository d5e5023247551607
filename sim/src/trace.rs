//! The record of a run: one line an event, hashed as it is written and kept only when asked.
//!
//! Two runs are the same when their hashes are: every input of every node, what it did, and when,
//! goes through here.

use std::fmt;
use std::io::Write;
use xxhash_rust::xxh3::Xxh3;

/// Where lines go besides the hash.
pub type Sink = Box<dyn Write + Send>;

/// The record of one run.
pub struct Trace {
    hash: Xxh3,
    lines: u64,
    bytes: u64,
    line: String,
    sink: Option<Sink>,
    failed: Option<std::io::Error>,
}

impl Trace {
    /// A record that is also written to `sink`.
    pub fn new(sink: Option<Sink>) -> Self {
        Trace { hash: Xxh3::new(), lines: 0, bytes: 0, line: String::new(), sink, failed: None }
    }

    /// Adds one event at a virtual time.
    pub fn add(&mut self, at_us: u64, event: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.line.clear();
        writeln!(self.line, "{:>5}.{:06} {event}", at_us / 1_000_000, at_us % 1_000_000)
            .expect("writing to a string does not fail");
        self.hash.update(self.line.as_bytes());
        self.lines += 1;
        self.bytes += self.line.len() as u64;
        if let Some(sink) = &mut self.sink
            && self.failed.is_none()
        {
            self.failed = sink.write_all(self.line.as_bytes()).err();
        }
    }

    /// Over all lines so far.
    pub fn digest(&self) -> u64 {
        self.hash.digest()
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// How long they are together, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// Some line could not be written.
    pub fn finish(mut self) -> std::io::Result<()> {
        match (self.failed.take(), &mut self.sink) {
            (Some(error), _) => Err(error),
            (None, Some(sink)) => sink.flush(),
            (None, None) => Ok(()),
        }
    }
}
