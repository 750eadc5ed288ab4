//! Selectors against an evaluator that is as plain as can be.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tramline_broker::{Destination, Headers, Message, Publish, Selector, SelectorError, Timestamp};

fn headers(pairs: &[(&'static str, &'static str)]) -> Headers {
    Headers::from_iter(pairs.iter().copied())
}

fn matches(selector: &str, headers: &Headers) -> bool {
    let selector = Selector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error}"));
    selector.matches(headers)
}

#[test]
fn jms_examples() {
    let headers = headers(&[
        ("JMSType", "car"),
        ("color", "blue"),
        ("weight", "2501"),
        ("price", "9.5"),
        ("quantity", "10"),
        ("phone", "12993"),
        ("under", "_x"),
        ("word", "l5se"),
        ("flag", "true"),
        ("off", "False"),
        ("content-type", "text/plain"),
        ("quote", "it's"),
    ]);
    for (selector, expected) in [
        ("color = 'blue' AND weight > 2500", true),
        ("color = 'blue' and NOT weight <= 2500", true),
        ("color = 'red' OR weight > 2500 AND color = 'green'", false),
        ("(color = 'red' OR weight > 2500) AND color = 'blue'", true),
        ("weight BETWEEN 2500 AND 2501", true),
        ("weight NOT BETWEEN 2500 AND 2501", false),
        ("weight BETWEEN 2502 AND 2500", false),
        ("color IN ('red', 'blue')", true),
        ("color NOT IN ('red', 'blue')", false),
        ("phone LIKE '12%3'", true),
        ("phone LIKE '12%9'", false),
        ("word LIKE 'l_se'", true),
        ("under LIKE '\\_%' ESCAPE '\\'", true),
        ("word LIKE '\\_%' ESCAPE '\\'", false),
        ("phone NOT LIKE '12%3'", false),
        ("missing IS NULL AND color IS NOT NULL", true),
        ("missing = 1 OR missing <> 1 OR NOT missing = 1", false),
        ("missing LIKE '%' OR missing NOT LIKE '%'", false),
        ("missing IN ('a') OR missing NOT IN ('a')", false),
        ("missing = 1 OR color = 'blue'", true),
        ("NOT (missing = 1 AND color = 'red')", true),
        ("NOT (missing = 1 AND color = 'blue')", false),
        ("price * quantity = 95", true),
        ("quantity / 4 = 2 AND quantity / 4.0 = 2.5", true),
        (
            "2 + 3 * 4 = 14 AND (2 + 3) * 4 = 20 AND 10 - 2 - 3 = 5",
            true,
        ),
        (
            "-quantity < 0 AND +quantity = 10 AND - - quantity = 10",
            true,
        ),
        ("quantity / 0 = 1 OR quantity / 0 <> 1", false),
        ("9223372036854775807 + 1 > 0", false),
        ("flag AND NOT off", true),
        ("flag = TRUE AND off = FALSE AND off <> TRUE", true),
        ("color OR NOT color", false),
        ("color > 5 OR color <= 5", false),
        ("quantity = '10'", true),
        (
            "quantity = 10.0 AND quantity = 0xA AND quantity = 1e1",
            true,
        ),
        ("\"content-type\" LIKE 'text/%'", true),
        ("quote = 'it''s'", true),
        ("TRUE", true),
        ("FALSE", false),
        ("5 BETWEEN 1 AND 10 AND 'a' = 'a'", true),
        ("color='blue'AND(weight>=2501)", true),
    ] {
        assert_eq!(matches(selector, &headers), expected, "{selector}");
    }
}

#[test]
fn a_message_has_jms_names_of_its_own() {
    let headers = headers(&[
        ("type", "car"),
        ("correlation-id", "c1"),
        ("persistent", "true"),
    ]);
    let publish = Publish::new(Destination::parse("/topic/a").unwrap(), headers, "x")
        .priority(7)
        .at(Timestamp::from_millis(5));
    let message = Message::new(publish, "m-1".into(), None);
    for selector in [
        "JMSType = 'car' AND JMSCorrelationID = 'c1'",
        "JMSPriority > 6 AND JMSTimestamp BETWEEN 5 AND 5",
        "JMSMessageID LIKE 'm-%' AND JMSDeliveryMode = 'PERSISTENT'",
    ] {
        assert!(
            Selector::parse(selector).unwrap().matches(&message),
            "{selector}"
        );
    }
    let plain = Publish::new(Destination::parse("/topic/a").unwrap(), Headers::new(), "x");
    let plain = Message::new(plain, "m-2".into(), None);
    let selector = "JMSPriority = 4 AND JMSDeliveryMode = 'NON_PERSISTENT' AND JMSType IS NULL";
    assert!(Selector::parse(selector).unwrap().matches(&plain));
}

