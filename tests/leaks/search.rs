//! The search for secrets where none may be: plain, in base64, URL-encoded, and any 16 characters of these.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// So many characters of a secret in a row are a leak.
const WIDTH: usize = 16;
const FILTER_BITS: u32 = 24;

/// What may not be found.
pub(crate) struct Forbidden {
    /// All windows of all forms, sorted.
    windows: Vec<(u128, usize)>,
    /// Most text has no window in here, which saves the search.
    filter: Vec<u64>,
}

/// Where a secret shows, without showing it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leak {
    /// Which secret, by its place in the list.
    pub(crate) secret: usize,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What stands before it, to find the place in the code.
    pub(crate) before: String,
}

impl Forbidden {
    /// Secrets of fewer characters than a window are not looked for: any word might be one.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut windows: Vec<(u128, usize)> = Vec::new();
        for (index, secret) in secrets.into_iter().enumerate() {
            for form in forms(secret) {
                windows.extend(form.as_bytes().windows(WIDTH).map(|window| (number(window), index)));
            }
        }
        windows.sort_unstable();
        windows.dedup();
        let mut filter = vec![0_u64; (1 << FILTER_BITS) / 64];
        for (window, _) in &windows {
            let (word, bit) = place(*window);
            filter[word] |= bit;
        }
        Self { windows, filter }
    }

    /// The first leak in each line of a text.
    pub(crate) fn search(&self, text: &str) -> Vec<Leak> {
        let lines = text.lines().enumerate();
        lines
            .filter_map(|(index, line)| self.search_line(index + 1, line))
            .collect()
    }

    fn search_line(&self, number_of_line: usize, line: &str) -> Option<Leak> {
        let bytes = line.as_bytes();
        let mut window = 0_u128;
        for (at, byte) in bytes.iter().enumerate() {
            window = window << 8 | u128::from(*byte);
            let (word, bit) = place(window);
            if at + 1 < WIDTH || self.filter[word] & bit == 0 {
                continue;
            }
            let next = self.windows.partition_point(|(known, _)| *known < window);
            if let Some((known, secret)) = self.windows.get(next)
                && *known == window
            {
                let start = at + 1 - WIDTH;
                let before = String::from_utf8_lossy(&bytes[start.saturating_sub(120)..start]).into_owned();
                return Some(Leak {
                    secret: *secret,
                    line: number_of_line,
                    before,
                });
            }
        }
        None
    }
}

/// A secret as it might be written.
fn forms(secret: &str) -> Vec<String> {
    if secret.len() < WIDTH {
        return Vec::new();
    }
    let encoded: String = secret
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let mut forms = vec![secret.to_owned(), encoded.clone(), encoded.to_ascii_lowercase()];
    // In base64 the same bytes look different after one or two others, as in `Basic base64(id:secret)`. The characters
    // at both ends are made from foreign bytes too.
    for others in 0..3 {
        let text = ["x".repeat(others), secret.to_owned()].concat();
        for alphabet in [STANDARD, URL_SAFE] {
            let written = alphabet.encode(&text);
            let from = if others == 0 { 0 } else { others + 1 };
            let whole = text.len() / 3 * 4;
            forms.extend(written.get(from..whole).map(str::to_owned));
        }
    }
    forms
}

fn number(window: &[u8]) -> u128 {
    window.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn place(window: u128) -> (usize, u64) {
    let spread = window.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let hash = usize::try_from(spread >> (128 - FILTER_BITS)).expect("it has few bits");
    (hash / 64, 1 << (hash % 64))
}
