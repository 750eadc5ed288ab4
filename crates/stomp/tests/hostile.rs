//! Whatever a client sends, the server's machine does not panic, and fails at most once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*, sample::select};
use tramline_stomp::{AckMode, Bytes, DeliveryId, ServerConfig, ServerConnection, ServerEvent};

const FRAGMENTS: [&str; 24] = [
    "CONNECT\naccept-version:1.2\nheart-beat:10,10\n\n\0",
    "CONNECT\n\n\0",
    "SEND\ndestination:/a\n\nx\0",
    "SUBSCRIBE\nid:1\ndestination:/t\n\n\0",
    "SUBSCRIBE\nid:2\ndestination:/t\nreceipt:r\n\n\0",
    "UNSUBSCRIBE\nid:1\n\n\0",
    "DISCONNECT\nreceipt:bye\n\n\0",
    "SUBSCRIBE\nid:3\ndestination:/q\nack:client\n\n\0",
    "ACK\nid:1\n\n\0",
    "ACK\nid:0-1\nmessage-id:m\nsubscription:3\n\n\0",
    "NACK\nid:0-1\nmessage-id:m\nsubscription:3\ntransaction:t\n\n\0",
    "BEGIN\ntransaction:t\n\n\0",
    "SEND\ndestination:/a\ntransaction:t\n\nx\0",
    "COMMIT\ntransaction:t\n\n\0",
    "ABORT\ntransaction:t\n\n\0",
    "DISCONNECT\n\n\0",
    "SEND\n",
    "content-length:2\n",
    "\n",
    "\r",
    "\0",
    "\\",
    ":",
    "x",
];

proptest! {
    #[test]
    fn any_input_in_any_state(steps in vec((select(FRAGMENTS.to_vec()), 0u8..8, 0u64..40), 0..40)) {
        let mut now = Instant::now();
        let mut server = ServerConnection::new(Arc::new(ServerConfig::default()), now);
        let (mut failures, mut errors, mut last_slot) = (0, 0, None);
        let mut open = Vec::new();
        for (fragment, action, millis) in steps {
            now += Duration::from_millis(millis);
            server.receive(Bytes::from_static(fragment.as_bytes()), now);
            match action {
                0 => server.handle_timeout(now),
                1 => server.accept(Some("a"), None, now),
                2 => server.pause_reading(millis % 2 == 0, now),
                3 => server.receipt("r"),
                _ => {}
            }
            while let Some(event) = server.poll_event() {
                prop_assert_eq!(failures, 0, "{:?} after a failure", event);
                match event {
                    ServerEvent::Connect(_) if action != 4 => server.accept(None, None, now),
                    ServerEvent::Failed(_) => failures += 1,
                    ServerEvent::Subscribe(subscribe) => {
                        prop_assert!(last_slot < Some(subscribe.slot));
                        last_slot = Some(subscribe.slot);
                        prop_assert!(server.message_head(subscribe.slot).is_some());
                        prop_assert_eq!(server.ack_mode(subscribe.slot), Some(subscribe.ack));
                    }
                    ServerEvent::Begin(begin) => {
                        prop_assert!(!open.contains(&begin.id));
                        open.push(begin.id);
                    }
                    ServerEvent::Commit(end) | ServerEvent::Abort(end) => {
                        prop_assert!(open.contains(&end.id));
                        open.retain(|id| *id != end.id);
                    }
                    ServerEvent::Send(send) => {
                        prop_assert!(send.transaction.is_none_or(|id| open.contains(&id)));
                    }
                    ServerEvent::Ack(ack) | ServerEvent::Nack(ack) => {
                        prop_assert!(ack.transaction.is_none_or(|id| open.contains(&id)));
                        if let DeliveryId::Tag { slot, .. }
                        | DeliveryId::Message { slot: Some(slot), .. } = ack.delivery
                        {
                            let mode = server.ack_mode(slot);
                            prop_assert!(mode.is_some_and(|mode| mode != AckMode::Auto));
                        }
                    }
                    _ => {}
                }
            }
            while let Some(bytes) = server.poll_transmit() {
                prop_assert_eq!(errors, 0, "{:?} after ERROR", bytes);
                errors += usize::from(bytes.starts_with(b"ERROR\n"));
            }
        }
        prop_assert_eq!(failures, errors);
        prop_assert_eq!(server.is_failed(), failures == 1);
    }
}
