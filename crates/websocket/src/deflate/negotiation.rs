//! Offer and response (RFC 7692 §5 and §7.1).

use thiserror::Error;

use super::header::{Extension, parse};
use super::{Agreement, Deflate, Direction, MAX_WINDOW_BITS, MIN_WINDOW_BITS};

impl Deflate {
    /// Chooses, as a server, among the offers of a request's `Sec-WebSocket-Extensions` values.
    ///
    /// Accepts the first offer of permessage-deflate that can be met. Offers with an unknown parameter, a repeated
    /// parameter or a value out of range are skipped, and so are other extensions. Returns `None` if no offer remains:
    /// then send no `Sec-WebSocket-Extensions`, and nothing is compressed (RFC 7692 §5.1).
    ///
    /// # Example: the second offer is accepted
    ///
    /// ```
    /// use tramline_websocket::Deflate;
    ///
    /// let offers = "permessage-deflate; from_the_future, permessage-deflate; server_max_window_bits=10";
    /// let agreement = Deflate::default().with_takeover(true, true).accept([offers]).unwrap();
    /// assert_eq!(agreement.response(), "permessage-deflate; server_max_window_bits=10");
    /// assert_eq!(Deflate::default().accept(["x-webkit-deflate-frame"]), None);
    /// ```
    #[must_use]
    pub fn accept<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> Option<Agreement> {
        let own = self.in_range();
        values
            .into_iter()
            .filter_map(|value| parse(value).ok())
            .flatten()
            .filter(|extension| extension.name.eq_ignore_ascii_case(NAME))
            .find_map(|offer| Some(own.accept_one(&Parameters::of_offer(&offer).ok()?)))
    }

    fn accept_one(&self, offer: &Parameters) -> Agreement {
        let client_window = match offer.client_window {
            Some(Some(bits)) => bits.min(self.client_window_bits),
            Some(None) => self.client_window_bits,
            None => MAX_WINDOW_BITS,
        };
        let server_window = offer.server_window.unwrap_or(MAX_WINDOW_BITS);
        Agreement {
            above: self.above,
            level: self.level,
            server: Direction {
                takeover: self.server_takeover && !offer.server_no_takeover,
                window_bits: server_window.min(self.server_window_bits),
            },
            client: Direction {
                takeover: self.client_takeover && !offer.client_no_takeover,
                window_bits: client_window,
            },
            // The server's window is echoed if the offer has it; the client's may be set only if it was offered.
            names_server_window: offer.server_window.is_some()
                || self.server_window_bits < MAX_WINDOW_BITS,
            names_client_window: offer.client_window.is_some() && client_window < MAX_WINDOW_BITS,
        }
    }

    /// Returns the value of a client request's `Sec-WebSocket-Extensions`.
    ///
    /// # Example: default and other settings
    ///
    /// ```
    /// use tramline_websocket::Deflate;
    ///
    /// assert_eq!(
    ///     Deflate::default().offer(),
    ///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
    /// );
    /// assert_eq!(
    ///     Deflate::default().with_takeover(true, true).with_window_bits(12, 11).offer(),
    ///     "permessage-deflate; server_max_window_bits=12; client_max_window_bits=11",
    /// );
    /// ```
    #[must_use]
    pub fn offer(&self) -> String {
        let own = self.in_range();
        let mut offer = String::from(NAME);
        if !own.server_takeover {
            offer.push_str("; server_no_context_takeover");
        }
        if !own.client_takeover {
            offer.push_str("; client_no_context_takeover");
        }
        if own.server_window_bits < MAX_WINDOW_BITS {
            window(&mut offer, SERVER_WINDOW, own.server_window_bits);
        }
        match own.client_window_bits {
            MAX_WINDOW_BITS => offer.push_str("; client_max_window_bits"),
            bits => window(&mut offer, CLIENT_WINDOW, bits),
        }
        offer
    }

