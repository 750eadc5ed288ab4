//! Segments of destinations, and how they match.

/// The separator of a destination's segments, chosen per prefix of a broker.
///
/// With [`Dot`](Self::Dot) both `/` and `.` separate, so `/topic/price.stock.*` covers `/topic/price.stock.acme` but
/// not `/topic/price.stock.acme.bid`, and `/topic/**` still covers everything.
///
/// | one segment | any number of segments | part of a segment | where |
/// |---|---|---|---|
/// | `*` | `**` | `*`, `?` | here, and in Ant and Spring |
/// | `*` | `#` | – | AMQP, as RabbitMQ's `/topic/` has it |
/// | `*` | `>` (at the end) | – | ActiveMQ |
///
/// `#` and `>` have no meaning here: they are ordinary characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Separator {
    /// `/`, as in `/topic/price/stock`. The default.
    #[default]
    Slash,
    /// `.` in addition to `/`, as in `/topic/price.stock`: usual in AMQP, and in Spring with `AntPathMatcher(".")`.
    Dot,
}

/// The segments of a text, each with the separator in front of it: `/topic`, `/rooms`, `/7`.
#[derive(Clone, Debug)]
pub(crate) struct Segments<'a> {
    rest: &'a str,
    separator: Separator,
}

impl<'a> Segments<'a> {
    pub(crate) fn new(text: &'a str, separator: Separator) -> Self {
        Self {
            rest: text,
            separator,
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        // Separators are ASCII, so the found byte begins a character.
        let after_first = self.rest.as_bytes().get(1..)?;
        let end = after_first
            .iter()
            .position(|byte| *byte == b'/' || (*byte == b'.' && self.separator == Separator::Dot))
            .map_or(self.rest.len(), |at| at + 1);
        let (segment, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(segment)
    }
}

/// Returns true if a pattern's segment matches any number of segments.
pub(crate) fn is_any(segment: &str) -> bool {
    matches!(segment, "**" | "/**" | ".**")
}

/// Matches one segment against a part with `*` and `?`, but not `**`.
pub(crate) fn segment_matches(part: &str, segment: &str) -> bool {
    glob(
        part.chars(),
        segment.chars(),
        |c| *c == '*',
        |pattern, c| *pattern == '?' || pattern == c,
    )
}

/// Returns true if `values` match `pattern`, in which a star matches any number of values, including none.
///
/// Only the last star is backtracked, so the cost is at most the product of both lengths.
pub(super) fn glob<P, V>(
    mut pattern: P,
    mut values: V,
    is_star: impl Fn(&P::Item) -> bool,
    matches: impl Fn(&P::Item, &V::Item) -> bool,
) -> bool
where
    P: Iterator + Clone,
    V: Iterator + Clone,
{
    // The pattern after the last star, and the values that the star has not matched.
    let mut star: Option<(P, V)> = None;
    loop {
        let rest = values.clone();
        match (pattern.next(), values.next()) {
            (None, None) => return true,
            (Some(part), _) if is_star(&part) => {
                values = rest;
                star = Some((pattern.clone(), values.clone()));
                continue;
            }
            (Some(part), Some(value)) if matches(&part, &value) => continue,
            _ => {}
        }
        let Some((after_star, untaken)) = &mut star else {
            return false;
        };
        if untaken.next().is_none() {
            return false;
        }
        pattern = after_star.clone();
        values = untaken.clone();
    }
}

/// Returns true if some sequence matches both patterns, in which a star matches any number of values.
pub(super) fn intersect<T>(
    a: &[T],
    b: &[T],
    is_star: impl Fn(&T) -> bool,
    compatible: impl Fn(&T, &T) -> bool,
) -> bool {
    // `row[j]` is true if the rest of `a` and `b[j..]` have a sequence in common; filled from the ends.
    let mut row = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let below = std::mem::replace(&mut row, vec![false; b.len() + 1]);
        for j in (0..=b.len()).rev() {
            row[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(x), _) if is_star(x) => below[j] || (j < b.len() && row[j + 1]),
                (_, Some(y)) if is_star(y) => row[j + 1] || (i < a.len() && below[j]),
                (Some(x), Some(y)) => compatible(x, y) && below[j + 1],
                _ => false,
            };
        }
    }
    row[0]
}
