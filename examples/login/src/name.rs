//! Which names there are.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// As long as fits a line of a phone.
const LONGEST: usize = 40;

/// Why a name is none; as a response 400 with that reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(String);

impl BadName {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

impl std::fmt::Display for BadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadName {}

impl IntoResponse for BadName {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, self.0).into_response()
    }
}

/// The name that somebody goes by who gives this text: spaces around it do not count.
///
/// # Errors
///
/// [`BadName`] for a text that is no name: a name has 1 to 40 characters of which one can be seen, none that is a control
/// character or turns the direction of the text around it, and is not `.` or `..`, which no URL can have as a part.
///
/// # Example: a name, and one that would turn a page around
///
/// ```
/// use tramline_example_login::accept;
///
/// assert_eq!(accept(" Zoë ").as_deref(), Ok("Zoë"));
/// let refused = accept("\u{202e}ada").unwrap_err().to_string();
/// assert!(refused.contains("U+202E"), "{refused}");
/// ```
pub fn accept(text: &str) -> Result<String, BadName> {
    let name = text.trim();
    let length = name.chars().count();
    let problem = if length == 0 {
        "a name has at least 1 character".to_owned()
    } else if length > LONGEST {
        format!("a name has at most {LONGEST} characters, this one has {length}")
    } else if name.contains(char::is_control) {
        "a name has no control characters, such as line ends".to_owned()
    } else if let Some(turn) = name.chars().find(|c| turns_around(*c)) {
        let code = u32::from(turn);
        format!("a name does not turn the direction of the text, as U+{code:04X} does")
    } else if name.chars().all(is_invisible) {
        "a name has at least 1 character that can be seen".to_owned()
    } else if name == "." || name == ".." {
        format!("{name:?} is no name: a URL cannot have it as a part")
    } else {
        return Ok(name.to_owned());
    };
    Err(BadName(problem))
}

/// The controls of Unicode's bidirectional algorithm.
fn turns_around(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Characters that show nothing by themselves. Some have their place within a name: joiners in Persian and in emoji.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200d}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}
