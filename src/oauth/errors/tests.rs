use super::*;

#[test]
fn the_built_in_rows_can_be_read() {
    assert_eq!(ERRORS.as_ref().err(), None);
    let sections: Vec<_> = Errors::built_in().sections().collect();
    for dialect in Dialect::ALL {
        assert!(sections.contains(&dialect.section()), "{dialect:?}");
    }
    assert_eq!(
        sections.len(),
        Dialect::ALL.len() + 1,
        "the dialects and the RFCs: {sections:?}"
    );
}

#[test]
fn every_row_says_where_it_is_from() {
    for section in Errors::built_in().sections() {
        for (row, source, _) in Errors::built_in().rows_of(section) {
            assert!(!source.trim().is_empty(), "{row:?}");
        }
    }
}

/// The words of a message, with the names of the blanks.
fn words(row: &Row) -> String {
    let blank = |value: Value| {
        let name = Value::ALL.iter().find(|(_, known)| *known == value).unwrap().0;
        format!("{{{name}}}")
    };
    let next = row.next.as_ref().map(|next| next.fill(blank)).unwrap_or_default();
    format!("{} {next}", row.means.fill(blank)).to_lowercase()
}

#[test]
fn a_person_is_asked_to_act_only_where_a_person_can_help() {
    for section in Errors::built_in().sections() {
        for (row, ..) in Errors::built_in().rows_of(section) {
            let words = words(row);
            for command in [
                "sign in again",
                "sign in at",
                "authorize",
                "{newgrant}",
                "new refresh token",
            ] {
                let asks = words.contains(command);
                assert!(
                    !asks || row.class == Class::Reauthorize,
                    "{section}, {:?}: {words}",
                    row.class
                );
            }
        }
    }
}

#[test]
fn a_row_that_cannot_be_used_is_told() {
    let of = |row: &str| {
        let yaml = format!("rfc: {{source: x, confidence: vendor, rows: [{row}]}}");
        Errors::parse(&yaml).map(|_| ()).unwrap_err()
    };
    for (row, problem) in [
        ("{class: BUG, means: a, next: b}", "it fits everything"),
        ("{error: [a], class: BUG, means: a}", "the next step is missing"),
        (
            "{error: [a], class: BUG, means: a, next: '{newGrant}'}",
            "no sign-in helps here",
        ),
        (
            "{error: [a], class: REAUTH, reason: GrantRevoked, means: a, next: b}",
            "does not say how",
        ),
        ("{error: [a], class: REAUTH, means: a}", "the reason is missing"),
        (
            "{error: [a], class: REAUTH, reason: ClientRejected, means: a}",
            "does not go with class",
        ),
        ("{error: [a], class: RETRY, means: '{token}'}", "cannot be filled"),
        ("{error: [a], class: RETRY, means: '{token'}", "not closed"),
        ("{error: [a], words: [Abc], class: RETRY, means: a}", "can never occur"),
        ("{error: [a], class: MAYBE, means: a}", "is no class"),
        ("{error: [a], class: RETRY, means: a, advice: b}", "advice"),
    ] {
        let found = of(row);
        assert!(found.contains(problem), "{row}: {found}");
    }
}

#[test]
fn a_number_alone_wakes_nobody() {
    let situation = Situation::speaking(Dialect::Microsoft);
    for (row, ..) in Errors::built_in().rows_of("microsoft") {
        for code in &row.codes {
            for error in [
                "",
                "something_new",
                "temporarily_unavailable",
                "server_error",
                "invalid_client",
            ] {
                let said = Said {
                    status: 400,
                    error,
                    subtype: "",
                    codes: &[*code],
                    words: "",
                };
                let found = Errors::built_in().find(&said, &situation);
                assert!(
                    found.is_none_or(|row| row.class != Class::Reauthorize),
                    "{error} {code}"
                );
            }
        }
    }
}

#[test]
fn where_no_person_signs_in_none_is_asked_to() {
    for dialect in Dialect::ALL {
        let situation = Situation::speaking(dialect).with(Some(Circumstance::NoPerson));
        for section in [dialect.section(), RFC] {
            for (row, ..) in Errors::built_in().rows_of(section) {
                let error = row.error.first().map_or("invalid_grant", String::as_str);
                let said = Said {
                    status: 400,
                    error,
                    subtype: row.subtype.first().map_or("", String::as_str),
                    codes: &row.codes,
                    words: row.words.first().map_or("", String::as_str),
                };
                let found = Errors::built_in().find(&said, &situation);
                assert!(
                    found.is_none_or(|row| row.class != Class::Reauthorize),
                    "{said:?}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn subtype_and_number_that_differ_wake_nobody() {
    let find = |subtype, code| {
        let said = Said {
            status: 400,
            error: "invalid_grant",
            subtype,
            codes: &[code],
            words: "",
        };
        let situation = Situation::speaking(Dialect::Microsoft);
        Errors::built_in().find(&said, &situation).unwrap().class
    };
    assert_eq!(find("basic_action", 50076), Class::Reauthorize);
    assert_eq!(find("basic_action", 53003), Class::AdminConfig);
    assert_eq!(find("message_only", 50076), Class::AdminConfig);
    assert_eq!(find("bad_token", 90033), Class::Retry);
    assert_eq!(find("never_seen", 50076), Class::Reauthorize);
    assert_eq!(find("basic_action", 1), Class::Reauthorize);
}
