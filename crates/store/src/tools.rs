//! What operators do with a store that is not in use: look at it, check it, read it out, mend it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{Message, Target};

use crate::error::OpenError;
use crate::files::{Directory, Files};
use crate::log::file_name;
use crate::ops::{self, Op};
use crate::recovery::Recovery;
use crate::report::{self, Kind, Report, SUBSCRIPTION};
use crate::store::StoreOptions;

/// Reads a whole store, checks every byte of it, and changes nothing: for `tramline store inspect` and `verify`. A store
/// that is in use is read as it is at the time.
///
/// # Errors
///
/// [`OpenError`] if the directory cannot be read; damage is in the report.
///
/// # Example: what a store has
///
/// ```
/// # let directory = std::env::temp_dir().join(format!("tramline-doc-inspect-{}", std::process::id()));
/// # tramline_store::Store::open(&directory)?.close()?;
/// let report = tramline_store::inspect(&directory)?;
/// assert!(report.was_closed && !report.has_losses());
/// assert_eq!(report.messages(), 0);
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inspect(directory: impl AsRef<Path>) -> Result<Report, OpenError> {
    let files = Directory::read_only(directory.as_ref())?;
    Ok(Recovery::read(&files)?.report)
}

/// Writes all messages, queue by queue and in order, as STOMP frames SEND that any client can send again; changes
/// nothing. Those of durable subscriptions go to their topic again, once for each subscription. For `tramline store
/// export`.
///
/// # Errors
///
/// [`OpenError`] if the directory cannot be read or `out` not written; damage is in the report.
pub fn export(directory: impl AsRef<Path>, out: &mut dyn Write) -> Result<Report, OpenError> {
    let files: Arc<dyn Files> = Arc::new(Directory::read_only(directory.as_ref())?);
    let recovery = Recovery::read(&*files)?;
    let all = recovery.queues.iter();
    for queue in all.filter(|queue| matches!(report::kind_of(&queue.name), Kind::Queue)) {
        for key in &queue.keys {
            let found = recovery
                .sealed
                .iter()
                .find_map(|(number, file)| Some((*number, file, file.index.offset(key.0)?)));
            let Some((number, file, offset)) = found else {
                continue;
            };
            let content =
                crate::log::read_record(&*files, &file_name(number), &file.header, offset)
                    .map_err(io::Error::other)?;
            let stored = ops::ops(&content).find_map(|op| match op? {
                Op::Enqueue(stored) if stored.key == key.0 => Some(stored),
                _ => None,
            });
            if let Some(publish) = stored.and_then(|stored| stored.message())
                && let Target::Destination(destination) = &publish.target
            {
                let shown = Message::new(publish.clone(), ByteString::new(), None);
                let destination = match queue.name.starts_with(SUBSCRIPTION) {
                    true => shown.destination(),
                    false => destination,
                };
                write_frame(out, destination, &publish)?;
            }
        }
    }
    Ok(recovery.report)
}

/// Opens a store for writing, which cuts what was never confirmed and sets aside what is damaged, and closes it again.
/// For `tramline store repair`; an application that opens its store does the same.
///
/// # Errors
///
/// [`OpenError`].
pub fn repair(directory: impl AsRef<Path>) -> Result<Report, OpenError> {
    let path = directory.as_ref();
    // A directory without a store is a wrong path, no reason to make one.
    Directory::read_only(path)?;
    let files = Directory::open(path)?.ok_or_else(|| OpenError::InUse { path: path.into() })?;
    let recovery = Recovery::read(&files)?;
    if recovery.report.is_new {
        let error = io::Error::new(
            io::ErrorKind::NotFound,
            "there is no store in the directory",
        );
        return Err(error.into());
    }
    let file_bytes = StoreOptions::default().file_bytes;
    let (mut log, report, _) = recovery.open(Arc::new(files), file_bytes)?;
    log.close()?;
    Ok(report)
}

fn write_frame(
    out: &mut dyn Write,
    destination: &str,
    publish: &tramline_broker::Publish,
) -> io::Result<()> {
    let header = |out: &mut dyn Write, name: &str, value: &str| {
        out.write_all(escaped(name).as_bytes())?;
        out.write_all(b":")?;
        out.write_all(escaped(value).as_bytes())?;
        out.write_all(b"\n")
    };
    out.write_all(b"SEND\n")?;
    header(out, "destination", destination)?;
    for (name, value) in publish.headers.iter() {
        if !matches!(name, "destination" | "content-length") {
            header(out, name, value)?;
        }
    }
    header(out, "content-length", &publish.body.len().to_string())?;
    out.write_all(b"\n")?;
    out.write_all(&publish.body)?;
    out.write_all(b"\0\n")
}

/// Escapes a header's name or value as STOMP 1.2 does.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => escaped.push_str("\\\\"),
            '\r' => escaped.push_str("\\r"),
            '\n' => escaped.push_str("\\n"),
            ':' => escaped.push_str("\\c"),
            _ => escaped.push(char),
        }
    }
    escaped
}
