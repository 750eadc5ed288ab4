//! The server as its clients meet it: sockets in, bytes out, everything between as it ships.
//!
//! Each module is a conversation topic; `support` has the server under test and clients that may misbehave.

mod acks;
mod before_login;
mod building;
mod bursts;
mod compression;
mod concurrent;
#[cfg(feature = "console")]
mod console;
mod delivery;
#[cfg(feature = "durable")]
mod durable;
mod ending;
mod events;
mod extractors;
mod handlers;
mod handshake;
mod health;
mod history;
mod interceptors;
mod late_broker;
mod log;
mod login;
#[cfg(feature = "metrics")]
mod metrics;
mod mounting;
mod overflow;
mod policy;
mod presence;
mod queues;
mod raw;
mod refusals;
mod registry;
mod replies;
mod routes;
mod scripts;
#[cfg(feature = "serve")]
mod serve;
mod sessions;
mod shutdown;
mod sockjs;
mod stomp;
mod subscribe_handlers;
mod support;
mod tcp;
mod temporary;
mod times;
#[cfg(all(feature = "serve", feature = "tls"))]
mod tls;
mod transactions;
mod turns;
mod ui;
mod websocket;
