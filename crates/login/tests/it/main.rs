//! Applications with a login behind a real server, and what browsers, programs and attackers do there.

mod csrf;
mod ends;
mod forms;
mod guessing;
mod sockets;
mod support;
