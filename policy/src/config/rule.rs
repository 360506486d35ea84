//! What rules of every kind with a key have: a name, a key, and what they do to a request that they would not let pass.

/// Defines a kind of rule by the fields that only this kind has.
///
/// A macro and no type of its own: serde can't flatten a struct into one that refuses unknown fields, and would forget where in the document an error was.
macro_rules! rule {
    ($(#[$meta:meta])* pub struct $kind:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Deserialize, serde::Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $kind {
            /// `[a-z0-9-]`, unique among the policy's rules of its kind; shows in headers, metrics and logs.
            pub name: String,
            /// What the rule keeps apart; empty means that all requests are counted together.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub key: Vec<$crate::config::KeyPart>,
            $($own)*
            /// Whether it rejects or only counts.
            #[serde(default, skip_serializing_if = "crate::config::Mode::is_enforce")]
            pub mode: $crate::config::Mode,
            /// What happens when the shared store does not answer.
            #[serde(default, skip_serializing_if = "crate::config::OnFailure::is_allow")]
            pub on_failure: $crate::config::OnFailure,
            /// What a rejected client is told.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub response: Option<$crate::config::Response>,
        }

        impl $crate::config::rule::Rule for $kind {
            fn name(&self) -> &str {
                &self.name
            }
            fn key(&self) -> &[$crate::config::KeyPart] {
                &self.key
            }
            fn response(&self) -> Option<&$crate::config::Response> {
                self.response.as_ref()
            }
        }
    };
}

pub(super) use rule;

use super::{KeyPart, Response};

/// A rule of whatever kind, for what is checked of all.
pub(super) trait Rule {
    fn name(&self) -> &str;
    fn key(&self) -> &[KeyPart];
    fn response(&self) -> Option<&Response>;
}
