//! Between CONNECT and CONNECTED: who it is.

use std::sync::Arc;

use bytestring::ByteString;
use tramline_stomp::{Connect, ErrorReply};

use super::StompSession;
use super::end::End;
use super::pending::{Waiting, Work};
use crate::app::login::ConnectRefused;
use crate::model::inbound::{Cause, Inbound};
use crate::model::log::log_client;
use crate::model::panics::{Caught, Panic, caught};
use crate::model::user::User;

impl StompSession {
    /// Asks the application who this is, where it wants to be asked.
    pub(super) fn login(&mut self, frame: Connect) -> Option<Work> {
        let stack = Arc::clone(&self.stack);
        let Some(login) = stack.routes.connect() else {
            return self.connect(&Arc::new(frame));
        };
        let headers = frame.headers.clone();
        let frame = Arc::new(frame);
        let cause = Cause::Connect(Arc::clone(&frame));
        let mut inbound = Inbound::new(Arc::clone(&self.record), cause, ByteString::new());
        inbound.headers = headers;
        match caught(|| login(inbound, ())) {
            Ok(future) => Some(Work::Login(Waiting::new(Caught(future), frame))),
            Err(panic) => {
                self.login_panicked(&panic);
                None
            }
        }
    }

    /// Goes on with the user that the login handler returned, which is the session's from now on.
    pub(super) fn logged_in(
        &mut self,
        login: Result<Result<Option<User>, ConnectRefused>, Panic>,
        frame: &Arc<Connect>,
    ) -> Option<Work> {
        match login {
            Ok(Ok(user)) => {
                self.record.set_user(user);
                return self.connect(frame);
            }
            Ok(Err(refused)) => {
                self.stack.counters.logins_refused.increment();
                self.login_failed(&refused.to_string());
            }
            Err(panic) => self.login_panicked(&panic),
        }
        None
    }

    fn login_panicked(&mut self, panic: &Panic) {
        self.stack.counters.handler_panics.increment();
        log_client!(
            ERROR if self.may_log(),
            { stack = %self.stack.name, session = %self.record.id() },
            "login handler panicked",
            panic
        );
        self.login_failed("the server failed to handle this login");
    }

    fn login_failed(&mut self, message: &str) {
        self.stomp.error(ErrorReply::new(message));
        self.state.end(End::Refused {
            what: "login refused",
            error: message.to_owned(),
        });
    }
}
