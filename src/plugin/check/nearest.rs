//! Did you mean …?

/// The accepted word that is nearest to what was written, if one is near.
pub(in crate::plugin) fn nearest<'a>(written: &str, accepted: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = plain(written);
    let longest = written.chars().count();
    let near = accepted
        .into_iter()
        .map(|word| (distance(&written, &plain(word)), word))
        .min()?;
    // A third of the letters may be wrong.
    (near.0 <= longest.div_ceil(3)).then_some(near.1)
}

/// Without what people get wrong first: case, hyphens, underscores.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|letter| !matches!(letter, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (theirs, above) in other.iter().zip(row.iter().skip(1)) {
            let changed = diagonal + usize::from(letter != *theirs);
            left = changed.min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_something_else_is_not() {
        let fields = ["clientCredentialsRef", "clientID", "tokenURL", "grant", "scopes"];
        for (written, meant) in [
            ("clientId", Some("clientID")),
            ("client_id", Some("clientID")),
            ("tokenUrl", Some("tokenURL")),
            ("scope", Some("scopes")),
            ("clientCredentialRef", Some("clientCredentialsRef")),
            ("gant", Some("grant")),
            ("password", None),
        ] {
            assert_eq!(nearest(written, fields), meant, "{written}");
        }
    }

    #[test]
    fn a_distance_counts_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
