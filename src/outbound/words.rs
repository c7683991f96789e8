//! Words of a server as they can be shown to people.

/// One line, bounded to `limit` characters, without control characters and without those that turn the direction of text. HTML is not shown at all.
pub(crate) fn quotable(words: &str, limit: usize) -> Option<String> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let visible: String = words
        .chars()
        .take(4 * limit)
        .map(|c| if hidden(c) { ' ' } else { c })
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    let html = line.to_ascii_lowercase();
    if line.is_empty() || html.contains("<html") || html.contains("<!doctype") {
        return None;
    }
    Some(line.chars().take(limit).collect())
}
