//! What a connection manager does to a path before the filter sees it.

use serde_json::Value;

use crate::plugin::field;

/// A setting that undoes other spellings of a path, and whether it would change one.
type Setting = (&'static str, fn(&str) -> bool);

const SETTINGS: [Setting; 2] = [
    ("normalize_path", is_not_normal),
    ("merge_slashes", |path| path.contains("//")),
];

/// The settings that are off in this connection manager.
pub(crate) fn missing(manager: &Value) -> Vec<&'static str> {
    let off = SETTINGS.iter().filter(|(name, _)| !is_on(manager, name));
    off.map(|(name, _)| *name).collect()
}

/// The settings of this connection manager that change the path of this target.
pub(crate) fn changing(manager: &Value, target: &str) -> Vec<&'static str> {
    let path = target.split('?').next().unwrap_or(target);
    let on = SETTINGS.iter().filter(|(name, _)| is_on(manager, name));
    on.filter(|(_, changes)| changes(path))
        .map(|(name, _)| *name)
        .collect()
}

fn is_on(manager: &Value, name: &str) -> bool {
    field(manager, name).is_some_and(|it| it == true)
}

/// Envoy resolves `.` and `..`, reads `\` as `/`, and settles which characters are percent-encoded.
fn is_not_normal(path: &str) -> bool {
    let mut encoded = path.split('%').skip(1);
    path.split('/').any(|segment| matches!(segment, "." | ".."))
        || path.contains(['\\', '"', '<', '>', '^', '`', '{', '|', '}'])
        || encoded.any(|rest| is_unreserved(rest.get(..2).unwrap_or_default()))
}

/// Whether these two digits stand for a character that needs no encoding.
fn is_unreserved(hex: &str) -> bool {
    let byte = u8::from_str_radix(hex, 16).unwrap_or_default();
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Envoy 1.36.4 and 1.40.0 do.
    #[test]
    fn a_path_is_changed_by_the_settings_that_are_on() {
        const NORMAL: &[&str] = &["normalize_path"];
        const MERGE: &[&str] = &["merge_slashes"];
        const BOTH: &[&str] = &["normalize_path", "merge_slashes"];
        let cases = [
            ("/login?x=//&y=/../z", [].as_slice()),
            ("/...", &[]),
            ("/.well-known/a..b", &[]),
            ("/%2Flogin/%5C%zz/%c3%a9%+4%4", &[]),
            ("/", &[]),
            ("/x/../login", NORMAL),
            ("/login/.?x", NORMAL),
            ("/x/%2e%2E/login", NORMAL),
            ("/log%69n", NORMAL),
            ("/%7euser", NORMAL),
            ("/\\login", NORMAL),
            ("/{id}", NORMAL),
            ("//login", MERGE),
            ("/login//", MERGE),
            ("/x//../login", BOTH),
        ];
        for (target, expected) in cases {
            let on = json!({ "normalize_path": true, "mergeSlashes": true });
            assert_eq!(changing(&on, target), expected, "{target}");
            let off = json!({ "normalize_path": false });
            assert_eq!(changing(&off, target), [""; 0], "{target}");
        }
        assert_eq!(missing(&json!({})), BOTH);
        assert_eq!(missing(&json!({ "normalize_path": true })), MERGE);
    }
}