#[test]
fn errors_have_their_place_and_the_remedy() {
    for (selector, at, error) in [
        ("", 0, "it is empty; leave the header out"),
        ("a = ", 4, "a name or a value is missing at the end"),
        ("a = 'x", 4, "no ' ends what begins here"),
        ("a == 1", 3, "a name or a value is needed here, not `=`"),
        ("a != 1", 2, "`!` has no meaning here; not equal is `<>`"),
        (
            "content-type = 'a'",
            15,
            "a number and a text are never equal",
        ),
        ("ä < 'b'", 4, "`<` compares numbers, and 'b' is a text"),
        (
            "a BETWEEN 'a' AND 2",
            10,
            "`BETWEEN` compares numbers, and 'a' is a text",
        ),
        (
            "a BETWEEN 1 OR 2",
            12,
            "`AND` and the upper bound is needed here, not `OR`",
        ),
        (
            "a IN (1)",
            6,
            "a text in quotes, such as 'a', is needed here, not 1",
        ),
        (
            "a IN ()",
            6,
            "a text in quotes, such as 'a', is needed here, not `)`",
        ),
        ("a IN ('b'", 9, "`)` is missing at the end"),
        (
            "'a' LIKE 'a'",
            0,
            "`LIKE` is about a header; a name is needed in front of it",
        ),
        ("a LIKE 'x' ESCAPE 'ab'", 18, "'ab' is not one character"),
        (
            "a LIKE 'x!y' ESCAPE '!'",
            7,
            "in \"x!y\" the escape `!` is not before `%`, `_` or itself",
        ),
        ("a IS 5", 5, "`NULL` is needed here, not 5"),
        ("a = 1 b", 6, "`b` is one word too many"),
        ("5", 0, "5 is no condition; compare it with something"),
        (
            "a AND 'x'",
            6,
            "'x' is no condition; compare it with something",
        ),
        ("1 = 'a'", 4, "a number and a text are never equal"),
        (
            "a + TRUE = 1",
            4,
            "`+` is for numbers, and `TRUE` is a truth value",
        ),
        (
            "(a = 1) + 2 = 3",
            0,
            "a condition stands where a value is needed",
        ),
        (
            "a = 010",
            4,
            "010 could be octal or decimal; write it without the leading 0",
        ),
        (
            "a = 99999999999999999999",
            4,
            "99999999999999999999 is no number, or too large a one",
        ),
        ("a = 1x", 4, "1x is no number, or too large a one"),
        (
            "a # 1",
            2,
            "`#` has no meaning here; a name with other characters than letters, digits, `_` and `$` has double quotes around it",
        ),
    ] {
        let refused = Selector::parse(selector).unwrap_err();
        let text = format!("at character {}: {error}", at + 1);
        assert_eq!(
            (refused.at(), refused.to_string()),
            (at, text),
            "{selector}"
        );
    }
}

#[test]
fn its_size_and_cost_are_bounded() {
    let refused = |selector: &str| Selector::parse(selector).unwrap_err().to_string();
    let long = format!("a = '{}'", "x".repeat(1_100));
    assert!(refused(&long).contains("1106 bytes, and 1024 are allowed"));
    let deep = format!("{}a = 1{}", "(".repeat(33), ")".repeat(33));
    assert!(refused(&deep).contains("more than 32 levels"));
    let nots = format!("{} a = 1", "NOT ".repeat(33));
    assert!(refused(&nots).contains("more than 32 levels"));
    let minuses = format!("a = {}1", "-".repeat(33));
    assert!(refused(&minuses).contains("more than 32 levels"));
    let sums = format!("a = {}1", "1+".repeat(33));
    assert!(refused(&sums).contains("more than 32 operators"));
    let likes = ["a LIKE 'x%'"; 9].join(" OR ");
    assert!(refused(&likes).contains("allowed 8 times"));
    let part = format!("a LIKE '_{}'", "x".repeat(32));
    assert!(refused(&part).contains("33 characters, and 32 are allowed"));
    // As many as fit are no deeper than a few.
    let many = vec!["a=1"; 140].join(" OR ");
    assert!(matches(&many, &headers(&[("a", "1")])));
}

