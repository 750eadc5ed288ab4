//! Between CONNECT and CONNECTED: who it is.

use std::sync::Arc;

use bytestring::ByteString;
use tramline_stomp::{Connect, ErrorReply};

use super::StompSession;
use super::end::End;
use super::pending::{Waiting, Work};
use crate::app::login::{ConnectRefused, LoginFuture};
use crate::model::inbound::{Cause, Inbound};
use crate::model::log::log_client;
use crate::model::panics::{Caught, Panic, caught};
use crate::model::user::User;

impl StompSession {
    /// Asks the application who this is, where it wants to be asked.
    pub(super) fn login(&mut self, frame: Connect) -> Option<Work> {
        let stack = Arc::clone(&self.stack);
        let token = stack.tokens.as_ref().and_then(|tokens| {
            let of_request = self.take_token();
            Some((tokens, tokens.of_connect(&frame).or(of_request)?))
        });
        let handler = stack.routes.connect();
        if token.is_none() && handler.is_none() {
            return self.connect(&Arc::new(frame));
        }
        if let Some(wait) = stack.rates.login(&self.record, frame.login.as_deref()) {
            stack.counters.logins_refused.increment();
            let seconds = wait.as_secs() + 1;
            self.login_failed(&format!(
                "too many logins were refused; try again in {seconds} s"
            ));
            return None;
        }
        let headers = frame.headers.clone();
        let frame = Arc::new(frame);
        let cause = Cause::Connect(Arc::clone(&frame));
        let mut inbound = Inbound::new(Arc::clone(&self.record), cause, ByteString::new());
        inbound.headers = headers;
        let login = || -> LoginFuture {
            let handler = handler.cloned();
            let verify = token.map(|(tokens, token)| tokens.verify(token));
            let Some(verify) = verify else {
                let user = inbound.user();
                return match handler {
                    Some(handler) => handler(inbound, ()),
                    None => Box::pin(async { Ok(user) }),
                };
            };
            Box::pin(async move {
                let user = verify.await?;
                inbound.session.set_user(Some(user.clone()));
                match handler {
                    Some(handler) => handler(inbound, ()).await,
                    None => Ok(Some(user)),
                }
            })
        };
        match caught(login) {
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
                { &self.stack.rates }.login_refused(&self.record, frame.login.as_deref());
                if let Some(error) = refused.token() {
                    self.log_token(error);
                }
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

    pub(super) fn login_failed(&mut self, message: &str) {
        self.stomp.error(ErrorReply::new(message));
        self.state.end(End::Refused {
            what: "login refused",
            error: message.to_owned(),
        });
    }
}
