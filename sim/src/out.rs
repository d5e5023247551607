//! Prints to standard output. Whoever reads it may stop before the end, as `head` does: then the
//! program ends without a word, as the signal of that would end it.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::exit;

/// What a shell says of a program that the signal ended.
const NOBODY_READS: i32 = 141;

/// Prints a line, as `println!` does.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::out::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints text.
pub fn print(text: Arguments<'_>) {
    if let Err(error) = io::stdout().write_fmt(text) {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("cannot print: {error}");
            exit(1);
        }
        exit(NOBODY_READS);
    }
}
