//! The configuration as a `google.protobuf.Struct`.

use serde_json::json;
use velocitygate_chaos::stack::envoy_config::http_filter;

use crate::common::{PATIENT, Running, rule};
use crate::{statuses, tweak};

#[tokio::test]
async fn a_struct_configures_the_filter_as_json_does() {
    let running = Running::start(PATIENT, json!([]), |spec| {
        tweak(spec, |tree| {
            let value = json!({
                "redis": { "timeout": format!("{PATIENT}ms") }, "breaker": "off", "rules": [rule("struct", 2)],
            });
            let configuration =
                &mut http_filter(tree).unwrap()["typed_config"]["config"]["configuration"];
            *configuration =
                json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": value });
        });
    })
    .await;
    let sent = [("/struct/", [].as_slice()); 3];
    assert_eq!(statuses(&running, sent).await, [200, 200, 429]);
}