    /// Checks, as a client that made this [`offer`](Self::offer), the `Sec-WebSocket-Extensions` values of the
    /// response. Returns `None` if the server does not compress.
    ///
    /// # Errors
    ///
    /// If the response is invalid. The client must fail the connection then (RFC 7692 §5.1).
    ///
    /// # Example: a server may reduce the window
    ///
    /// ```
    /// use tramline_websocket::Deflate;
    ///
    /// let deflate = Deflate::default().with_takeover(true, true);
    /// assert!(deflate.confirm(["permessage-deflate; client_max_window_bits=10"])?.is_some());
    /// assert!(deflate.confirm([])?.is_none());
    /// let error = deflate.confirm(["permessage-deflate; client_max_window_bits=7"]).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the server's parameter client_max_window_bits=7 is not a number from 8 to 15",
    /// );
    /// # Ok::<(), tramline_websocket::NegotiationError>(())
    /// ```
    pub fn confirm<'a>(
        &self,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Agreement>, NegotiationError> {
        let own = self.in_range();
        let mut agreed = None;
        for value in values {
            for response in parse(value).map_err(|_| NegotiationError::Malformed)? {
                if !response.name.eq_ignore_ascii_case(NAME) {
                    let name = response.name.to_owned();
                    return Err(NegotiationError::NotOffered { name });
                }
                let parameters = Parameters::of_response(&response)?;
                if agreed.replace(own.confirm_one(&parameters)?).is_some() {
                    return Err(NegotiationError::Twice);
                }
            }
        }
        Ok(agreed)
    }

    fn confirm_one(&self, response: &Parameters) -> Result<Agreement, NegotiationError> {
        if !self.server_takeover && !response.server_no_takeover {
            return Err(NegotiationError::Ignored {
                parameter: "server_no_context_takeover",
            });
        }
        let server_window = response.server_window.unwrap_or(MAX_WINDOW_BITS);
        if server_window > self.server_window_bits {
            return Err(NegotiationError::Ignored {
                parameter: "server_max_window_bits",
            });
        }
        let client_window = response.client_window.flatten().unwrap_or(MAX_WINDOW_BITS);
        Ok(Agreement {
            above: self.above,
            level: self.level,
            server: Direction {
                takeover: !response.server_no_takeover,
                window_bits: server_window,
            },
            client: Direction {
                takeover: self.client_takeover && !response.client_no_takeover,
                window_bits: client_window.min(self.client_window_bits),
            },
            names_server_window: response.server_window.is_some(),
            names_client_window: response.client_window.is_some(),
        })
    }

    /// Clamps every number to its range.
    pub(super) fn in_range(mut self) -> Self {
        self.level = self.level.clamp(1, 9);
        for bits in [&mut self.server_window_bits, &mut self.client_window_bits] {
            *bits = (*bits).clamp(MIN_WINDOW_BITS + 1, MAX_WINDOW_BITS);
        }
        self
    }
}

impl Agreement {
    /// Returns the value of the server response's `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn response(&self) -> String {
        let mut response = String::from(NAME);
        if !self.server.takeover {
            response.push_str("; server_no_context_takeover");
        }
        if !self.client.takeover {
            response.push_str("; client_no_context_takeover");
        }
        if self.names_server_window {
            window(&mut response, SERVER_WINDOW, self.server.window_bits);
        }
        if self.names_client_window {
            window(&mut response, CLIENT_WINDOW, self.client.window_bits);
        }
        response
    }
}

fn window(text: &mut String, name: &str, bits: u8) {
    text.push_str(&format!("; {name}={bits}"));
}

/// A server's response to an offer of permessage-deflate is invalid. Every variant is the server's fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The header does not follow the grammar of RFC 6455 §9.1.
    #[error(
        "the server's Sec-WebSocket-Extensions cannot be read; a list of names and parameters goes there"
    )]
    Malformed,
    /// The server enabled an extension that was not offered (RFC 6455 §9.1).
    #[error("the server turned on the extension {name}, which was not offered")]
    NotOffered {
        /// The extension.
        name: String,
    },
    /// The server answered one offer twice.
    #[error("the server turned on permessage-deflate twice; once is enough")]
    Twice,
    /// A parameter that RFC 7692 does not have.
    #[error("the server's parameter {parameter} is none of permessage-deflate's")]
    UnknownParameter {
        /// Its name.
        parameter: String,
    },
    /// A repeated parameter.
    #[error("the server's parameter {parameter} stands twice")]
    RepeatedParameter {
        /// Its name.
        parameter: &'static str,
    },
    /// A window size out of range.
    #[error("the server's parameter {parameter}={value} is not a number from 8 to 15")]
    WindowOutOfRange {
        /// Its name.
        parameter: &'static str,
        /// Its value; empty if it has none.
        value: String,
    },
    /// A value for a parameter that takes none.
    #[error("the server's parameter {parameter}={value} takes no value")]
    UnexpectedValue {
        /// Its name.
        parameter: &'static str,
        /// Its value.
        value: String,
    },
    /// The server accepted an offer without a parameter that it requires.
    #[error("the server took the offer and did not answer its {parameter}")]
    Ignored {
        /// The parameter of the offer.
        parameter: &'static str,
    },
}

