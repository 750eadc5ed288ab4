//! The contract, with two and with three nodes.

use std::sync::Arc;
use std::time::Duration;

use tramline_broker::Hub;
use tramline_broker::contract::Options;

use crate::engine::Engine;
use crate::engine::server::Server;
use crate::harsh::Harsh;

/// Longer than a message takes from one node to another.
fn options() -> Options {
    Options::default().quiet(Duration::from_millis(30))
}

fn plain(count: usize) -> Vec<Hub> {
    let server = Server::new();
    let nodes = (0..count).map(|_| Hub::new(Engine::new(server.clone())));
    nodes.collect()
}

fn harsh(count: usize, change: impl Fn(Harsh) -> Harsh) -> Vec<Hub> {
    let server = Server::new();
    let engines = (0..count).map(|_| change(Harsh::new(server.clone())));
    engines.map(|engine| Hub::new(Arc::new(engine))).collect()
}

mod plain_2 {
    tramline_broker::broker_contract! { || super::plain(2), super::options() }
}

mod plain_3 {
    tramline_broker::broker_contract! { || super::plain(3), super::options() }
}

mod late_2 {
    use crate::harsh::Harsh;

    tramline_broker::broker_contract! { || super::harsh(2, Harsh::late), super::options() }
}

mod late_3 {
    use crate::harsh::Harsh;

    tramline_broker::broker_contract! { || super::harsh(3, Harsh::late), super::options() }
}

mod wide_2 {
    use crate::harsh::Harsh;

    tramline_broker::broker_contract! { || super::harsh(2, Harsh::wide), super::options() }
}

mod wide_3 {
    use crate::harsh::Harsh;

    tramline_broker::broker_contract! { || super::harsh(3, Harsh::wide), super::options() }
}
