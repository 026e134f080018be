//! What the parts of a configuration look like, for whoever wrote something else.

/// In each line a place, without the numbers of its items and of a rule without `rules[].`; and what
/// may stand there. One text, since a table costs the module three times as much.
const EXAMPLES: &str = r#"redis {"timeout": "50ms"}
headers[] "ratelimit"
rules[] {"name": "all", "limit": {"requests": 100, "per": "1m"}}
match {"methods": ["GET"]}
match.methods[] "GET"
match.hosts[] "*.example.org"
match.path {"prefix": "/api/"}
match.headers[] {"name": "x-plan", "exact": "free"}
match.query[] {"name": "plan", "exact": "free"}
match.property[] {"path": ["xds", "route_name"], "exact": "login"}
match.property[].path ["xds", "route_name"]
key[] {"header": "x-api-key"}
key[].client_ip {}
key[].metadata ["com.example", "user"]
key[].property ["xds", "route_name"]
limit {"requests": 100, "per": "1m"}
overrides[] {"key": ["gold"], "requests": 1000}
overrides[].key ["gold"]
cost {"header": "x-cost"}
local {"share": 0.5}
lease {"max": 10, "ttl": "100ms"}
response {"status": 429}
response.headers {"x-reason": "limit"}
breaker {"open": "250ms"}"#;

/// What may stand at a path, such as `rules[2].match`, if it is known.
pub(super) fn of(path: &str) -> Option<String> {
    let shape: String = path.chars().filter(|it| !it.is_ascii_digit()).collect();
    let shape = shape.strip_prefix("rules[].").unwrap_or(&shape);
    rows().find_map(|(place, example)| match place.strip_prefix(shape)? {
        "" => Some(example.to_owned()),
        "[]" => Some(format!("[{example}]")),
        _ => None,
    })
}

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXAMPLES.lines().filter_map(|line| line.split_once(' '))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, with_rule};
    use super::*;
    use serde_json::{Value as Json, json};

    /// A good document in which every place of the table can be put.
    fn base() -> Json {
        with_rule(&json!({
            "match": { "property": [{ "exact": "a" }] },
            "key": [{ "query": "a" }],
            "overrides": [{ "deny": true }],
        }))
    }

    fn put(tree: &mut Json, path: &str, value: Json) {
        let Some((step, rest)) = path.split_once('.') else {
            return match path.strip_suffix("[]") {
                Some(list) => tree[list] = json!([value]),
                None => tree[path] = value,
            };
        };
        match step.strip_suffix("[]") {
            // A part of a key is one thing only.
            Some("key") => tree["key"] = json!([{ rest: value }]),
            Some(list) => put(&mut tree[list][0], rest, value),
            None => put(&mut tree[step], rest, value),
        }
    }

    fn document(place: &str, value: Json) -> Json {
        let mut tree = base();
        let rule = &mut tree["rules"][0];
        if !place.starts_with("match.property") {
            rule.as_object_mut().unwrap().remove("match");
        }
        if !place.starts_with("overrides") {
            rule.as_object_mut().unwrap().remove("overrides");
        }
        let of_document = ["redis", "headers", "rules", "breaker"];
        let of_document = of_document.contains(&place.trim_end_matches("[]"));
        put(if of_document { &mut tree } else { rule }, place, value);
        tree
    }

    #[test]
    fn every_example_may_stand_where_it_is_shown() {
        for (place, example) in rows() {
            let tree = document(place, serde_json::from_str(example).unwrap());
            parse(&tree).unwrap_or_else(|problems| panic!("{place}: {problems}"));
        }
    }

    #[test]
    fn what_is_of_another_kind_is_told_the_example() {
        for (place, example) in rows() {
            let (place, example) = match place.strip_suffix("[]") {
                Some(list) => (list, format!("[{example}]")),
                None => (place, example.to_owned()),
            };
            let problems = parse(&document(place, Json::Null)).unwrap_err().to_string();
            let end = format!(" such as {example}, found null");
            assert!(problems.ends_with(&end), "{place}: {problems}");
        }
    }
}