/// The parameters of one offer or response.
#[derive(Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_window: Option<u8>,
    /// An offer may leave the number to the server.
    client_window: Option<Option<u8>>,
}

impl Parameters {
    fn of_offer(offer: &Extension<'_>) -> Result<Self, NegotiationError> {
        let mut read = Self::default();
        for (name, value) in &offer.parameters {
            match (*name, value.as_deref()) {
                (CLIENT_WINDOW, None) => read.set_client_window(None)?,
                (name, value) => read.set(name, value)?,
            }
        }
        Ok(read)
    }

    fn of_response(response: &Extension<'_>) -> Result<Self, NegotiationError> {
        let mut read = Self::default();
        for (name, value) in &response.parameters {
            read.set(name, value.as_deref())?;
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), NegotiationError> {
        match name {
            SERVER_NO_TAKEOVER => {
                no_value(SERVER_NO_TAKEOVER, value)?;
                once(SERVER_NO_TAKEOVER, &mut self.server_no_takeover)
            }
            CLIENT_NO_TAKEOVER => {
                no_value(CLIENT_NO_TAKEOVER, value)?;
                once(CLIENT_NO_TAKEOVER, &mut self.client_no_takeover)
            }
            SERVER_WINDOW => {
                once(SERVER_WINDOW, &mut self.server_window.is_some())?;
                self.server_window = Some(window_bits(SERVER_WINDOW, value)?);
                Ok(())
            }
            CLIENT_WINDOW => self.set_client_window(Some(window_bits(CLIENT_WINDOW, value)?)),
            parameter => Err(NegotiationError::UnknownParameter {
                parameter: parameter.to_owned(),
            }),
        }
    }

    fn set_client_window(&mut self, bits: Option<u8>) -> Result<(), NegotiationError> {
        once(CLIENT_WINDOW, &mut self.client_window.is_some())?;
        self.client_window = Some(bits);
        Ok(())
    }
}

/// Sets a flag, unless it is set already.
fn once(parameter: &'static str, set: &mut bool) -> Result<(), NegotiationError> {
    if std::mem::replace(set, true) {
        return Err(NegotiationError::RepeatedParameter { parameter });
    }
    Ok(())
}

fn no_value(parameter: &'static str, value: Option<&str>) -> Result<(), NegotiationError> {
    value.map_or(Ok(()), |value| {
        let value = value.to_owned();
        Err(NegotiationError::UnexpectedValue { parameter, value })
    })
}

/// Parses a decimal number without leading zeros (§7.1.2.1).
fn window_bits(parameter: &'static str, value: Option<&str>) -> Result<u8, NegotiationError> {
    let value = value.unwrap_or_default();
    let bits = (MIN_WINDOW_BITS..=MAX_WINDOW_BITS).find(|bits| bits.to_string() == value);
    bits.ok_or_else(|| NegotiationError::WindowOutOfRange {
        parameter,
        value: value.to_owned(),
    })
}

const NAME: &str = "permessage-deflate";
const SERVER_NO_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";

#[cfg(test)]
mod tests {
    use super::*;

    fn generous() -> Deflate {
        Deflate::default().with_takeover(true, true)
    }

    fn response(deflate: Deflate, offer: &str) -> Option<String> {
        Some(deflate.accept([offer])?.response())
    }

    #[test]
    fn a_server_answers_what_it_was_offered() {
        for (offer, answer) in [
            ("", ""),
            (
                "; server_no_context_takeover",
                "; server_no_context_takeover",
            ),
            (
                "; client_no_context_takeover",
                "; client_no_context_takeover",
            ),
            ("; server_max_window_bits=15", "; server_max_window_bits=15"),
            ("; server_max_window_bits=8", "; server_max_window_bits=8"),
            (
                "; server_max_window_bits=\"10\"",
                "; server_max_window_bits=10",
            ),
            ("; client_max_window_bits", ""),
            ("; client_max_window_bits=9", "; client_max_window_bits=9"),
            (
                "; client_max_window_bits=9; server_no_context_takeover",
                "; server_no_context_takeover; client_max_window_bits=9",
            ),
        ] {
            assert_eq!(
                response(generous(), &format!("permessage-deflate{offer}")),
                Some(format!("permessage-deflate{answer}")),
                "{offer}"
            );
        }
    }

