//! Data for programs: JSON or YAML.

use serde::Serialize;

use super::arguments::DataFormat;
use super::exit::{Exit, Problem};

/// A value in the format asked for, with a line end.
pub(super) fn data<T: Serialize>(value: &T, format: DataFormat) -> Result<String, Problem> {
    let written = match format {
        DataFormat::Json => serde_json::to_string_pretty(value).map_err(|error| error.to_string()),
        DataFormat::Yaml => serde_saphyr::to_string(value).map_err(|error| error.to_string()),
    };
    let mut text = written.map_err(|error| {
        Problem::new(
            Exit::Found,
            format!("What was found cannot be written as data: {error}."),
        )
    })?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