/// The shape of a selector, with which a test writes it and evaluates it plainly.
#[derive(Clone, Debug)]
enum Plain {
    Or(Box<Plain>, Box<Plain>),
    And(Box<Plain>, Box<Plain>),
    Not(Box<Plain>),
    Compare(&'static str, Sum, Sum),
    Between(bool, Sum, Sum, Sum),
    In(bool, &'static str, Vec<&'static str>),
    Like(bool, &'static str, String, bool),
    Null(bool, &'static str),
    Flag(&'static str),
}

#[derive(Clone, Debug)]
enum Sum {
    Name(&'static str),
    Integer(i64),
    Of(&'static str, Box<Sum>, Box<Sum>),
    Minus(Box<Sum>),
}

type Known = BTreeMap<&'static str, &'static str>;

impl Plain {
    fn write(&self) -> String {
        let not = |is_not: &bool| if *is_not { "NOT " } else { "" };
        match self {
            Self::Or(a, b) => format!("({}) OR ({})", a.write(), b.write()),
            Self::And(a, b) => format!("({}) aNd ({})", a.write(), b.write()),
            Self::Not(a) => format!("NOT ({})", a.write()),
            Self::Compare(sign, a, b) => format!("{} {sign} {}", a.write(), b.write()),
            Self::Between(n, a, low, high) => format!(
                "{} {}BETWEEN {} AND {}",
                a.write(),
                not(n),
                low.write(),
                high.write()
            ),
            Self::In(n, name, texts) => {
                let texts: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
                format!("{name} {}IN ({})", not(n), texts.join(","))
            }
            Self::Like(n, name, pattern, true) => {
                format!("{name} {}LIKE '{pattern}' ESCAPE '!'", not(n))
            }
            Self::Like(n, name, pattern, false) => format!("{name} {}LIKE '{pattern}'", not(n)),
            Self::Null(n, name) => format!("{name} IS {}NULL", not(n)),
            Self::Flag(name) => (*name).into(),
        }
    }

    /// -1, 0 and 1 for false, unknown and true: so OR is the larger, AND the smaller, and NOT the opposite.
    fn evaluate(&self, known: &Known) -> i8 {
        let negate = |is_not: bool, value: i8| if is_not { -value } else { value };
        let truth = |value: bool| if value { 1 } else { -1 };
        match self {
            Self::Or(a, b) => a.evaluate(known).max(b.evaluate(known)),
            Self::And(a, b) => a.evaluate(known).min(b.evaluate(known)),
            Self::Not(a) => -a.evaluate(known),
            Self::Compare(sign, a, b) => {
                // Two names are compared as texts where that is for equality.
                if let (Sum::Name(a), Sum::Name(b), "=" | "<>") = (a, b, *sign) {
                    return match (known.get(a), known.get(b)) {
                        (Some(a), Some(b)) => truth((a == b) == (*sign == "=")),
                        _ => 0,
                    };
                }
                let (Some(a), Some(b)) = (a.evaluate(known), b.evaluate(known)) else {
                    return 0;
                };
                truth(match *sign {
                    "=" => a == b,
                    "<>" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                })
            }
            Self::Between(is_not, a, low, high) => {
                let at_least = Self::Compare(">=", a.clone(), low.clone());
                let at_most = Self::Compare("<=", a.clone(), high.clone());
                let both = at_least.evaluate(known).min(at_most.evaluate(known));
                negate(*is_not, both)
            }
            Self::In(is_not, name, texts) => match known.get(name) {
                Some(value) => negate(*is_not, truth(texts.contains(value))),
                None => 0,
            },
            Self::Like(is_not, name, pattern, escaped) => match known.get(name) {
                Some(value) => {
                    let pattern: Vec<char> = pattern.chars().collect();
                    let value: Vec<char> = value.chars().collect();
                    negate(*is_not, truth(is_like(&pattern, &value, *escaped)))
                }
                None => 0,
            },
            Self::Null(is_not, name) => negate(*is_not, truth(!known.contains_key(name))),
            Self::Flag(name) => match known.get(name) {
                Some(&"true") => 1,
                Some(&"false") => -1,
                _ => 0,
            },
        }
    }
}

fn is_like(pattern: &[char], value: &[char], escaped: bool) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['!', c, rest @ ..] if escaped => {
            value.first() == Some(c) && is_like(rest, &value[1..], escaped)
        }
        ['%', rest @ ..] => (0..=value.len()).any(|at| is_like(rest, &value[at..], escaped)),
        ['_', rest @ ..] => !value.is_empty() && is_like(rest, &value[1..], escaped),
        [c, rest @ ..] => value.first() == Some(c) && is_like(rest, &value[1..], escaped),
    }
}

impl Sum {
    fn write(&self) -> String {
        match self {
            Self::Name(name) => (*name).into(),
            Self::Integer(number) => number.to_string(),
            Self::Of(sign, a, b) => format!("({} {sign} {})", a.write(), b.write()),
            Self::Minus(a) => format!("- ({})", a.write()),
        }
    }

    fn evaluate(&self, known: &Known) -> Option<i64> {
        match self {
            Self::Name(name) => known.get(name)?.parse().ok(),
            Self::Integer(number) => Some(*number),
            Self::Of(sign, a, b) => {
                let (a, b) = (a.evaluate(known)?, b.evaluate(known)?);
                match *sign {
                    "+" => Some(a + b),
                    "-" => Some(a - b),
                    "*" => Some(a * b),
                    _ => a.checked_div(b),
                }
            }
            Self::Minus(a) => Some(-a.evaluate(known)?),
        }
    }
}

const NAMES: [&str; 4] = ["a", "b_2", "$c", "Not_A"];
const VALUES: [&str; 8] = ["0", "1", "2", "-3", "true", "false", "a!b%", "_ab"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn sum() -> impl Strategy<Value = Sum> {
    let leaf = prop_oneof![
        name().prop_map(Sum::Name),
        (0..4_i64).prop_map(Sum::Integer)
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let sign = prop::sample::select(vec!["+", "-", "*", "/"]);
        prop_oneof![
            (sign, inner.clone(), inner.clone()).prop_map(|(sign, a, b)| Sum::Of(
                sign,
                a.into(),
                b.into()
            )),
            inner.prop_map(|a| Sum::Minus(a.into())),
        ]
    })
}

fn plain() -> impl Strategy<Value = Plain> {
    let sign = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let text = prop::sample::select(&VALUES[..]);
    let leaf = prop_oneof![
        (sign, sum(), sum()).prop_map(|(sign, a, b)| Plain::Compare(sign, a, b)),
        (any::<bool>(), sum(), sum(), sum()).prop_map(|(n, a, b, c)| Plain::Between(n, a, b, c)),
        (any::<bool>(), name(), prop::collection::vec(text, 1..4))
            .prop_map(|(n, name, texts)| Plain::In(n, name, texts)),
        (any::<bool>(), name(), "([ab_%1]|![!%_]){0,5}", Just(true))
            .prop_map(|(n, name, pattern, e)| Plain::Like(n, name, pattern, e)),
        (any::<bool>(), name(), "[ab_%!1e]{0,5}", Just(false))
            .prop_map(|(n, name, pattern, e)| Plain::Like(n, name, pattern, e)),
        (any::<bool>(), name()).prop_map(|(n, name)| Plain::Null(n, name)),
        name().prop_map(Plain::Flag),
    ];
    leaf.prop_recursive(4, 7, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone()
                .prop_map(|(a, b)| Plain::Or(a.into(), b.into())),
            pair.prop_map(|(a, b)| Plain::And(a.into(), b.into())),
            inner.prop_map(|a| Plain::Not(a.into())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_the_plain_evaluator(
        plain in plain(),
        known in prop::collection::btree_map(name(), prop::sample::select(&VALUES[..]), 0..4),
    ) {
        let text = plain.write();
        // Beyond the limits there is nothing to compare.
        if text.len() <= Selector::MAX_LENGTH && text.matches("LIKE").count() <= Selector::MAX_LIKES {
            let selector = Selector::parse(&text);
            prop_assert!(selector.is_ok(), "{text}: {selector:?}");
            let headers = Headers::from_iter(known.iter().map(|(name, value)| (*name, *value)));
            let expected = plain.evaluate(&known) == 1;
            prop_assert_eq!(selector.unwrap().matches(&headers), expected, "{}", text);
        }
    }

    #[test]
    fn any_text_is_compiled_or_refused_at_a_place_inside_it(text in "[ -~ä]{0,40}") {
        if let Err(error) = Selector::parse(&text) {
            prop_assert!(error.at() <= text.chars().count());
        }
    }

    #[test]
    fn any_words_are_compiled_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "a", "'x'", "1", "1.5", "NOT", "AND", "OR", "LIKE", "IN", "BETWEEN", "IS", "NULL", "ESCAPE", "TRUE", "(", ")",
        ",", "=", "<", "<>", "+", "-", "*", "/",
    ]), 0..20)) {
        let result: Result<Selector, SelectorError> = Selector::parse(&words.join(" "));
        if let Ok(selector) = result {
            selector.matches(&Headers::from_iter([("a", "1")]));
        }
    }
}
