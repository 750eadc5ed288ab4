//! What selectors look at.

/// A source of a message's header values for selectors.
pub trait Properties {
    /// The value of the header `name`.
    fn property(&self, name: &str) -> Option<Property<'_>>;
}

impl Properties for tramline_stomp::Headers {
    fn property(&self, name: &str) -> Option<Property<'_>> {
        self.get(name).map(Property::Text)
    }
}

/// The value of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// A text, which may look like a number or a truth value.
    Text(&'a str),
    /// A number.
    Number(i64),
}
