//! A store on disk for the queues of Tramline's embedded broker.
//!
//! ```text
//!   publisher ── append ──▶ buffer ── write ──▶ file ── fdatasync ──▶ receipts
//!                            ▲ one thread: what comes while it syncs goes with the next sync
//! ```
//!
//! * **What was confirmed is kept.** With [`Durability::Synced`](tramline_broker::Durability) a publisher has its
//!   confirmation after `fdatasync`. A transaction is one record: all of it counts, or nothing; so is a dead letter and
//!   its removal. An `fdatasync` that fails is the last one: the store confirms nothing more, and says so.
//! * **What is damaged is named.** [`Store::open`] reads and checks every byte. It tells a write that was under way when
//!   the machine stopped from damage, reads what is before and behind damage, sets damaged files aside, and its
//!   [`Report`] names file, offset and what is gone.
//! * **Backlogs may be larger than memory**: bodies are on disk, and a waiting message takes sixteen bytes or so of
//!   memory.
//! * **Disk use is bounded**: [`StoreOptions::max_bytes`]. Old files are compacted while the store is in use.
//!
//! It does not replicate: what the machine loses is lost. The format is described in `FORMAT.md`.
//!
//! [`inspect`], [`export`] and [`repair`] are for operators.

mod compaction;
mod error;
mod files;
mod index;
mod log;
mod ops;
mod record;
mod recovery;
mod report;
mod store;
mod tools;

pub use self::error::OpenError;
pub use self::files::Files;
pub use self::report::{Problem, QueueReport, Report};
pub use self::store::{Store, StoreOptions};
pub use self::tools::{export, inspect, repair};
