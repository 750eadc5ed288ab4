//! Reads inputs; see the crate's documentation for how they are written.

/// The first line, without its end, and what follows it.
pub(crate) fn head(data: &[u8]) -> (Head<'_>, &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (head, rest) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    (Head(head), rest)
}

/// Options, then lengths of pieces.
pub(crate) struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    /// The next option, one of `count`: the digit counts where it is a digit.
    pub(crate) fn option(&mut self, count: u8) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        // '0' is 48: whatever divides it, digits count from nought.
        first.wrapping_sub(b'0') % count
    }

    /// The rest of the line.
    pub(crate) fn pieces(self) -> Pieces {
        let mut lengths: Vec<usize> = self.0.iter().map(|octet| usize::from(octet % 64)).collect();
        // One empty piece at a place shows as much as many do.
        lengths.dedup_by(|next, last| *next == 0 && *last == 0);
        if lengths == [0] {
            lengths.clear();
        }
        Pieces { lengths, next: 0 }
    }
}

/// Lengths of pieces, again and again; everything is one piece where there are none.
#[derive(Clone)]
pub(crate) struct Pieces {
    lengths: Vec<usize>,
    next: usize,
}

impl Pieces {
    /// The next length.
    pub(crate) fn length(&mut self) -> usize {
        if self.lengths.is_empty() {
            return usize::MAX;
        }
        let length = self.lengths[self.next % self.lengths.len()];
        self.next += 1;
        length
    }

    /// Cuts a stream, with the first piece first.
    pub(crate) fn cut<'s>(&self, mut stream: &'s [u8]) -> Vec<&'s [u8]> {
        let mut lengths = self.clone();
        let mut pieces = Vec::new();
        while !stream.is_empty() {
            let (piece, rest) = stream.split_at(lengths.length().min(stream.len()));
            pieces.push(piece);
            stream = rest;
        }
        pieces
    }
}

/// The operations: a letter and its argument each.
pub(crate) fn lines(rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    rest.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split_first())
        .map(|(letter, argument)| (*letter, argument))
}

/// The bytes that an argument stands for.
pub(crate) fn bytes(argument: &[u8]) -> Vec<u8> {
    let octets = argument.iter().map(|octet| match octet {
        b'|' => b'\n',
        b'^' => 0,
        octet => *octet,
    });
    octets.collect()
}

/// The text that an argument stands for; what is not UTF-8 is replaced.
pub(crate) fn text(argument: &[u8]) -> String {
    String::from_utf8_lossy(&bytes(argument)).into_owned()
}

/// The decimal number that an argument begins with, and what follows it and one blank.
pub(crate) fn number(argument: &[u8]) -> (u64, &[u8]) {
    let digits = argument.iter().take_while(|octet| octet.is_ascii_digit());
    let count = digits.count();
    let number = argument[..count].iter().fold(0u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    let rest = &argument[count..];
    (number, rest.strip_prefix(b" ").unwrap_or(rest))
}

/// As a number of milliseconds, a day at most.
pub(crate) fn millis(argument: &[u8]) -> std::time::Duration {
    std::time::Duration::from_millis(number(argument).0.min(86_400_000))
}
