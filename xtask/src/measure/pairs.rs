//! Medians and ratios of runs in turn.

use serde_json::{Value, json};

/// One number of two servers: first the other, then ours, in turn, and the other again at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    pub(super) other: Vec<f64>,
    pub(super) ours: Vec<f64>,
}

/// Ratios of ours to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Pairs {
    /// Each of our runs against the mean of the other's runs before and after it: slow drift of the machine cancels out.
    ///
    /// `None` without a whole pair, or where the other's figure is nought.
    pub(super) fn ratio(&self) -> Option<Ratio> {
        let neighbours = self
            .other
            .windows(2)
            .map(|two| f64::midpoint(two[0], two[1]));
        let ratios: Vec<f64> = self
            .ours
            .iter()
            .zip(neighbours)
            .map(|(ours, other)| ours / other)
            .collect();
        let median = median(&ratios).filter(|median| median.is_finite())?;
        Some(Ratio {
            median,
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    pub(super) fn json(&self) -> Value {
        let ratio = self.ratio();
        json!({
            "ours": self.ours,
            "other": self.other,
            "ours_median": median(&self.ours),
            "other_median": median(&self.other),
            "ratio_median": ratio.map(|ratio| ratio.median),
            "ratio_least": ratio.map(|ratio| ratio.least),
            "ratio_most": ratio.map(|ratio| ratio.most),
        })
    }
}

/// The middle value, or the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn drift_of_the_machine_cancels_out() {
        // Everything takes twice as long at the end; ours takes as long as the other all the time.
        let pairs = Pairs {
            other: vec![1.0, 1.5, 2.0],
            ours: vec![1.25, 1.75],
        };
        let ratio = Ratio {
            median: 1.0,
            least: 1.0,
            most: 1.0,
        };
        assert_eq!(pairs.ratio(), Some(ratio));
    }

    #[test]
    fn the_spread_is_the_least_and_the_most() {
        let pairs = Pairs {
            other: vec![2.0; 4],
            ours: vec![1.0, 4.0, 2.0],
        };
        let ratio = pairs.ratio().unwrap();
        assert_eq!((ratio.least, ratio.median, ratio.most), (0.5, 1.0, 2.0));
    }

    #[test]
    fn nothing_to_compare_gives_no_ratio() {
        assert_eq!(Pairs::default().ratio(), None);
        let nought = Pairs {
            other: vec![0.0; 2],
            ours: vec![1.0],
        };
        assert_eq!(nought.ratio(), None);
    }
}
