use bytes::Bytes;
use bytestring::ByteString;

use super::required::required;
use super::{
    Connect, Disconnect, PeerIncompatible, PeerViolation, Phase, Send, ServerConnection,
    ServerError, ServerEvent, Subscribe, Unsubscribe, subscriptions::NotAdded,
};
use crate::ack_mode::{AckMode, InvalidAckMode};
use crate::command::Command;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::heart_beat::{HeartBeat, InvalidHeartBeat, Margins};
use crate::text::excerpt;
use crate::version::Version;

impl ServerConnection {
    /// Handles a frame in this state.
    pub(super) fn frame(
        &mut self,
        frame: Frame,
        receipt: Option<ByteString>,
    ) -> Result<ServerEvent, ServerError> {
        let Frame {
            command,
            headers,
            body,
        } = frame;
        match (command, self.state) {
            (Command::Connect | Command::Stomp, Phase::Opening) => self.connect(headers),
            (Command::Connect | Command::Stomp, _) => Err(PeerViolation::AlreadyConnected.into()),
            (_, Phase::Opening) => Err(PeerViolation::NotConnected { command }.into()),
            (Command::Send, _) => self.send(headers, body, receipt),
            (Command::Subscribe, _) => self.subscribe(headers, receipt),
            (Command::Unsubscribe, _) => self.unsubscribe(headers, receipt),
            (Command::Ack | Command::Nack, _) => self.acknowledge(command, headers, receipt),
            (Command::Begin | Command::Commit | Command::Abort, _) => {
                self.transaction(command, &headers, receipt)
            }
            (Command::Disconnect, _) => {
                self.end(Phase::Disconnected);
                Ok(ServerEvent::Disconnect(Disconnect { receipt }))
            }
            (Command::Connected | Command::Message | Command::Receipt | Command::Error, _) => {
                Err(PeerViolation::ServerCommand { command }.into())
            }
        }
    }

    fn connect(&mut self, mut headers: Headers) -> Result<ServerEvent, ServerError> {
        if headers.encoded_len_hint() > self.config.max_connect_bytes {
            return Err(self.too_large().into());
        }
        let accept = headers.get("accept-version");
        let version =
            Version::highest_of(accept).ok_or_else(|| PeerIncompatible::NoCommonVersion {
                accept: excerpt(accept.unwrap_or_default()),
            })?;
        self.decoder.set_version(version);
        if version == Version::V1_0 {
            headers.trim_values();
        }
        let theirs = headers
            .get("heart-beat")
            .map_or(Ok(HeartBeat::NONE), str::parse)
            .map_err(|error: InvalidHeartBeat| PeerViolation::from(error))?;
        let margins = Margins {
            period: self.config.timer_period,
            min_silence: self.config.min_silence,
        };
        self.timers.agree(self.config.heart_beat, theirs, margins);
        self.state = Phase::Connecting;
        let passcode = headers.get_bytestring("passcode").cloned();
        headers.remove("passcode");
        Ok(ServerEvent::Connect(Connect {
            login: headers.get_bytestring("login").cloned(),
            passcode,
            host: headers.get_bytestring("host").cloned(),
            headers,
        }))
    }

    fn send(
        &self,
        headers: Headers,
        body: Bytes,
        receipt: Option<ByteString>,
    ) -> Result<ServerEvent, ServerError> {
        Ok(ServerEvent::Send(Send {
            destination: required(&headers, Command::Send, "destination")?,
            transaction: self.transactions.of(&headers)?,
            headers,
            body,
            receipt,
        }))
    }

    fn subscribe(
        &mut self,
        headers: Headers,
        receipt: Option<ByteString>,
    ) -> Result<ServerEvent, ServerError> {
        let command = Command::Subscribe;
        let destination = required(&headers, command, "destination")?;
        let id = self.subscription_id(&headers, command)?;
        let ack = headers
            .get("ack")
            .map_or(Ok(AckMode::Auto), str::parse)
            .map_err(|error: InvalidAckMode| PeerViolation::from(error))?;
        let limit = self.config.max_subscriptions;
        let slot = self
            .subscriptions
            .add(self.decoder.version(), &id, ack, limit)
            .map_err(|reason| match reason {
                NotAdded::IdInUse => PeerViolation::DuplicateSubscription { id: excerpt(&id) },
                NotAdded::TooMany => PeerViolation::TooManySubscriptions { limit },
            })?;
        Ok(ServerEvent::Subscribe(Subscribe {
            id,
            slot,
            destination,
            ack,
            headers,
            receipt,
        }))
    }

    fn unsubscribe(
        &mut self,
        headers: Headers,
        receipt: Option<ByteString>,
    ) -> Result<ServerEvent, ServerError> {
        let id = self.subscription_id(&headers, Command::Unsubscribe)?;
        let slot = self
            .subscriptions
            .remove_id(self.decoder.version(), &id)
            .ok_or_else(|| PeerViolation::UnknownSubscription { id: excerpt(&id) })?;
        Ok(ServerEvent::Unsubscribe(Unsubscribe {
            id,
            slot,
            headers,
            receipt,
        }))
    }

    /// Returns the header `id`; a 1.0 client may omit it, then its destination is the id.
    fn subscription_id(
        &self,
        headers: &Headers,
        command: Command,
    ) -> Result<ByteString, PeerViolation> {
        match headers.get_bytestring("id") {
            None if self.version() == Version::V1_0 => {
                let destination = headers.get_bytestring("destination").cloned();
                destination.ok_or(PeerViolation::MissingHeader {
                    command,
                    header: "id",
                })
            }
            _ => required(headers, command, "id"),
        }
    }
}