    #[test]
    fn a_server_s_own_wishes_are_answered_where_they_may_be() {
        let small = generous().with_window_bits(11, 10);
        assert_eq!(
            response(small, "permessage-deflate"),
            Some("permessage-deflate; server_max_window_bits=11".to_owned()),
            "client_max_window_bits must not be answered where it was not offered"
        );
        assert_eq!(
            response(
                small,
                "permessage-deflate; client_max_window_bits; server_max_window_bits=13"
            ),
            Some(
                "permessage-deflate; server_max_window_bits=11; client_max_window_bits=10"
                    .to_owned()
            )
        );
        assert_eq!(
            response(small.with_window_bits(0, 99), "permessage-deflate"),
            Some("permessage-deflate; server_max_window_bits=9".to_owned())
        );
    }

    #[test]
    fn a_bad_offer_is_passed_over() {
        for bad in [
            "; unknown",
            "; server_no_context_takeover=1",
            "; client_no_context_takeover=1",
            "; server_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits",
            "; server_max_window_bits=7",
            "; server_max_window_bits=16",
            "; server_max_window_bits=08",
            "; server_max_window_bits=+9",
            "; server_max_window_bits=9; server_max_window_bits=9",
            "; client_max_window_bits=7",
            "; client_max_window_bits=1000000000000",
            "; client_max_window_bits; client_max_window_bits",
            "; client_max_window_bits; client_max_window_bits=9",
        ] {
            let offer = format!("permessage-deflate{bad}");
            assert_eq!(response(generous(), &offer), None, "{bad}");
            assert_eq!(
                response(
                    generous(),
                    &format!("{offer}, permessage-deflate; client_max_window_bits=12")
                ),
                Some("permessage-deflate; client_max_window_bits=12".to_owned()),
                "the next offer after {bad}"
            );
            assert!(generous().confirm([offer.as_str()]).is_err(), "{bad}");
        }
        assert_eq!(response(generous(), "permessage-deflate;;"), None);
        assert_eq!(response(generous(), "permessage-bzip2"), None);
        let lines = ["permessage-deflate; unknown", "x", "PERMESSAGE-DEFLATE"];
        assert!(generous().accept(lines).is_some(), "the third line");
    }

    #[test]
    fn a_client_holds_the_server_to_its_offer() {
        let frugal = Deflate::default().with_window_bits(12, 11);
        let good = "permessage-deflate; server_no_context_takeover; server_max_window_bits=12";
        let agreed = frugal.confirm([good]).unwrap().unwrap();
        assert!(!agreed.server.takeover && !agreed.client.takeover);
        assert_eq!(
            (agreed.server.window_bits, agreed.client.window_bits),
            (12, 11)
        );
        for (response, parameter) in [
            (
                "permessage-deflate; server_max_window_bits=12",
                SERVER_NO_TAKEOVER,
            ),
            (
                "permessage-deflate; server_no_context_takeover",
                SERVER_WINDOW,
            ),
            (
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=13",
                SERVER_WINDOW,
            ),
        ] {
            let error = frugal.confirm([response]).unwrap_err();
            assert_eq!(error, NegotiationError::Ignored { parameter }, "{response}");
        }
        assert_eq!(frugal.confirm([good, good]), Err(NegotiationError::Twice));
        assert_eq!(frugal.confirm(["a;"]), Err(NegotiationError::Malformed));
        let name = "foo".to_owned();
        assert_eq!(
            frugal.confirm(["foo"]),
            Err(NegotiationError::NotOffered { name })
        );
        let bare = generous().confirm(["permessage-deflate; client_max_window_bits"]);
        assert!(bare.is_err(), "a response has to give the number");
    }

    #[test]
    fn both_ends_agree() {
        for server in [
            generous(),
            Deflate::default(),
            generous().with_window_bits(10, 9),
        ] {
            for client in [
                generous(),
                Deflate::default(),
                generous().with_window_bits(9, 12),
            ] {
                let accepted = server.accept([client.offer().as_str()]).unwrap();
                let response = accepted.response();
                let confirmed = client.confirm([response.as_str()]).unwrap().unwrap();
                assert_eq!(accepted.server, confirmed.server, "{response}");
                assert!(confirmed.client.window_bits <= accepted.client.window_bits);
                assert!(accepted.client.takeover || !confirmed.client.takeover);
            }
        }
    }
}
