//! A cache for what is dear to make, such as a TLS configuration with all authorities of the platform: the values that were asked for last.

/// So many values as it may hold; what has not been asked for the longest goes first.
pub(crate) struct Recent<K, V> {
    most: usize,
    values: Vec<(K, V)>,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    /// Empty, for so many values.
    pub(crate) const fn holding(most: usize) -> Self {
        Self {
            most,
            values: Vec::new(),
        }
    }

    /// The value of `key`; made when it is not there.
    ///
    /// # Errors
    /// What `make` says. Nothing is kept then.
    pub(crate) fn get_or_make<E>(&mut self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let value = match self.values.iter().position(|(known, _)| *known == key) {
            Some(index) => self.values.remove(index).1,
            None => make()?,
        };
        self.values.push((key, value.clone()));
        if self.values.len() > self.most {
            self.values.remove(0);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn only_the_values_that_were_asked_for_last_are_kept() {
        const MOST: usize = 8;
        let mut recent = Recent::holding(MOST);
        let mut log = Vec::new();
        let first_again = |key: usize| [key, 0];
        for key in (0..=MOST).flat_map(first_again).chain([1]) {
            let make = || {
                log.push(key);
                Ok::<_, Infallible>(key)
            };
            recent.get_or_make(key, make).unwrap();
        }
        assert_eq!(recent.values.len(), MOST);
        let expected: Vec<usize> = (0..=MOST).chain([1]).collect();
        assert_eq!(
            log, expected,
            "0 stays because it is in use, 1 was dropped for the last"
        );
    }
}
