//! Any mixture of what can befall a file, replayed by a seed.

use super::*;

/// A small generator, so that a failure is replayed by its seed.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Numbered lines through any mixture of growth, rotation, restarts and kills between reading and keeping: each is
/// seen exactly once. Before a file is emptied it is read, or copied, and what is packed stays beside it.
#[test]
fn no_line_is_lost_or_seen_twice_whatever_happens_to_the_file() {
    for seed in 0..120 {
        let mut dice = Dice(seed);
        let mut p = Place::new("a.log");
        p.append("a.log", b"before\n");
        p.look();
        p.keep();
        let (mut next, mut rotated, mut story) = (0_u64, 0, Vec::new());
        for _ in 0..60 {
            let what = dice.roll(14);
            story.push(format!("{what} next {next} rotated {rotated} now {} {}", p.now_ms, p.tailer.story()));
            match what {
                0..=3 => {
                    for _ in 0..=dice.roll(4) {
                        p.append(
                            "a.log",
                            format!("line {next} {}\n", "x".repeat(50 + dice.roll(200) as usize)).as_bytes(),
                        );
                        next += 1;
                    }
                }
                4 => {
                    // Half a line now, the rest later, as a writer does that is scheduled away.
                    p.append("a.log", format!("line {next}").as_bytes());
                    if dice.roll(2) == 0 {
                        p.look();
                    }
                    p.append("a.log", format!(" {}\n", "y".repeat(50)).as_bytes());
                    next += 1;
                }
                5 => {
                    rotated += 1;
                    std::fs::rename(p.at("a.log"), p.at(&format!("a.log.{rotated}"))).ok();
                    p.append("a.log", b"");
                }
                6 => {
                    p.look();
                    p.keep();
                    std::fs::write(p.at("a.log"), b"").expect("truncated");
                    p.append("a.log", b"");
                }
                7 => {
                    // Deleted and made again: what was written and not yet read stays readable while it is open.
                    p.look();
                    p.keep();
                    std::fs::remove_file(p.at("a.log")).ok();
                    p.append("a.log", b"");
                }
                8 => {
                    // Kill in the middle: what was read and not kept is read again.
                    p.look();
                    p.restart("a.log");
                }
                9 => p.now_ms += GRACE_MS,
                10 => {
                    if p.tailer.tracked.iter().any(|t| t.at.offset == 0) {
                        p.look();
                        p.keep();
                    }
                    rotated += 1;
                    let copied = std::fs::copy(p.at("a.log"), p.at(&format!("a.log.{rotated}")));
                    copied.expect("copied");
                    std::fs::write(p.at("a.log"), b"").expect("emptied");
                    p.append("a.log", b"");
                }
                11 => {
                    let path = p.at(&format!("a.log.{}", 1 + dice.roll(rotated + 1)));
                    if path.exists() {
                        pack(&path, dice.roll(2) == 0);
                    }
                }
                _ => {
                    p.look();
                    p.keep();
                }
            }
        }
        p.look();
        p.look();
        p.keep();
        let numbers: Vec<u64> = p
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix("line ")?.split(' ').next()?.parse().ok())
            .collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..next).collect::<Vec<_>>(), "seed {seed}: {story:#?}");
        if !story.iter().any(|step| step.starts_with("10 ") || step.starts_with("11 ")) {
            // What was copied away, or packed with another time, may come later than what took its place.
            assert_eq!(numbers, sorted, "in order, seed {seed}: {story:#?}");
        }
    }
}
