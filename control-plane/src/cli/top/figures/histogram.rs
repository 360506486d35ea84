//! A histogram as Prometheus has it: how many were at most so large, for some sizes.

/// How fast each bucket grows, in the order of their bounds. A bucket holds those of the smaller ones too.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// So many more a second are at most this large.
    pub(super) fn add(&mut self, bound: f64, rate: Option<f64>) {
        let Some(rate) = rate else { return };
        let at = self.0.partition_point(|(other, _)| *other < bound);
        match self.0.get_mut(at) {
            Some((other, sum)) if other.total_cmp(&bound).is_eq() => *sum += rate,
            _ => self.0.insert(at, (bound, rate)),
        }
    }

    /// What this share of all is at most, as Prometheus' `histogram_quantile` estimates it: values of a bucket are taken to be spread evenly. Those
    /// beyond the last bound count as being at it.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let (_, all) = self.0.last().filter(|(_, all)| *all > 0.0)?;
        let rank = all * share;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank {
                if bound.is_infinite() {
                    return Some(lower);
                }
                let within = count - below;
                let part = if within > 0.0 { (rank - below) / within } else { 1.0 };
                return Some(lower + (bound - lower) * part);
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(all: &[(f64, f64)]) -> Buckets {
        let mut buckets = Buckets::default();
        for (bound, rate) in all.iter().rev() {
            buckets.add(*bound, Some(*rate));
        }
        buckets
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let buckets = buckets(&[(1.0, 50.0), (5.0, 90.0), (10.0, 98.0), (f64::INFINITY, 100.0)]);
        for (share, expected) in [(0.25, 0.5), (0.5, 1.0), (0.7, 3.0), (0.9, 5.0), (0.98, 10.0), (0.99, 10.0)]
        {
            let found = buckets.quantile(share).unwrap();
            assert!((found - expected).abs() < 1e-9, "{share}: {found}");
        }
    }

    #[test]
    fn without_values_there_is_no_quantile() {
        assert_eq!(Buckets::default().quantile(0.5), None);
        assert_eq!(buckets(&[(1.0, 0.0), (f64::INFINITY, 0.0)]).quantile(0.99), None);
        let mut unknown = Buckets::default();
        unknown.add(1.0, None);
        assert_eq!(unknown, Buckets::default());
    }

    #[test]
    fn several_envoys_are_one_histogram() {
        let mut sum = buckets(&[(1.0, 1.0), (2.0, 2.0)]);
        sum.add(1.0, Some(3.0));
        sum.add(2.0, Some(3.0));
        assert_eq!(sum, buckets(&[(1.0, 4.0), (2.0, 5.0)]));
    }
}
