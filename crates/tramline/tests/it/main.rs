//! The server as its clients meet it: sockets in, bytes out, everything between as it ships.
//!
//! Each module is a conversation topic; `support` has the server under test and clients that may misbehave.

mod acks;
mod building;
mod compression;
mod delivery;
mod ending;
mod handlers;
mod handshake;
mod late_broker;
mod login;
mod overflow;
mod policy;
mod queues;
mod raw;
mod scripts;
mod shutdown;
mod sockjs;
mod stomp;
mod support;
mod tcp;
mod transactions;
mod ui;
mod websocket;
