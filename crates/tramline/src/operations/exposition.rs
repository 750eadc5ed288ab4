//! Prometheus' text format.

use std::fmt::Display;

use crate::model::histogram::Histogram;

/// The content type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number that only grows.
    Counter,
    Gauge,
    Histogram,
}

/// A name of metrics, with what they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// A text that is being written. The format wants all samples of a family behind each other, and they come stack by stack.
#[derive(Default)]
pub(super) struct Exposition(Vec<(Family, String)>);

impl Exposition {
    pub(super) fn sample(&mut self, family: Family, labels: Labels<'_>, value: impl Display) {
        line(self.samples(family), family.name, "", labels, None, value);
    }

    pub(super) fn histogram(&mut self, family: Family, labels: Labels<'_>, histogram: &Histogram) {
        let (buckets, count, sum) = histogram.read();
        let samples = self.samples(family);
        for (bound, count) in buckets {
            let bound = bound.to_string();
            line(samples, family.name, "_bucket", labels, Some(&bound), count);
        }
        line(samples, family.name, "_bucket", labels, Some("+Inf"), count);
        line(samples, family.name, "_sum", labels, None, sum);
        line(samples, family.name, "_count", labels, None, count);
    }

    fn samples(&mut self, family: Family) -> &mut String {
        let known = self
            .0
            .iter()
            .position(|(known, _)| known.name == family.name);
        let at = known.unwrap_or_else(|| {
            self.0.push((family, String::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub(super) fn into_text(self) -> String {
        let mut text = String::new();
        for (Family { name, kind, help }, samples) in self.0 {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            text.push_str(&format!(
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}"
            ));
        }
        text
    }
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: Labels<'_>,
    bound: Option<&str>,
    value: impl Display,
) {
    text.push_str(&format!("{name}{suffix}"));
    let bound = bound.map(|bound| ("le", bound));
    for (at, (name, value)) in labels.iter().copied().chain(bound).enumerate() {
        let before = if at == 0 { '{' } else { ',' };
        text.push_str(&format!("{before}{name}=\"{}\"", escaped(value)));
    }
    let after = if labels.is_empty() && bound.is_none() {
        ""
    } else {
        "}"
    };
    text.push_str(&format!("{after} {value}\n"));
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stay_together_and_labels_are_escaped() {
        let family = |name| Family {
            name,
            kind: Kind::Gauge,
            help: "Things.",
        };
        let mut text = Exposition::default();
        text.sample(family("a"), &[("x", "1")], 1);
        text.sample(family("b"), &[], 0.5);
        text.sample(family("a"), &[("x", "\"\\\n"), ("y", "2")], 2);
        assert_eq!(
            text.into_text(),
            "# HELP a Things.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"\\\"\\\\\\n\",y=\"2\"} 2\n\
             # HELP b Things.\n# TYPE b gauge\nb 0.5\n"
        );
    }
}
