//! The tie between sockets and web sessions: CSRF tokens in CONNECT, ends and activity.

use tramline::MessagingBuilder;
use tramline::events::Event;
use tramline::interceptor::{ClientFrame, Interceptor, Refusal};

use crate::csrf::CSRF_HEADER;
use crate::live::WebSession;
use crate::login::Login;

struct Tie {
    csrf: bool,
}

impl Interceptor for Tie {
    fn inbound(&self, frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
        let Some(WebSession(live)) = frame.handshake().extension::<WebSession>() else {
            return Ok(());
        };
        if frame.command() == "CONNECT" {
            if let Some(reason) = live.ended() {
                return Err(Refusal::close(reason));
            }
            if self.csrf {
                let sent = frame.headers().and_then(|headers| {
                    let mut headers = headers.iter();
                    headers.find(|(name, _)| name.eq_ignore_ascii_case(CSRF_HEADER))
                });
                match sent {
                    Some((_, token)) if live.csrf.matches(token) => {}
                    Some(_) => return Err(Refusal::close(WRONG)),
                    None => return Err(Refusal::close(MISSING)),
                }
            }
        }
        live.mark_active();
        Ok(())
    }
}

const MISSING: &str = "CONNECT has no header X-CSRF-TOKEN: a page that logs in by a cookie asks the server for \
     its token (by default at /csrf) and sends it";

const WRONG: &str = "the X-CSRF-TOKEN of CONNECT is not that of this login: ask for it again";

impl Login {
    /// Ties the sessions of a messaging stack to the web sessions that opened them.
    ///
    /// * A CONNECT of a client that a cookie logs in needs the [CSRF token](crate#cross-site-requests).
    /// * A session is closed with 1008 and the reason when its web session ends: by logout, by one of its ends in time, by
    ///   [`revoke_user`](Self::revoke_user) or [`revoke`](Self::revoke).
    /// * Every frame of a client but its heart-beats prolongs the web session.
    /// * [`Extension<WebSession>`](WebSession) is an argument of its handlers.
    ///
    /// Sessions that no cookie logged in, over TCP or by HTTP Basic, are not concerned.
    pub fn bind(&self, builder: MessagingBuilder) -> MessagingBuilder {
        let login = self.clone();
        builder
            .keep_extension::<WebSession>()
            .interceptor(Tie { csrf: self.csrf() })
            .on_event(move |event| match event {
                Event::Connect { session } => {
                    if let Some(WebSession(live)) = session.handshake().extension::<WebSession>() {
                        login.start_sweeping();
                        live.hold_stomp(session.clone());
                    }
                }
                Event::Disconnected { session, .. } => {
                    if let Some(WebSession(live)) = session.handshake().extension::<WebSession>() {
                        live.release(session.id());
                    }
                }
                _ => {}
            })
    }
}
