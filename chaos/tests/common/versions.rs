//! Stories for both ends of the supported range of Envoys.

/// Makes two tests of the name of each story, an `async fn` of an `EnvoyVersion`: one on the newest
/// Envoy, one on the oldest.
macro_rules! on_both_envoys {
    ($($story:ident),+ $(,)?) => {
        mod newest_envoy {
            $(#[tokio::test]
            async fn $story() {
                super::$story(velocitygate_chaos::stack::EnvoyVersion::Newest).await;
            })+
        }

        mod oldest_envoy {
            $(#[tokio::test]
            async fn $story() {
                super::$story(velocitygate_chaos::stack::EnvoyVersion::Oldest).await;
            })+
        }
    };
}

pub(crate) use on_both_envoys;
