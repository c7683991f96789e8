//! Holding a document against the schema of the resource: unknown fields, wrong types, words that are not accepted, fields that are missing.
//!
//! The API server drops unknown fields (kubectl only warns), and what the rules in code see has lost them; so they are found here, in the document as written.

use serde_json::Value;

use super::nearest::nearest;

/// Longest piece of a value that is repeated, in characters.
const LONGEST_QUOTE: usize = 80;

/// What is wrong, as `field: sentence`.
pub(super) fn problems(value: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(value, schema, "", &mut found);
    found
}

fn walk(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    let wanted = schema.get("type").and_then(Value::as_str);
    if let Some(wanted) = wanted.filter(|wanted| !is_of_type(value, wanted)) {
        found.push(wrong_type(value, wanted, path));
        return;
    }
    if let Some(accepted) = schema.get("enum").and_then(Value::as_array) {
        is_one_of(value, accepted, path, found);
    }
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let any = schema.get("additionalProperties");
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let below = join(path, name);
                match (properties.and_then(|known| known.get(name)), any, properties) {
                    (Some(schema), _, _) | (None, Some(schema), _) => walk(value, schema, &below, found),
                    (None, None, Some(known)) => found.push(unknown(&below, name, known.keys().map(String::as_str))),
                    (None, None, None) => {}
                }
            }
            let required = schema.get("required").and_then(Value::as_array);
            for name in required.into_iter().flatten().filter_map(Value::as_str) {
                if fields.get(name).is_none_or(Value::is_null) {
                    found.push(format!("{}: is missing{}", join(path, name), meaning(properties, name)));
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    walk(item, schema, &format!("{path}[{index}]"), found);
                }
            }
        }
        _ => {}
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

/// What was given is not repeated: a whole Secret may stand in the wrong place.
fn wrong_type(value: &Value, wanted: &str, path: &str) -> String {
    let given = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object with fields",
    };
    let accepted = match wanted {
        "object" => "an object with fields",
        "array" => "a list",
        "string" => "a text (put it into quotes)",
        "boolean" => "true or false",
        _ => "a whole number",
    };
    format!("{path}: is {given}, accepted is {accepted}")
}

fn is_one_of(value: &Value, accepted: &[Value], path: &str, found: &mut Vec<String>) {
    if accepted.contains(value) {
        return;
    }
    let words: Vec<&str> = accepted.iter().filter_map(Value::as_str).collect();
    let given = value.as_str().unwrap_or_default();
    let meant = nearest(given, words.iter().copied())
        .map(|meant| format!(" (did you mean {meant}?)"))
        .unwrap_or_default();
    let quoted: String = given.chars().take(LONGEST_QUOTE).collect();
    found.push(format!(
        "{path}: is {quoted:?}, accepted is one of {}{meant}",
        words.join(", ")
    ));
}

fn unknown<'a>(path: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(meant) => format!("{path}: there is no such field (did you mean {meant}?)"),
        None => format!(
            "{path}: there is no such field; here stand {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The first sentence of a field's description.
fn meaning(properties: Option<&serde_json::Map<String, Value>>, name: &str) -> String {
    let described = properties
        .and_then(|properties| properties.get(name)?.get("description")?.as_str())
        .and_then(|text| text.split(". ").next());
    described
        .map(|sentence| format!(" ({})", sentence.trim_end_matches('.')))
        .unwrap_or_default()
}
