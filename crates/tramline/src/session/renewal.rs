//! The end of a token, and its renewal on the live connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytestring::ByteString;
use serde_json::json;
use tramline_broker::{Destination, Headers, Publish, Target};
use tramline_stomp::Send;

use super::StompSession;
use super::end::End;
use super::pending::{About, Check, Work};
use super::rights::{Expiry, Pace};
use crate::app::token::{TokenError, VerifyFuture, of_headers};
use crate::model::clock::wall_clock;
use crate::model::log::log_client;
use crate::model::panics::{Caught, Panic, caught};
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::secret::Secret;
use crate::model::user::User;
use crate::net::wheel::{after, earliest};
use crate::stack::builder::NOTICES;

/// The code for a session whose rights have ended.
const POLICY_VIOLATION: u16 = 1008;

const EXPIRED: &str = "the login has expired; connect again with a new one";

impl StompSession {
    /// The token of the HTTP request, once.
    pub(super) fn take_token(&mut self) -> Option<Secret> {
        self.order.rights_mut()?.of_request.take()
    }

    /// The time at which the rights have to be looked at.
    #[inline]
    pub(super) fn rights_deadline(&self) -> Option<Instant> {
        let rights = self.order.rights()?;
        if !self.state.is_open() {
            return None;
        }
        let expiry = rights.expiry.as_ref();
        earliest([
            rights.rechecks.due,
            rights.pace.as_ref().map(|pace: &Pace| pace.until),
            expiry.and_then(|expiry| expiry.notice),
            expiry.map(|expiry| expiry.end),
        ])
    }

    /// Does what is due.
    pub(super) fn handle_rights(&mut self) {
        let now = self.stack.wheel.now();
        let is_open = self.state.is_open();
        let Some(rights) = self.order.rights_mut().filter(|_| is_open) else {
            return;
        };
        let is_due = |at: &mut Instant| *at <= now;
        let recheck = rights.rechecks.due.is_some_and(|due| due <= now);
        let mut notice = false;
        if let Some(expiry) = &mut rights.expiry {
            if expiry.end <= now {
                self.state.end(End::Requested {
                    code: POLICY_VIOLATION,
                    reason: EXPIRED.into(),
                });
                return;
            }
            notice = expiry.notice.take_if(is_due).is_some();
        }
        if notice {
            self.tell_of_expiry("token-expiring");
        }
        if recheck {
            self.recheck();
        }
    }

