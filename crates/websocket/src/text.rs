//! Text that arrives in pieces: checked on arrival, each byte once (RFC 6455 §8.1).

/// The text so far, and the beginning of an incomplete character.
#[derive(Debug, Default)]
pub(crate) struct Text {
    whole: String,
    /// Bytes returned already.
    taken: usize,
    tail: [u8; 4],
    tail_len: u8,
}

impl Text {
    /// Bytes received.
    pub(crate) fn len(&self) -> usize {
        self.taken + self.held()
    }

    /// Bytes received and not yet returned.
    pub(crate) fn held(&self) -> usize {
        self.whole.len() + usize::from(self.tail_len)
    }

    /// Returns the whole characters received since the last call.
    pub(crate) fn take(&mut self) -> String {
        self.taken += self.whole.len();
        std::mem::take(&mut self.whole)
    }

    /// Bytes that fit without growing.
    pub(crate) fn spare(&self) -> usize {
        self.whole.capacity().saturating_sub(self.held())
    }

    /// Reserves room for `bytes` after those received; exactly so many if none will follow.
    pub(crate) fn reserve(&mut self, bytes: usize, exact: bool) {
        let bytes = bytes + usize::from(self.tail_len);
        if exact {
            self.whole.reserve_exact(bytes);
        } else {
            self.whole.reserve(bytes);
        }
    }

    /// Appends a piece that may begin and end inside a character.
    ///
    /// Fails at the first byte that cannot become valid, with the number of valid bytes before its character.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), usize> {
        while self.tail_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            self.tail[usize::from(self.tail_len)] = byte;
            self.tail_len += 1;
            // Four bytes are a character or an error, so the array never overflows.
            match std::str::from_utf8(&self.tail[..usize::from(self.tail_len)]) {
                Ok(character) => {
                    self.whole.push_str(character);
                    self.tail_len = 0;
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(self.good()),
            }
        }

        let (body, tail) = split_before_unfinished(piece);
        match std::str::from_utf8(body) {
            Ok(body) => self.whole.push_str(body),
            Err(error) => return Err(self.good() + error.valid_up_to()),
        }
        if std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_some()) {
            return Err(self.good());
        }
        self.tail[..tail.len()].copy_from_slice(tail);
        self.tail_len = tail.len() as u8;
        Ok(())
    }

    /// Returns the text, or the length of its valid part if it ends inside a character.
    pub(crate) fn finish(self) -> Result<String, usize> {
        if self.tail_len == 0 {
            Ok(self.whole)
        } else {
            Err(self.good())
        }
    }

    /// Bytes of whole characters received.
    fn good(&self) -> usize {
        self.taken + self.whole.len()
    }
}

/// Splits off up to three bytes at the end that begin a longer character. Neither part is validated here.
fn split_before_unfinished(piece: &[u8]) -> (&[u8], &[u8]) {
    for back in 1..=piece.len().min(3) {
        let at = piece.len() - back;
        let announced = match piece[at] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return piece.split_at(if announced > back { at } else { piece.len() });
    }
    (piece, &[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Text;

    #[test]
    fn an_impossible_byte_fails_at_once() {
        for (piece, good) in [
            (&b"ab\xc0"[..], 2),
            (b"\xe0\x80", 0),
            (b"\xed\xa0", 0),
            (b"a\xf0\x8f", 1),
            (b"a\xf4\x90", 1),
            (b"\xf5", 0),
            (b"\xff", 0),
            (b"\x80", 0),
            (b"\xe2\x82x", 0),
        ] {
            assert_eq!(Text::default().push(piece), Err(good), "{piece:x?} at once");
            let mut text = Text::default();
            let (last, front) = piece.split_last().unwrap();
            for byte in front {
                assert_eq!(
                    text.push(&[*byte]),
                    Ok(()),
                    "{piece:x?} before its last byte"
                );
            }
            assert_eq!(text.push(&[*last]), Err(good), "{piece:x?} byte by byte");
        }
    }

    #[test]
    fn the_end_inside_a_character_is_an_error() {
        let mut text = Text::default();
        text.push(b"a\xf0\x9f\x9a").unwrap();
        assert_eq!(text.len(), 4);
        assert_eq!(text.finish(), Err(1));
    }

    #[test]
    fn what_was_handed_out_still_counts() {
        let mut text = Text::default();
        text.push(b"a\xe2\x82").unwrap();
        assert_eq!(text.take(), "a");
        assert_eq!((text.len(), text.held()), (3, 2));
        assert_eq!(text.take(), "");
        text.push(b"\xacb").unwrap();
        assert_eq!(text.take(), "\u{20ac}b");
        assert_eq!(text.push(b"c\xff"), Err(6));
    }

    proptest! {
        #[test]
        fn any_cut_agrees_with_the_standard_library(
            bytes in prop_oneof![noisy_text(), proptest::collection::vec(any::<u8>(), 0..12)],
            cuts in proptest::collection::vec(0usize..8, 0..24),
        ) {
            let mut text = Text::default();
            let mut outcome = Ok(());
            let mut rest = bytes.as_slice();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                outcome = text.push(piece);
                if outcome.is_err() {
                    // It must fail early, but not while the bytes could still become valid.
                    let seen = &bytes[..bytes.len() - rest.len()];
                    prop_assert!(std::str::from_utf8(seen).unwrap_err().error_len().is_some());
                    break;
                }
                let seen = &bytes[..bytes.len() - rest.len()];
                prop_assert!(std::str::from_utf8(seen).map_or_else(|e| e.error_len().is_none(), |_| true));
            }
            let outcome = outcome.and_then(|()| text.finish());
            let expected = String::from_utf8(bytes).map_err(|error| error.utf8_error().valid_up_to());
            prop_assert_eq!(outcome, expected);
        }
    }

    /// Text of all character lengths with at most one byte changed.
    fn noisy_text() -> impl Strategy<Value = Vec<u8>> {
        let text = "[a\u{e9}\u{20ac}\u{1f68b}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}]{0,16}";
        (
            text,
            any::<prop::sample::Index>(),
            prop::option::of(any::<u8>()),
        )
            .prop_map(|(text, at, byte)| {
                let mut bytes = text.into_bytes();
                if let Some(byte) = byte.filter(|_| !bytes.is_empty()) {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                bytes
            })
    }
}
