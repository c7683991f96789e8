//! Texts that are kept for each of thousands of assets, packed: specs, statuses and annotations say nearly the same in the same words.
//!
//! LZ4 against a text with those words makes them less than half as long.

use lz4_flex::block;

/// What they have in common. A text that has none of it is kept all the same, only not so small.
const WORDS: &[u8] = include_bytes!("words.txt");

/// A packed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    packed: Box<[u8]>,
    length: usize,
}

impl Text {
    /// Packs a text.
    pub(crate) fn pack(text: &str) -> Self {
        Self {
            packed: block::compress_with_dict(text.as_bytes(), WORDS).into_boxed_slice(),
            length: text.len(),
        }
    }

    /// The text as it was. `None`: memory was damaged, since what was packed can be unpacked.
    pub(crate) fn unpack(&self) -> Option<String> {
        let bytes = block::decompress_with_dict(&self.packed, self.length, WORDS).ok()?;
        String::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the API server sent it, of an asset that was refreshed.
    const STATUS: &str = r#"{"conditions":[{"lastTransitionTime":"2026-11-25T09:38:29Z","message":"Secret bench/asset-00041-token holds a valid access token for asset-00041@example.com.","observedGeneration":1,"reason":"Fresh","status":"True","type":"Ready"},{"lastTransitionTime":"2026-11-25T09:38:29Z","message":"id.example.org accepts the stored grant for asset-00041@example.com.","observedGeneration":1,"reason":"Stored","status":"True","type":"Authorized"},{"lastTransitionTime":"2026-11-25T09:38:29Z","message":"id.example.org gave an access token when it was last asked.","observedGeneration":1,"reason":"Refreshed","status":"True","type":"Refreshed"}],"endpoints":{"clientAuthentication":"ClientSecretBasic","rotation":"Strict","tokenURL":"https://id.example.org/token"},"grant":{"generation":7,"grantTime":"2026-11-25T09:38:29Z"},"observedGeneration":1,"token":{"expirationTime":"2026-11-25T10:38:29Z","issueTime":"2026-11-25T09:38:29Z","refreshCount":7,"renewalTime":"2026-11-25T10:14:10Z","secretName":"asset-00041-token"}}"#;

    #[test]
    fn a_status_is_kept_in_less_than_half_of_its_length() {
        let text = Text::pack(STATUS);
        assert!(
            text.packed.len() * 2 < STATUS.len(),
            "{} of {}",
            text.packed.len(),
            STATUS.len()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_the_same_when_it_is_unpacked(text in ".*") {
            prop_assert_eq!(Text::pack(&text).unpack(), Some(text));
        }
    }
}
