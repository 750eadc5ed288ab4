//! What may be drawn.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// The board's size, in units of its own; pages scale it to their windows.
const WIDTH: u16 = 1600;
const HEIGHT: u16 = 1000;

/// Points of one part. A page sends a part some 15 times a second.
const MOST_POINTS: usize = 200;

/// In bytes; it is kept with each part.
const LONGEST_KEY: usize = 40;

const COLOURS: u8 = 6;

/// A place on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub(crate) struct Point(u16, u16);

impl TryFrom<(u16, u16)> for Point {
    type Error = String;

    fn try_from((x, y): (u16, u16)) -> Result<Self, String> {
        if x <= WIDTH && y <= HEIGHT {
            Ok(Self(x, y))
        } else {
            Err(format!(
                "{x},{y} is not on the board, which ends at {WIDTH},{HEIGHT}"
            ))
        }
    }
}

impl From<Point> for (u16, u16) {
    fn from(Point(x, y): Point) -> Self {
        (x, y)
    }
}

/// A stroke, by the name that its page has given it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stroke {
    #[serde(deserialize_with = "key")]
    stroke: String,
}

/// A part of a stroke, sent while it is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    #[serde(deserialize_with = "key")]
    stroke: String,
    /// Which part of it, from 0: one that comes twice is drawn once.
    part: u32,
    #[serde(deserialize_with = "colour")]
    colour: u8,
    #[serde(deserialize_with = "points")]
    points: Vec<Point>,
}

fn key<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let key = String::deserialize(input)?;
    match key.len() {
        1..=LONGEST_KEY => Ok(key),
        length => Err(D::Error::custom(format!(
            "the name of a stroke has 1 to {LONGEST_KEY} bytes, this one has {length}"
        ))),
    }
}

fn colour<'de, D: Deserializer<'de>>(input: D) -> Result<u8, D::Error> {
    match u8::deserialize(input)? {
        colour @ ..COLOURS => Ok(colour),
        other => Err(D::Error::custom(format!(
            "colours are 0 to {}, not {other}",
            COLOURS - 1
        ))),
    }
}

fn points<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Point>, D::Error> {
    let points = Vec::<Point>::deserialize(input)?;
    match points.len() {
        1..=MOST_POINTS => Ok(points),
        count => Err(D::Error::custom(format!(
            "a part has 1 to {MOST_POINTS} points, this one has {count}: send it in several"
        ))),
    }
}
