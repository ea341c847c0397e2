//! Makes an input from good ones: cuts, copies and joins them, and puts in what readers stumble over.

/// A small generator (splitmix64): the same numbers for the same seed, on every machine.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.number() >> 1).unwrap_or(0).checked_rem(n).unwrap_or(0)
    }
}

/// What comes in from outside and must reach no command line, path, template or terminal as text.
pub const CANARIES: [&str; 16] = [
    ";touch /c",
    "$(touch /c)",
    "`touch /c`",
    "a\nb",
    "a\0b",
    "../../etc/passwd",
    "-rf",
    "--output=/c",
    "{{7*7}}",
    "$unit",
    "%n%s",
    "\u{1b}[2J\u{1b}]0;x\u{7}",
    "'; DROP TABLE journal; --",
    "<script>x</script>",
    "\u{202e}txt.exe",
    "a|b&c>d",
];

/// Pieces of documents that readers know, and numbers at their edges.
const PIECES: [&str; 24] = [
    "- ",
    ": ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!str ",
    "|",
    ">",
    "#",
    "null",
    "true",
    "0",
    "-1",
    "9223372036854775808",
    "1e999",
    "$x",
    "\t",
];

/// Returns an input: one of the good ones, changed a few times.
pub fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds.get(random.below(seeds.len())).cloned().unwrap_or_default();
    for _ in 0..random.below(6) {
        change(&mut input, seeds, random);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + 1 + random.below(40)).min(input.len());
    match random.below(10) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => drop(input.drain(at.min(end)..end)),
        2 => {
            let piece = input[at.min(end)..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        3 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let to = (from + random.below(200)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        4 | 5 => put_word(input, CANARIES[random.below(CANARIES.len())].as_bytes(), random),
        6 | 7 => {
            let piece = PIECES[random.below(PIECES.len())].bytes();
            input.splice(at..at, piece);
        }
        8 => {
            let piece = PIECES[random.below(PIECES.len())].repeat(1 + random.below(3000));
            input.splice(at..at, piece.bytes());
        }
        _ => swap_lines(input, random),
    }
}

/// Puts a text in the place of a word, so that what stands around it stays well formed.
fn put_word(input: &mut Vec<u8>, text: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./".contains(byte);
    let begin = input[..at].iter().rposition(|b| !in_word(b)).map_or(0, |p| p + 1);
    let end = input[at..].iter().position(|b| !in_word(b)).map_or(input.len(), |p| at + p);
    input.splice(begin..end, text.iter().copied());
}

fn swap_lines(input: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<Vec<u8>> = input.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
    lines.swap(a, b);
    *input = lines.join(&b'\n');
}
