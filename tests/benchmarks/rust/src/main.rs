//! `seed-fold FILE`: what `behest fold FILE` does, a state on each line.

use std::io::{BufWriter, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("which file?")?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    seed::lines(&std::fs::read(file)?, |state| {
        let written = serde_json::to_writer(&mut out, &state).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|()| out.write_all(b"\n")) {
            failed = Some(error);
        }
    })?;
    out.flush()?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
