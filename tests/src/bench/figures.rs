//! Statistics of repeated measurements. Pure.

/// What rounds of one measurement came to, in the unit of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    pub rounds: usize,
    pub least: f64,
    pub median: f64,
    /// Nine of ten rounds are not above it.
    pub p90: f64,
    pub most: f64,
}

impl Figures {
    /// Sums rounds up; nothing where there are none, or where one is not a number.
    pub fn of(rounds: &[f64]) -> Option<Figures> {
        if rounds.is_empty() || rounds.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        Some(Figures {
            rounds: sorted.len(),
            least: sorted[0],
            median: (sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0,
            // The smallest value that at least nine tenths of the rounds do not exceed.
            p90: sorted[(sorted.len() * 9).div_ceil(10) - 1],
            most: sorted[last],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_fixed_rounds() {
        let ten: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        let cases: [(&[f64], [f64; 4]); 4] = [
            (&[7.0], [7.0, 7.0, 7.0, 7.0]),
            (&[3.0, 1.0], [1.0, 2.0, 3.0, 3.0]),
            (&[5.0, 1.0, 3.0], [1.0, 3.0, 5.0, 5.0]),
            (&ten, [1.0, 5.5, 9.0, 10.0]),
        ];
        for (rounds, [least, median, p90, most]) in cases {
            let expected = Figures { rounds: rounds.len(), least, median, p90, most };
            assert_eq!(Figures::of(rounds), Some(expected), "{rounds:?}");
        }
        assert_eq!(Figures::of(&[]), None);
        assert_eq!(Figures::of(&[1.0, f64::NAN]), None);
    }
}
