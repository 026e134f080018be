use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A file with this content, and the folder that goes with it.
fn file(name: &str, content: &[u8]) -> (PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (path, folder)
}

fn read(name: &str, content: &[u8]) -> Result<Source> {
    Source::read(&file(name, content).0)
}

fn envoy_of(tree: &Value) -> Envoy {
    match read("envoy.json", tree.to_string().as_bytes()).unwrap() {
        Source::Envoy(envoy) => envoy,
        own => panic!("{own:?}"),
    }
}

/// A filter that is discovered from there.
fn discovered(source: &Value) -> Value {
    json!({ "resources": [{ "http_filters": [{ "name": "gate", "config_discovery": source }] }] })
}

fn in_file(path: &Path) -> Value {
    json!({ "path_config_source": { "path": path } })
}

fn wasm_in(path: &Path) -> Value {
    json!({ "config_source": in_file(path),
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"] })
}

const PLACE: &str = "resources[0].http_filters[0].config_discovery";

#[test]
fn a_file_has_a_longest_length() {
    let (path, _folder) = file("own.json", b"{}");
    let resize = |length| {
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length)
    };
    resize(BYTES_MAX).unwrap();
    let Source::Own(bytes) = Source::read(&path).unwrap() else {
        panic!("zeros are no Envoy configuration");
    };
    assert_eq!(bytes.len() as u64, BYTES_MAX);
    resize(BYTES_MAX + 1).unwrap();
    let error = Source::read(&path).unwrap_err().to_string();
    assert!(error.contains("at most 8388608 bytes"), "{error}");
}

#[test]
fn files_that_lead_to_each_other_are_bounded_together() {
    let content = br#"{ "resources": [{ "name": "gate" }] }"#;
    let (path, _folder) = file("filter.json", content);
    let tree = discovered(&wasm_in(&path));
    let length = content.len() as u64;
    let fits = discovery::follow(tree.clone(), length);
    assert!(fits.refused.is_empty(), "{fits:?}");
    let long = discovery::follow(tree, length - 1);
    assert!(
        long.refused[0].contains("at most 8388608 bytes"),
        "{long:?}"
    );
}

#[test]
fn a_file_that_names_itself_is_followed_so_far_and_no_further() {
    let (path, _folder) = file("itself.json", b"");
    let tree = discovered(&wasm_in(&path));
    fs::write(&path, tree.to_string()).unwrap();
    let Source::Envoy(envoy) = Source::read(&path).unwrap() else {
        panic!("it has resources");
    };
    assert!(
        envoy
            .unread
            .iter()
            .any(|it| it.ends_with("3 files lead to it already, so it was not looked at")),
        "{envoy:?}"
    );
}

#[test]
fn what_a_file_of_listeners_discovers_is_found() {
    let plugin = json!({ "root_id": ROOT_ID });
    let filter = json!({ "resources": [{ "name": "gate", "typed_config": { "config": plugin } }] });
    let (filter, _one) = file("filter.json", filter.to_string().as_bytes());
    let listeners = discovered(&wasm_in(&filter)).to_string();
    let (listeners, _other) = file("listeners.json", listeners.as_bytes());
    let envoy = envoy_of(&json!({ "dynamic_resources": { "lds_config": in_file(&listeners) } }));
    assert_eq!(
        (envoy.unread.len(), envoy.refused.len()),
        (0, 0),
        "{envoy:?}"
    );
    let found = plugins(&envoy.tree, ROOT_ID);
    let place = format!(
        "dynamic_resources.lds_config({}).{PLACE}({}).resources[0].typed_config.config",
        listeners.display(),
        filter.display()
    );
    assert_eq!(
        found.iter().map(|it| &*it.place).collect::<Vec<_>>(),
        [place]
    );
    assert!(found[0].manager.is_some());
}

#[test]
fn what_cannot_be_looked_at_is_told_of_unless_it_is_no_wasm_filter() {
    let server = json!({ "config_source": { "ads": {} } });
    let envoy = envoy_of(&discovered(&server));
    let expected = format!("{PLACE}: it comes from a server, so it was not looked at: ");
    assert!(envoy.unread[0].starts_with(&expected), "{envoy:?}");

    let missing = envoy_of(&discovered(&wasm_in(Path::new("/no/such/file"))));
    let expected = format!("{PLACE}: /no/such/file cannot be read: No such file");
    assert!(missing.unread[0].starts_with(&expected), "{missing:?}");

    let mut other = wasm_in(Path::new("/no/such/file"));
    other["type_urls"] = json!(["type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"]);
    let envoy = envoy_of(&discovered(&other));
    assert_eq!(
        (envoy.unread.len(), envoy.refused.len()),
        (0, 0),
        "{envoy:?}"
    );
}

#[test]
fn what_envoy_would_refuse_of_a_file_is_told_with_both_places() {
    let cases = [
        (
            json!({ "resources": [{ "name": "other" }] }),
            "hold one resource, of the filter's name: \"gate\"",
        ),
        (
            json!({ "resources": [{ "name": "gate" }, { "name": "gate" }] }),
            "hold one resource",
        ),
        (json!({ "rules": [] }), "expected a file of resources"),
    ];
    for (content, expected) in cases {
        let (path, _folder) = file("filter.json", content.to_string().as_bytes());
        let envoy = envoy_of(&discovered(&wasm_in(&path)));
        let [refused] = &envoy.refused[..] else {
            panic!("{envoy:?}");
        };
        assert!(refused.starts_with(PLACE), "{refused}");
        assert!(refused.contains(&path.display().to_string()), "{refused}");
        assert!(refused.contains(expected), "{refused}");
    }
}

/// What the file is, is said as of any other file.
#[test]
fn a_discovered_file_with_an_error_is_told_with_it() {
    let cases = [
        (
            "a.json",
            r#"{ "resources": ["#,
            "expected JSON, found an error: EOF while parsing a list at line 1",
        ),
        (
            "a.conf",
            "resources:\n- {",
            "found YAML, which Envoy reads only from *.yaml and *.yml: rename it",
        ),
        (
            "a.yaml",
            "resources:\n- {",
            "expected a YAML document, found an error: ",
        ),
    ];
    for (name, content, expected) in cases {
        let (path, _folder) = file(name, content.as_bytes());
        let envoy = envoy_of(&discovered(&wasm_in(&path)));
        let [refused] = &envoy.refused[..] else {
            panic!("{envoy:?}");
        };
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn what_is_no_text_that_envoy_reads_says_why() {
    let renamed =
        "expected JSON, found YAML, which Envoy reads only from *.yaml and *.yml: rename it";
    let cases: [(&str, &[u8], &str); 11] = [
        (
            "a.json",
            b"{\n\"a\": \"\xe9\"}",
            "UTF-8, found the byte 0xe9 in line 2: save it as UTF-8",
        ),
        (
            "a.yaml",
            b"\xff\xfea\0",
            "UTF-8, found the byte 0xff in line 1",
        ),
        ("a.json", b"\xef\xbb\xbf{}", "found a byte order mark"),
        ("a.conf", b"admin: {}", renamed),
        ("a", b"admin: {}", renamed),
        ("a.conf", b"# x\nresources:\n- {", renamed),
        ("a", b"static_resources: [\nadmin: {}", renamed),
        (
            "a.yaml",
            b"admin: {}\n---\nadmin: {}",
            "expected a YAML document, found an error: ",
        ),
        (
            "a.yaml",
            b"",
            "expected an Envoy configuration, or the filter's own as JSON, found nothing",
        ),
        (
            "a.YML",
            b"kind: x\napi: y",
            "found YAML with \"api\", \"kind\"",
        ),
        ("a.yaml", b"- 1", "found YAML that is no mapping"),
    ];
    for (name, content, expected) in cases {
        let error = format!("{:#}", read(name, content).unwrap_err());
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn json_and_yaml_are_told_apart_as_envoy_does() {
    for name in ["a.yaml", "a.yml", "a.YAML"] {
        let read = read(name, b"admin: {}").unwrap();
        assert!(matches!(read, Source::Envoy(_)), "{name}");
    }
    // Not by Envoy, but into this.
    let piped = envoy(Path::new("/dev/stdin"), "admin: {}").unwrap();
    assert!(piped.is_some());
    for name in ["a.json", "a.conf", "a.yaml", "a"] {
        let read = read(name, br#"{ "admin": {} }"#).unwrap();
        assert!(matches!(read, Source::Envoy(_)), "{name}");
    }
    for name in ["a.json", "a.conf", "a.yaml", "a"] {
        let read = read(name, br#"{ "rules": [] }"#).unwrap();
        assert!(matches!(read, Source::Own(_)), "{name}");
    }
}

/// A file of listeners, in it a composite filter that is discovered, in it a filter that is, too: Envoy
/// takes that.
#[test]
fn no_valid_chain_of_files_is_refused() {
    let plugin = json!({ "root_id": ROOT_ID });
    let filter = json!({ "resources": [{ "name": "gate", "typed_config": { "config": plugin } }] });
    let (filter, _one) = file("filter.json", filter.to_string().as_bytes());
    let inner = json!({ "name": "gate", "config_discovery": wasm_in(&filter) });
    let composite = json!({ "resources": [{ "name": "gate", "typed_config": {
        "xds_matcher": { "on_no_match": { "action": { "typed_config": { "dynamic_config": inner } } } } } }] });
    let (composite, _two) = file("composite.json", composite.to_string().as_bytes());
    let source = json!({ "config_source": in_file(&composite) });
    let (listeners, _three) = file("listeners.json", discovered(&source).to_string().as_bytes());
    let envoy = envoy_of(&json!({ "dynamic_resources": { "lds_config": in_file(&listeners) } }));
    assert!(envoy.refused.is_empty(), "{envoy:?}");
}

/// Envoy reads `*.pb` and `*.pb_text`, too.
#[test]
fn a_file_in_another_format_that_envoy_reads_is_not_refused() {
    let (path, _folder) = file("filter.pb", b"\x0a\x80\x01");
    let envoy = envoy_of(&discovered(&wasm_in(&path)));
    assert!(envoy.refused.is_empty(), "{envoy:?}");
    assert_eq!(envoy.unread.len(), 1, "{envoy:?}");
}

/// As many tools write what is beyond U+FFFF in JSON.
#[test]
fn json_with_a_pair_of_surrogates_is_an_envoy_configuration() {
    let read = read(
        "a.json",
        br#"{ "node": { "id": "\ud83d\ude00" }, "admin": {} }"#,
    )
    .unwrap();
    assert!(matches!(read, Source::Envoy(_)), "{read:?}");
}
