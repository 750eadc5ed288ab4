//! The contract, over two and over three nodes.

use std::time::Duration;

use tramline_broker::Hub;
use tramline_broker::contract::Options;

use crate::engine::{Engine, server::Server};

/// Longer than a message takes from one node to another.
fn options() -> Options {
    Options::default().quiet(Duration::from_millis(30))
}

fn plain(count: usize) -> Vec<Hub> {
    let server = Server::new();
    (0..count)
        .map(|_| Hub::new(Engine::new(server.clone())))
        .collect()
}

mod plain_2 {
    tramline_broker::broker_contract! { || super::plain(2), super::options() }
}

mod plain_3 {
    tramline_broker::broker_contract! { || super::plain(3), super::options() }
}
