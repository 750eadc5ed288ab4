//! Between CONNECT and CONNECTED: who it is.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_stomp::{Connect, ErrorReply};

use super::Session;
use super::end::End;
use super::work::{Step, Work};
use crate::app::login::LoginFuture;
use crate::model::inbound::{Cause, Inbound};
use crate::model::panics::panic_text;

impl Session {
    /// Asks the application who this is, where it wants to be asked.
    pub(super) fn login(&mut self, frame: Connect, context: &mut Context<'_>) {
        let shared = Arc::clone(&self.shared);
        let Some(login) = shared.routes.connect() else {
            return self.connect(context);
        };
        let headers = frame.headers.clone();
        let cause = Cause::Connect(Arc::new(frame));
        let mut inbound = Inbound::new(Arc::clone(&self.record), cause, ByteString::new());
        inbound.headers = headers;
        match std::panic::catch_unwind(AssertUnwindSafe(|| login(inbound, ()))) {
            Ok(future) => self.step(Work::Login { future }, context),
            Err(panic) => self.login_panicked(&*panic),
        }
    }

    /// Goes on with the login; its user is the session's from then on.
    pub(super) fn poll_login(
        &mut self,
        mut future: LoginFuture,
        context: &mut Context<'_>,
    ) -> Step {
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => return Step::Waits(Work::Login { future }),
            Ok(Poll::Ready(Ok(user))) => {
                self.record.log_in(user);
                self.connect(context);
            }
            Ok(Poll::Ready(Err(refused))) => {
                self.shared.counters.logins_refused.increment();
                self.login_failed(&refused.to_string());
            }
            Err(panic) => self.login_panicked(&*panic),
        }
        Step::Done(None)
    }

    fn login_panicked(&mut self, panic: &(dyn Any + Send)) {
        self.shared.counters.handler_panics.increment();
        tracing::error!(
            stack = %self.shared.name,
            session = %self.record.id(),
            panic = panic_text(panic),
            "login handler panicked"
        );
        self.login_failed("the server failed to handle this login");
    }

    fn login_failed(&mut self, message: &str) {
        self.connect_by = None;
        self.stomp.error(ErrorReply::new(message));
        self.end_with(End::Refused {
            error: message.to_owned(),
        });
    }
}
