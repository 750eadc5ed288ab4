//! Sorting, searching and paging, done here and not in the page: it shows a few of many rows.

use std::cmp::Ordering;

use serde_json::{Value, json};

/// The rows of a page, at most.
const MOST: usize = 200;

/// The query of a request.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The value of `name`; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }
}

/// What rows are sorted by.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(super) enum Key {
    Text(String),
    Number(f64),
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Text(text.to_lowercase())
    }
}

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self::Number(number as f64)
    }
}

impl From<usize> for Key {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

/// Returns true if one of `texts` contains what the query asks for, in any case.
pub(super) fn matches(wanted: &str, texts: &[&str]) -> bool {
    wanted.is_empty() || {
        let wanted = wanted.to_lowercase();
        texts
            .iter()
            .any(|text| text.to_lowercase().contains(&wanted))
    }
}

/// The page of `rows` that `query` asks for, by `sort`, `desc`, `page` and `size`: only its rows are written out.
pub(super) fn page<T>(
    rows: Vec<T>,
    query: &Query,
    key: impl Fn(&T, &str) -> Key,
    write: impl Fn(&T) -> Value,
) -> Value {
    let sort = query.text("sort");
    let order = |one: &Key, other: &Key| one.partial_cmp(other).unwrap_or(Ordering::Equal);
    let mut keyed: Vec<(Key, T)> = rows.into_iter().map(|row| (key(&row, sort), row)).collect();
    // Stable, so that equal rows do not jump between two looks.
    match query.text("desc") {
        "1" => keyed.sort_by(|(one, _), (other, _)| order(other, one)),
        _ => keyed.sort_by(|(one, _), (other, _)| order(one, other)),
    }
    let size = query.number("size").unwrap_or(50).clamp(1, MOST as u64) as usize;
    let last = keyed.len().saturating_sub(1) / size;
    let page = (query.number("page").unwrap_or(0) as usize).min(last);
    let shown = keyed.iter().skip(page * size).take(size);
    json!({
        "rows": shown.map(|(_, row)| write(row)).collect::<Vec<_>>(),
        "count": keyed.len(),
        "page": page,
        "pages": last + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = Query::of("q=%2Ftopic%2F%C3%A4+b&page=2&broken=%2&x");
        assert_eq!(query.text("q"), "/topic/ä b");
        assert_eq!(query.number("page"), Some(2));
        assert_eq!((query.text("broken"), query.text("x")), ("%2", ""));
    }

    #[test]
    fn rows_are_sorted_and_paged() {
        let asked = |query: &str| {
            let rows = vec![("b", 2_u64), ("a", 10), ("C", 2)];
            let key = |row: &(&str, u64), by: &str| match by {
                "number" => row.1.into(),
                _ => row.0.into(),
            };
            page(rows, &Query::of(query), key, |row| json!(row.0))
        };
        assert_eq!(asked("")["rows"], json!(["a", "b", "C"]));
        assert_eq!(asked("sort=number&desc=1")["rows"], json!(["a", "b", "C"]));
        let last = asked("size=2&page=7");
        assert_eq!(
            (&last["rows"], &last["page"], &last["pages"]),
            (&json!(["C"]), &json!(1), &json!(2))
        );
    }
}
