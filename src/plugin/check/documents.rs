//! Taking files apart into documents, so that one that cannot be read hides no other.

use serde_json::Value;

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// Which one of the file, from 1.
    pub(super) number: usize,
    /// The line that it begins in, from 1.
    pub(super) line: usize,
    /// What it says; or why it cannot be read.
    pub(super) value: Result<Value, String>,
}

/// The documents of a file. Objects in a `List`, as `kubectl get -o yaml` writes them, count as documents of their own. Empty documents are left out.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let mut pieces: Vec<(usize, String)> = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        let marker = line == "---" || line.starts_with("--- ") || line == "...";
        match pieces.last_mut() {
            Some((_, piece)) if !marker => {
                piece.push_str(line);
                piece.push('\n');
            }
            // What stands behind the marker belongs to the new document.
            _ => pieces.push((
                index + 2,
                line.strip_prefix("--- ")
                    .map(|rest| format!("{rest}\n"))
                    .unwrap_or_default(),
            )),
        }
    }
    let filled = pieces.into_iter().filter(|(_, piece)| says_something(piece));
    filled
        .enumerate()
        .flat_map(|(index, (line, piece))| read(index + 1, line, &piece))
        .collect()
}

fn says_something(piece: &str) -> bool {
    piece
        .lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !line.starts_with('#'))
}

fn read(number: usize, first_line: usize, piece: &str) -> Vec<Document> {
    let blank = piece
        .lines()
        .take_while(|line| line.trim().is_empty() || line.trim().starts_with('#'))
        .count();
    let line = first_line + blank;
    let document = |value| Document { number, line, value };
    let value: Value = match serde_saphyr::from_str(piece) {
        Ok(value) => value,
        Err(error) => return vec![document(Err(syntax(&error, first_line)))],
    };
    let is_list = value
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match value.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.iter().map(|item| document(Ok(item.clone()))).collect(),
        _ => vec![document(Ok(value))],
    }
}

/// What is wrong with the YAML. The parser's message may quote the document, which may hold a secret: of it only the place is kept, and what is known to be
/// said without a quote.
fn syntax(error: &serde_saphyr::Error, first_line: usize) -> String {
    let place = error.location().map(|location| {
        let line = usize::try_from(location.line()).unwrap_or_default();
        format!(
            " in line {}, column {}",
            (first_line + line).saturating_sub(1),
            location.column()
        )
    });
    format!(
        "this is no valid YAML or JSON{}: look for a wrong indentation, a key that stands there twice, or a quote or bracket that is not closed",
        place.unwrap_or_default()
    )
}