    /// Returns why the user's rights have ended before they began.
    pub(super) fn wrong_user(&self, user: &User) -> Option<&'static str> {
        if user.expires_at().is_some_and(|at| at <= wall_clock()) {
            return Some(EXPIRED);
        }
        let tokens = self.stack.tokens.as_ref()?;
        tokens.is_revoked(user).then_some("the token was revoked")
    }

    /// Sets the time at which the rights of the session's user end.
    pub(super) fn set_expiry(&mut self) {
        let user = self.record.user();
        let Some(at) = user.and_then(|user| user.expires_at()) else {
            if let Some(rights) = self.order.rights_mut() {
                rights.expiry = None;
            }
            return;
        };
        let (now, left) = (self.stack.wheel.now(), left(at));
        let notice = self.stack.tokens.as_ref().map(|tokens| {
            let before = tokens.tokens.notice.min(left / 2);
            after(now, left - before)
        });
        self.order.rights_or_new().expiry = Some(Expiry {
            notice,
            end: after(now, left),
        });
    }

    /// Tells the client how long its rights last.
    fn tell_of_expiry(&mut self, kind: &str) {
        let Some(tokens) = &self.stack.tokens else {
            return;
        };
        let expires_at = self.record.user().and_then(|user| user.expires_at());
        let mut notice = json!({ "kind": kind, "renew-at": &*tokens.destination });
        if let Some(at) = expires_at {
            notice["expires-in"] = left(at).as_secs().into();
        }
        let Ok(path) = Destination::parse(ByteString::from_static(NOTICES)) else {
            return;
        };
        let target = Target::Session {
            id: self.record.id(),
            path,
        };
        let mut headers = Headers::new();
        headers.push("content-type", "application/json");
        let notice = Publish::new(target, headers, notice.to_string());
        // Ready, since it is delivered on this node.
        drop(self.stack.publisher.notify(self.record.id(), vec![notice]));
    }

    /// A SEND with a new token.
    pub(super) fn renew(&mut self, send: Send) -> Option<Work> {
        let about = About::of(send.destination, &send.headers).with_receipt(send.receipt);
        if send.transaction.is_some() {
            let wrong = "a token is not renewed in a transaction";
            return Some(self.not_renewed(wrong, about));
        }
        let token = of_headers(&send.headers).or_else(|| {
            let body = std::str::from_utf8(&send.body).ok()?.trim();
            (!body.is_empty()).then(|| Secret::new(body))
        });
        let (Some(token), Some(tokens)) = (token, &self.stack.tokens) else {
            let wrong =
                "there is no token: send it as `Authorization: Bearer TOKEN`, or as the body";
            return Some(self.not_renewed(wrong, about));
        };
        match caught(|| tokens.verify(token)) {
            Ok(verify) => {
                let deadline = after(self.stack.wheel.now(), self.stack.limits.handler_time);
                Some(Work::Check(Box::new(Renewing {
                    verify: Caught(verify),
                    deadline,
                    about: Some(about),
                })))
            }
            Err(panic) => Some(self.verify_panicked(&panic, about)),
        }
    }

    fn renewed(&mut self, verified: Result<User, TokenError>, about: About) -> Option<Work> {
        let user = match verified {
            Ok(user) => user,
            Err(error) => {
                self.log_token(&error);
                return Some(self.not_renewed(&error.to_string(), about));
            }
        };
        let before = self.record.user();
        let wrong = match before {
            None => Some("this session has no user; connect with the token"),
            Some(before) if before.name() != user.name() => Some("the token is another user's"),
            Some(_) => self.wrong_user(&user),
        };
        if let Some(wrong) = wrong {
            return Some(self.not_renewed(wrong, about));
        }
        self.record.set_user(Some(user.clone()));
        // A revocation either finds the session's new token, or is found here.
        if let Some(wrong) = self.wrong_user(&user) {
            self.state.end(End::Requested {
                code: POLICY_VIOLATION,
                reason: wrong.into(),
            });
            return None;
        }
        self.set_expiry();
        self.tell_of_expiry("token-renewed");
        self.recheck_all();
        self.receipt(about.receipt);
        None
    }

    fn not_renewed(&mut self, wrong: &str, about: About) -> Work {
        let rejection = Rejection::new(RejectionKind::TokenRefused, wrong);
        self.notify_refusal(&rejection, about)
    }

    fn verify_panicked(&mut self, panic: &Panic, about: About) -> Work {
        self.stack.counters.handler_panics.increment();
        log_client!(
            ERROR if self.may_log(),
            { stack = %self.stack.name, session = %self.record.id() },
            "the check of a token panicked",
            panic
        );
        self.not_renewed("the server failed to check this token", about)
    }

    /// Logs why a token is not taken.
    pub(super) fn log_token(&self, error: &TokenError) {
        macro_rules! log {
            ($level:ident $(if $may_log:expr)?) => {
                log_client!(
                    $level $(if $may_log)?,
                    { stack = %self.stack.name, session = %self.record.id() },
                    "token refused",
                    error.detail()
                )
            };
        }
        if error.is_fault() {
            log!(WARN if self.may_log());
        } else {
            log!(DEBUG);
        }
    }
}

/// A token that is checked.
struct Renewing {
    verify: Caught<VerifyFuture>,
    deadline: Instant,
    about: Option<About>,
}

impl Check for Renewing {
    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }

    fn poll(
        &mut self,
        session: &mut StompSession,
        context: &mut Context<'_>,
    ) -> Poll<Option<Work>> {
        let verified = match Pin::new(&mut self.verify).poll(context) {
            Poll::Pending if self.deadline <= session.stack.wheel.now() => {
                let limit = "it took longer than `Limits::handler_time`";
                Ok(Err(TokenError::unavailable(limit)))
            }
            verified => ready!(verified),
        };
        let Some(about) = self.about.take().filter(|_| !session.record.is_expelled()) else {
            return Poll::Ready(None);
        };
        Poll::Ready(match verified {
            Ok(verified) => session.renewed(verified, about),
            Err(panic) => Some(session.verify_panicked(&panic, about)),
        })
    }
}

/// The time from now until `at`.
fn left(at: SystemTime) -> Duration {
    at.duration_since(wall_clock()).unwrap_or_default()
}
